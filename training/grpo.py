"""IL-GRPO: the generator writes G lists per context, and is moved towards what was better than the group.

Each step (§3.5): fresh rollouts from the current policy, rewards per hint and per list (training.rewards),
advantages per slot (Eq 11 to 13, training.advantages), contexts that are neither hopeless nor solved, and a
clipped policy-gradient loss with an entropy bonus (training.policy_loss). Plain GRPO differs in one setting,
`level`. A context's reference list is what the basket held, in strict interest order, or of a direct session
its label list; the click probability is the ranker's on the first place, whatever the slot: a place must not
be an argument for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from agents.hints.context import Contexts
from training.advantages import difficulty_mask, list_advantages, list_scores
from training.base import same_words, trained_on
from training.checkpoint import CHECKPOINT_NAME, Checkpoint, digest, save_checkpoint
from training.datasets.dataset import Dataset
from training.generator import Generator, tensors
from training.grpo_config import GrpoConfig
from training.label_blocks import Blocks, sessions_of
from training.loop import LossOf, Plan, batch_rows, run_steps, step_noise
from training.policy_loss import policy_loss
from training.processes import ALONE, World, share
from training.ranker import ClickRanker
from training.rewards import (
    QueryTables,
    coverage_reward,
    query_parts,
    query_rewards,
    rouge_l_table,
    sequence_parts,
    sequence_rewards,
)
from training.sessions import Sample, Samples
from training.sft import two_rates
from training.slots import list_log_probs, only_top, sampled
from training.targets import TargetRule, target_lists
from training.vocabulary import vocabulary_of

SHOWN: Final = ("reward", "entropy", "categories")
STRICT: Final = TargetRule(order="interest", order_noise=0.0)


@dataclass(frozen=True, slots=True)
class Judge:
    """What rollouts are judged by. counts: (V,), the largest 1. blocks: of direct sessions' references."""

    ranker: ClickRanker
    tables: QueryTables
    counts: Any
    blocks: Blocks | None = None

    @classmethod
    def of(cls, start: Checkpoint, data: Dataset, ranker: ClickRanker, blocks: Blocks | None = None) -> Judge:
        """For a checkpoint's lexicon."""
        vocabulary = vocabulary_of(start.lexicon, data.purchases, start.encoder())
        encoder, size = start.encoder(), len(start.lexicon)
        tokens = [encoder.tokens(query) for query in start.queries]
        rouge = rouge_l_table(tokens)
        tables = QueryTables(
            rouge=rouge,
            similarity=rouge,
            lengths=torch.tensor([len(query) for query in tokens]),
            categories=torch.from_numpy(vocabulary.categories[:size] + 1),
        )
        counts = np.array([count for _, count in start.lexicon], np.float32)
        return cls(ranker.eval(), tables, counts / counts.max(), blocks)

    def clicks(self, contexts: Contexts, lists: Tensor) -> Tensor:
        """p̂ of each hint as on the first place, (B, G, K)."""
        numbers = lists.clamp(min=0).flatten(1).numpy()
        return self.ranker.clicks(contexts, numbers).reshape(lists.shape)


def run_grpo(
    out: Path,
    start: Checkpoint,
    ranker: ClickRanker,
    data: Dataset,
    config: GrpoConfig = GrpoConfig(),  # noqa: B008 - frozen
    *,
    samples: Samples | None = None,
    threads: int = 1,
    world: World = ALONE,
) -> Path:
    """Go on from `start`, or with the run in `out`; returns the checkpoint, `out`/generator.pt.

    samples: what to learn from, each with a query of the lexicon to come; None: the training part's.
    Raises TrainingError.
    """
    same_words(start, data)
    given = {} if samples is None else {"samples": _named(samples)}
    blocks = Blocks.made(data, start, ranker, "direct") if config.sessions == "direct" else None
    if samples is None:
        samples = trained_on(data)
    if blocks is not None:
        samples = sessions_of(samples, "direct", blocks.clicked)
    network = start.network()
    plan = grpo_plan(config, threads)
    identity = {"config": asdict(config), "data": data.about["files"], "start": digest(start.weights)}
    identity |= {"ranker": digest(ranker.state_dict()), **given}
    judge = Judge.of(start, data, ranker, blocks)
    loss_of = grpo_loss(network, start, samples, judge, config, world)
    rates = two_rates(config.decoder_rate)
    name = "IL-GRPO" if config.level == "query" else "GRPO"
    points = run_steps(
        out, network, loss_of, plan, name, identity=identity, world=world, optimizer_of=rates, shown=SHOWN
    )
    run = {"method": "grpo", "config": asdict(config), "start": start.run, **points[-1]}
    if world.writes:
        save_checkpoint(replace(start, weights=network.state_dict(), run=run), out / CHECKPOINT_NAME)
    return out / CHECKPOINT_NAME


