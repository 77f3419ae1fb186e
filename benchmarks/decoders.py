"""Slots side by side or one sequence: decoders on the same data, from the same start, with the same steps.

    python -m benchmarks.decoders --data DATA --runs RUNS [--steps 600] [--matching] [--json]

    slots       training.slots: hint j's slot sees the context and the other slots, not what they wrote
    sequence    hint j sees hints 1 to j−1, as the paper's language model does (§3.1); a query is one token
    matched     --matching: slots without an order of their own; each learns the target that it says best
                (least Σ −log p over the list, as in DETR), and lists are read by their log-probability

All begin with RUNS/base: its prior, and its decoder, which a base run leaves as it was made ("start"). They
see the same batches and target lists (SftConfig, RUNS/ranker), and none writes a query twice. Reported on the
validation part, what the basket holds already closed: recall@10 and @3 (hits of the first k / min(k, what is
to come)), categories in 10, how many of 10 hints repeat one when nothing is closed, CPU time of training
without the making of targets, and of a list in PyTorch on one core: decoders take turns, the ratio is the
median over the rounds. Decision 0010 has the outcome.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import orjson
import torch
from torch import Tensor

from benchmarks.harness import Figure, alternated, paired, per_second
from benchmarks.matching import dealt_out
from benchmarks.sequence_decoder import SequenceWriter, Writer
from training.base import trained_on
from training.checkpoint import Checkpoint, load_run
from training.datasets.dataset import Dataset, load_dataset
from training.evaluation.cases import TASK_NAMES, Cases, cases_of
from training.evaluation.metrics import Hits, numbered, recall, unique_categories
from training.generator import tensors
from training.label_blocks import Blocks
from training.loop import LossOf, Plan, batch_rows, run_steps, step_noise
from training.network import HIDDEN
from training.ranker import load_ranker
from training.sessions import NEXT, REST, Samples, taken
from training.sft import SftConfig, two_rates
from training.slots import list_log_probs
from training.targets import Targets, target_lists
from training.vocabulary import Vocabulary, vocabulary_of

BATCHES: Final = (1, 32)
ROUNDS: Final = 15
ROUND_LISTS: Final = 192
CASES_AT_ONCE: Final = 256

TargetsOf = Callable[[int], tuple[dict[str, Tensor], Targets]]


@dataclass(frozen=True, slots=True)
class Variant:
    """A decoder to train. matched: its targets are dealt out to the slots anew in each step."""

    name: str
    network: Writer
    matched: bool = False


def variants_of(start: Checkpoint, *, matching: bool) -> list[Variant]:
    """All with the start's weights, the slots as the sequence's places; its first input is small noise."""
    made = [Variant("slots", _begun(Writer, start)), Variant("sequence", _begun(SequenceWriter, start))]
    return [*made, Variant("matched", _begun(Writer, start), matched=True)] if matching else made


def _begun(kind: type[Writer], start: Checkpoint) -> Writer:
    torch.manual_seed(0)
    popularity = torch.from_numpy(np.log1p(np.array([count for _, count in start.lexicon], np.float32)))
    network = kind(start.shape, torch.from_numpy(start.query_units()), popularity)
    network.load_state_dict(start.weights, strict=False)
    return network


def targets_of(samples: Samples, start: Checkpoint, config: SftConfig, blocks: Blocks) -> TargetsOf:
    """Inputs and target lists of step 1 …, those of training.sft.sft_loss."""
    counts = np.array([count for _, count in start.lexicon], np.float32)
    rule = replace(config.rule, hints=start.shape.hints)

    def made(step: int) -> tuple[dict[str, Tensor], Targets]:
        part = samples.at(batch_rows(len(samples), config.batch, config.seed, step))
        noise, extra = step_noise(config.seed, step), blocks.of(part, rule)
        return tensors(part.contexts), target_lists(part.samples, counts / counts.max(), rule, noise, *extra)

    return made


def loss_of(variant: Variant, made: TargetsOf) -> LossOf:
    """As training.sft.sft_loss; `targets_s`: seconds for inputs and targets, which are not the decoder's."""

    def loss(step: int) -> tuple[Tensor, dict[str, float]]:
        began_s = time.process_time()
        inputs, targets = made(step)
        figures = {"targets_s": time.process_time() - began_s}
        lists, weights = torch.from_numpy(targets.lists), torch.from_numpy(targets.weights)
        logits = variant.network.logits_for(inputs, lists)
        if variant.matched:
            lists, weights = dealt_out(logits.detach(), lists, weights)
        logp, _ = list_log_probs(logits, lists.unsqueeze(1))
        return -(logp.squeeze(1) * weights).sum() / weights.sum(), figures

    return loss


