"""IL-GRPO of the Think network: G outputs per history, each part judged against the group's same part (§3.5).

Each step: fresh rollouts from the current policy under the grammar, rewards (training.think.network.rewards),
an advantage per token of its own kind (training.think.network.advantages), histories whose group is neither
hopeless nor solved, and the clipped policy loss with an entropy bonus that Direct has (training.policy_loss),
over the tokens that were a choice. The whole output, trace and points, is one policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from training.advantages import difficulty_mask, list_scores
from training.datasets.dataset import Dataset
from training.grpo import grpo_plan
from training.grpo_config import GrpoConfig
from training.loop import LossOf, batch_rows, run_steps
from training.policy_loss import policy_loss
from training.rewards import QueryTables, rouge_l_table
from training.think.mining.association import training_counts
from training.think.mining.facts import FactBook
from training.think.network.advantages import present_of, token_advantages
from training.think.network.decode import Draws, choices, decode, entropies, masks_of, of_tokens, padded
from training.think.network.grammar import Grammar
from training.think.network.inputs import Inputs
from training.think.network.rewards import Rewards, Rollout, rewards_of
from training.think.network.roles import as_tensors, marks_of
from training.think.network.samples import ThinkSamples, mined_samples
from training.think.network.serialise import WrittenPoint, read_tokens
from training.think.network.stored import NETWORK_NAME, StoredNetwork, same_words, save_network
from training.think.network.tokens import Lexicon
from training.think.network.told import Book
from training.think.network.transformer import ThinkNetwork
from training.think.points import History

SHOWN: Final = ("hits", "trigger", "fact")

# As Direct's, but: no click ranker (see rewards), hits of what was bought next instead; fewer histories a
# step, since outputs are longer; and a lower end of the difficulty filter, since new goods are hit seldom.
THINK_GRPO: Final = GrpoConfig(
    w_ctr=0.0,
    w_length=0.0,
    w_hit=1.0,
    w_rouge=0.3,
    difficulty=(0.02, 0.95),
    learning_rate=1e-4,
    batch=12,
    steps=40,
)


@dataclass(frozen=True, slots=True)
class ThinkJudge:
    """What rollouts are judged by."""

    lexicon: Lexicon
    tables: QueryTables
    book: Book

    @classmethod
    def of(cls, data: Dataset) -> ThinkJudge:
        """By what the training span holds."""
        encoder = data.encoder()
        tokens = [encoder.tokens(query) for query in data.queries]
        rouge = rouge_l_table(tokens)
        lengths = torch.tensor([len(query) for query in tokens])
        tables = QueryTables(rouge, rouge, lengths, torch.zeros(len(tokens), dtype=torch.int64))
        return cls(Lexicon(data.queries), tables, FactBook(training_counts(data)))


def run_think_grpo(
    out: Path,
    start: StoredNetwork,
    data: Dataset,
    work: Path,
    config: GrpoConfig = THINK_GRPO,
    *,
    threads: int = 1,
    save_every: int = 10,
) -> Path:
    """Go on from `start`, or with the run in `out`; returns the network's file, `out`/think.pt.

    Raises DatasetError, TrainingError.
    """
    same_words(start, data)
    most = config.steps * config.batch  # each history once at the most
    samples = mined_samples(work, start.words, data.encoder(), traced=start.traced, most=most)
    network = start.network()
    plan = replace(grpo_plan(config, threads), save_every=save_every)
    identity = {"config": asdict(config), "data": data.about["files"], "samples": samples.name()}
    identity |= {"start": start.name()}
    loss_of = think_grpo_loss(network, samples, ThinkJudge.of(data), config)
    points = run_steps(out, network, loss_of, plan, "Think, IL-GRPO", identity=identity, shown=SHOWN)
    run = {"method": "think-grpo", "config": asdict(config), "start": start.run, **points[-1]}
    save_network(replace(start, weights=network.state_dict(), run=run), out / NETWORK_NAME)
    return out / NETWORK_NAME


def think_grpo_loss(
    network: ThinkNetwork, samples: ThinkSamples, judge: ThinkJudge, config: GrpoConfig
) -> LossOf:
    """The loss of step 1 …; on-policy: its outputs are drawn from the network as it then is."""

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rows = batch_rows(len(samples), config.batch, config.seed, step)
        inputs, grammars, _ = samples.some(rows)
        histories = [samples.histories[row] for row in rows.tolist()]
        references = [samples.points(row, judge.lexicon) for row in rows.tolist()]
        draws = Draws(_generator(config.seed, step), config.temperature, config.top_k)
        outputs = decode(network, inputs, grammars, group=config.group, draws=draws)
        rollouts = grouped(outputs, grammars, histories, judge.lexicon, config.group)
        rewards = rewards_of(rollouts, histories, references, judge.lexicon, judge.tables, judge.book, config)
        return _loss(network, inputs, grammars, rollouts, rewards, config, step)

    return loss_of


def grouped(
    outputs: Sequence[Sequence[int]],
    grammars: Sequence[Grammar],
    histories: Sequence[History],
    lexicon: Lexicon,
    group: int,
) -> list[list[Rollout]]:
    """Outputs of `decode` with what was read from them, by history."""
    found: list[list[Rollout]] = []
    for row, (grammar, history) in enumerate(zip(grammars, histories, strict=True)):
        own = outputs[row * group : (row + 1) * group]
        found.append([_rollout(output, grammar, history, lexicon) for output in own])
    return found


def _rollout(output: Sequence[int], grammar: Grammar, history: History, lexicon: Lexicon) -> Rollout:
    states = list(grammar.states(output))
    points: list[WrittenPoint] = read_tokens(output, history, lexicon)
    return Rollout(output, marks_of(states[1:], output[1:]), points)


def _loss(
    network: ThinkNetwork,
    inputs: Inputs,
    grammars: Sequence[Grammar],
    rollouts: Sequence[Sequence[Rollout]],
    rewards: Rewards,
    config: GrpoConfig,
    step: int,
) -> tuple[Tensor, dict[str, float]]:
    shape = (len(rollouts), config.group, -1)
    flat = [rollout for group in rollouts for rollout in group]
    roles, slots = (found.reshape(shape) for found in as_tensors([one.marks for one in flat]))
    logp, entropy, chosen = (
        found.reshape(shape) for found in _read_again(network, inputs, grammars, flat, config)
    )
    advantages = token_advantages(roles, slots, rewards, config)
    present = present_of(roles, slots, "query")
    scores = list_scores(rewards.slots["query"], present)
    kept = difficulty_mask(scores, *config.difficulty, config.best_query_reward)
    loss, told = policy_loss(logp, logp.detach(), advantages, entropy, chosen, config, step, kept=kept)
    figures = {"reward": float(scores.mean()), "sequence_reward": float(rewards.sequence.mean())}
    for role in ("trigger", "told_line", "told_query", "fact"):
        figures[role] = float(list_scores(rewards.slots[role], present_of(roles, slots, role)).mean())
    hits = rewards.slots["query"][present] >= config.w_hit
    return loss, figures | {
        "hits": float(hits.float().mean()) if len(hits) else 0.0,
        "points": sum(len(one.points) for one in flat) / len(flat),
        "queries": float(present.sum(-1).float().mean()),
        "entropy": told.entropy,
        "kept": float(kept.float().mean()),
        "weight": float(max(1, told.slots)),
    }


def _read_again(
    network: ThinkNetwork,
    inputs: Inputs,
    grammars: Sequence[Grammar],
    rollouts: Sequence[Rollout],
    config: GrpoConfig,
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability, entropy, and which tokens were a choice; (B·G, T − 1) each, on the CPU."""
    outputs = [list(one.tokens) for one in rollouts]
    own = [grammar for grammar in grammars for _ in range(config.group)]
    tokens = torch.from_numpy(padded(outputs)).to(network.device)
    masks = masks_of(own, outputs).to(network.device)
    memory = network.read(inputs.to(network.device)).repeated(config.group)
    logits, _ = network.write(memory, tokens[:, :-1])
    open_, policy = choices(logits, masks, temperature=config.temperature, top_k=config.top_k)
    logp, entropy = (
        torch.zeros(open_.shape, device=network.device).masked_scatter(open_, values)
        for values in (of_tokens(policy, tokens, open_), entropies(policy))
    )
    return logp.cpu(), entropy.cpu(), open_.cpu()


def _generator(seed: int, step: int) -> torch.Generator:
    number = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(number))