def grpo_plan(config: GrpoConfig, threads: int) -> Plan:
    """How IL-GRPO takes its steps: no weight decay, a constant rate."""
    return Plan(
        steps=config.steps,
        learning_rate=config.learning_rate,
        weight_decay=0.0,
        betas=(0.9, 0.999),
        schedule="constant",
        seed=config.seed,
        threads=threads,
    )


def grpo_loss(
    network: Generator, start: Checkpoint, samples: Samples, judge: Judge, config: GrpoConfig, world: World
) -> LossOf:
    """The loss of step 1 …; on-policy: its lists are drawn from the network as it then is."""
    rule = replace(STRICT, hints=start.shape.hints)
    reference = start.network() if config.kl else None

    def loss_of(step: int) -> tuple[Tensor, dict[str, float]]:
        rows = share(batch_rows(len(samples), config.batch, config.seed, step), world)
        noise = step_noise(config.seed, step)
        part = samples.at(rows)
        contexts = part.contexts
        blocks = judge.blocks.of(part, rule) if judge.blocks else ()
        wanted = torch.from_numpy(target_lists(part.samples, judge.counts, rule, noise, *blocks).lists)
        policy = _policy(network, contexts, config)
        drawn = _rollouts(policy.detach(), config, world, step)
        # A number a slot: from here on it is the CPU's.
        logp, entropy = (values.cpu().float() for values in list_log_probs(policy.double(), drawn))
        lists = drawn.cpu()
        rewards = judged(lists, part, wanted, judge, config)
        present = lists >= 0
        scores = list_scores(rewards["query"], present)
        kept = difficulty_mask(scores, *config.difficulty, config.best_query_reward)
        advantages = list_advantages(rewards["query"], rewards["sequence"], present, config)
        before = None
        if reference is not None:
            with torch.no_grad():
                first = _policy(reference.to(network.device), contexts, config)
                before = list_log_probs(first.double(), drawn)[0].cpu().float()
        loss, told = policy_loss(
            logp, logp.detach(), advantages, entropy, present, config, step, kept=kept, reference_logp=before
        )
        figures = {
            name: float(values.mean())
            for name, values in rewards.items()
            if name not in ("query", "sequence")
        }
        return loss, {
            "reward": float(scores.mean()),
            "sequence_reward": float(rewards["sequence"].mean()),
            **figures,
            "entropy": told.entropy,
            "kept": float(kept.float().mean()),
            "hints": float(present.sum(-1).float().mean()),
            "categories": float(coverage_reward(lists, judge.tables.categories).mean()) * lists.shape[-1],
            "weight": float(max(1, told.slots)),
        }

    return loss_of


def judged(
    lists: Tensor, part: Samples, wanted: Tensor, judge: Judge, config: GrpoConfig
) -> Mapping[str, Tensor]:
    """Rewards of rollouts: "query" (B, G, K) and "sequence" (B, G), and the parts of both by name."""
    count = len(judge.counts)
    bought = bought_queries(part.samples, count)
    click = judge.clicks(part.contexts, lists)
    owned = owned_queries(part.contexts, count) if config.w_novelty else None
    per_query = query_parts(lists, click, wanted, judge.tables, config, owned, bought)
    per_list = sequence_parts(lists, judge.tables, config, click=click)
    return {
        "query": query_rewards(per_query, config),
        "sequence": sequence_rewards(per_list, config),
        **per_query,
        **per_list,
    }


def owned_queries(contexts: Contexts, count: int) -> Tensor:
    """(B, V) bool: what each shopper's past holds."""
    found = torch.zeros((len(contexts), count + 1), dtype=torch.bool)
    return found.scatter(1, torch.from_numpy(contexts.habits[:, :, 0].astype(np.int64)), True)[:, 1:]


def bought_queries(samples: Sequence[Sample], count: int) -> Tensor:
    """(B, V) bool: what is still to come in each sample's basket."""
    found = torch.zeros((len(samples), count), dtype=torch.bool)
    for row, sample in enumerate(samples):
        found[row, list(sample.items)] = True
    return found


def _named(samples: Samples) -> str:
    """What a run says that it learnt from."""
    keys = [(one.basket_id, one.task) for one in samples.samples]
    return sha256(repr(keys).encode()).hexdigest()[:16]


def _policy(network: Generator, contexts: Contexts, config: GrpoConfig) -> Tensor:
    """Logits of what is drawn from, (B, K, V)."""
    logits = network.logits(**tensors(contexts, network.device))
    return only_top(logits / config.temperature, config.top_k)


def _rollouts(policy: Tensor, config: GrpoConfig, world: World, step: int) -> Tensor:
    seed = np.random.SeedSequence((config.seed, step, world.rank)).generate_state(1, np.uint64)[0]
    draws = torch.Generator().manual_seed(int(seed))
    return sampled(policy, config.group, 1.0, config.top_k, draws)