def trained(variant: Variant, made: TargetsOf, config: SftConfig) -> float:
    """Train; returns seconds of CPU, without the making of targets."""
    plan = Plan(config.steps, config.learning_rate, config.weight_decay, (0.9, 0.999), seed=config.seed)
    loss, rates = loss_of(variant, made), two_rates(config.decoder_rate)
    began_s = time.process_time()
    with TemporaryDirectory() as folder:
        points = run_steps(Path(folder), variant.network, loss, plan, variant.name, optimizer_of=rates)
    return float(time.process_time() - began_s - sum(point["targets_s"] for point in points))


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one decoder and task. repeats: of 10 hints when nothing is closed."""

    recall_at_10: float
    recall_at_3: float
    categories: float
    repeats: float


def judged(variant: Variant, cases: Cases, samples: Samples, vocabulary: Vocabulary) -> Outcome:
    """Lists of all cases, without what their baskets hold already."""
    names, lists, repeats = list(vocabulary.number), [], []
    for start in range(0, len(cases), CASES_AT_ONCE):
        part = slice(start, start + CASES_AT_ONCE)
        inputs = tensors(taken(samples.contexts, cases.rows[part]))
        closed = torch.zeros((len(inputs["ages"]), vocabulary.lexicon_size))
        for row, seen in enumerate(cases.seen[part]):
            numbers = [vocabulary.number[text] for text in seen]
            closed[row, [number for number in numbers if number < vocabulary.lexicon_size]] = HIDDEN
        with torch.no_grad():
            written, scores = variant.network.write(inputs, closed)
            free = variant.network.write(inputs, closed, repeating=True)[0][:, :10].sort(-1).values
        if variant.matched:
            written = written.gather(1, scores.argsort(-1, descending=True))
        lists += [[names[number] for number in row] for row in written.tolist()]
        repeats += (free[:, 1:] == free[:, :-1]).sum(-1).tolist()
    hits = Hits.of(lists, cases.truths)
    varied = unique_categories(numbered([queries[:10] for queries in lists], vocabulary), vocabulary)
    ten, three = (float(np.nanmean(recall(hits, k))) for k in (10, 3))
    return Outcome(ten, three, float(varied.mean()), statistics.fmean(repeats))


def costs(variants: list[Variant], samples: Samples, batch: int) -> dict[str, dict[str, float]]:
    """Milliseconds of CPU per list, and the ratio to the first variant's."""
    rows = np.arange(ROUND_LISTS) * max(1, len(samples) // ROUND_LISTS) % len(samples)
    parts = [tensors(taken(samples.contexts, rows[at : at + batch])) for at in range(0, len(rows), batch)]

    def ms_per_list(variant: Variant) -> float:
        with torch.no_grad():
            return 1e3 / per_second(
                len(rows), lambda: [variant.network.write(inputs) for inputs in parts], time.process_time
            )

    took = alternated({variant.name: partial(ms_per_list, variant) for variant in variants}, ROUNDS)
    figures = [Figure.of(name, "ms", values) for name, values in took.items()]
    return {
        one.name: {"ms_per_list": one.median, "ratio": paired(one.name, one, figures[0]).median}
        for one in figures
    }


def compared(data: Dataset, runs: Path, config: SftConfig, *, matching: bool) -> dict[str, Any]:
    """Train and judge all variants. Raises DatasetError, TrainingError."""
    start, samples = load_run(runs / "base"), trained_on(data, config.warm_days)
    validation = data.samples("validate")
    blocks = Blocks.made(data, start, load_ranker(runs / "ranker"))
    vocabulary = vocabulary_of(data.lexicon, data.purchases, data.encoder())
    cases = [cases_of(validation, data.purchases, task) for task in (NEXT, REST)]
    variants, made = variants_of(start, matching=matching), targets_of(samples, start, config, blocks)
    figures: dict[str, Any] = {"steps": config.steps, "decoder_rate": config.decoder_rate}

    def judgements(variant: Variant) -> dict[str, Any]:
        return {one.task: asdict(judged(variant, one, validation, vocabulary)) for one in cases}

    figures["start"] = judgements(variants[0])
    for variant in variants:
        seconds = trained(variant, made, config)
        figures[variant.name] = {**judgements(variant), "training_s": seconds}
    for batch in BATCHES:
        for name, cost in costs([one for one in variants if not one.matched], validation, batch).items():
            figures[name][f"batch_{batch}"] = cost
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoders")
    parser.add_argument("--data", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--runs", type=Path, required=True, help="RUNS, with base/ and ranker/")
    parser.add_argument("--steps", type=int, default=SftConfig().steps)
    parser.add_argument("--decoder-rate", type=float, default=SftConfig().decoder_rate)
    parser.add_argument("--warm-days", type=int, default=SftConfig().warm_days)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--matching", action="store_true", help="slots in no order, too")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    config = SftConfig(
        seed=given.seed, steps=given.steps, decoder_rate=given.decoder_rate, warm_days=given.warm_days
    )
    figures = compared(load_dataset(given.data), given.runs, config, matching=given.matching)
    sys.stdout.write(orjson.dumps(figures).decode() + "\n" if given.json else table(figures))


def table(figures: dict[str, Any]) -> str:
    """A row per decoder and task, then a row per decoder of what it costs."""
    names = [name for name, part in figures.items() if isinstance(part, dict)]
    lines = [f"{figures['steps']} steps, decoders at {figures['decoder_rate']} of the prior's rate"]
    lines.append(f"{'':10}{'':16}{'recall@10':>10}{'recall@3':>10}{'categories':>12}{'repeats':>9}")
    for task in (NEXT, REST):
        for name in names:
            one = figures[name][TASK_NAMES[task]]
            lines.append(
                f"{name:10}{TASK_NAMES[task]:16}{one['recall_at_10']:10.4f}{one['recall_at_3']:10.4f}"
                f"{one['categories']:12.2f}{one['repeats']:9.2f}"
            )
    lines.append(f"{'':10}{'training':>10}" + "".join(f"{f'ms a list, batch {n}':>24}" for n in BATCHES))
    for name in names[1:]:
        own = [figures[name].get(f"batch_{batch}") for batch in BATCHES]
        cells = [f"{one['ms_per_list']:.3f} (x {one['ratio']:.2f})" if one else "as slots" for one in own]
        lines.append(
            f"{name:10}{figures[name]['training_s']:8.1f} s" + "".join(f"{cell:>24}" for cell in cells)
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
