"""Hint lists per second of one core, and how long each takes, beside the same weights in other engines.

    python -m benchmarks.generation [--alone] [--quick] [--json] [--save]

Contexts are the newest requests of real households (benchmarks.hint_requests), batches 1, 8 and 32. One
thread each; rates are lists per second of CPU time of this process.

    request to list    decode_request, compose (contexts, graph, filters, ranker, reasons), to_json
    graph              generator.onnx alone, from arrays to lists
    graph int8         the same with int8 weights (benchmarks.int8_graph); its recall@10 where the data is
    peers              benchmarks.generation_peers, which says what each can express; --alone: without

Lists are compared before anything is timed. p50 and p99 are wall times of whole batches, from requests to
lists, measured apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from agents.hints.bundle import Bundle
from agents.hints.compose import compose
from agents.hints.generator import open_session
from agents.hints.graph_session import GraphSession
from agents.hints.manifest import GRAPH
from agents.serving import open_bundle
from benchmarks.generation_peers import DECODER, Batch, Peer, peers
from benchmarks.harness import Bar, Figure, Ratio, alternated, paired, per_second, percentile
from benchmarks.hint_requests import PURCHASES, QUICK_PURCHASES, newest_requests
from benchmarks.int8_graph import data_at_hand, int8_graph, recall_at_10
from benchmarks.plots import bars
from benchmarks.report import DOCS, Report, command_line, finish, rounds_of
from streams.hint_request import decode_request
from streams.settings import Settings, load_settings

BATCHES: Final = (1, 8, 32)
ROUND_LISTS: Final = 128
CALLS: Final = 400
SERVED_LISTS: Final = Bar.at_least(300)
ABOVE_EAGER: Final = {1: Bar.at_least(2.2), 32: Bar.at_least(1.5)}
INT8_ABOVE_EAGER: Final = Bar.at_least(3.5)
KEPT_QUALITY: Final = Bar.at_least(0.99)
ABOVE: Final = Bar.at_least(1.0)
OURS, INT8, EAGER, CT2_INT8 = "graph", "graph int8", "torch eager", "CTranslate2 int8"

Work = Callable[[Batch], object]


def main() -> None:
    """Measure and print."""
    parser = command_line(__doc__)
    parser.add_argument("--alone", action="store_true", help="ours alone: no other engines")
    given = parser.parse_args()
    settings = load_settings()
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        finish(_report(settings, given, Path(scratch)), given)


def _report(settings: Settings, given: argparse.Namespace, scratch: Path) -> Report:
    bundle = open_bundle(settings)
    requests = newest_requests(bundle, settings, QUICK_PURCHASES if given.quick else PURCHASES)
    int8 = open_session(int8_graph((settings.bundle_dir / GRAPH).read_bytes(), scratch))
    beside = [] if given.alone else list(peers(settings.bundle_dir, bundle, scratch))
    works: dict[str, Work] = {
        OURS: lambda batch: bundle.generator.run(batch.contexts),
        INT8: lambda batch: _run(int8, batch),
        **{peer.name: peer.write for peer in beside},
    }
    figures: list[Figure] = []
    ratios: list[Ratio] = []
    notes = [_agreement(bundle, int8, requests, beside)]
    for size in BATCHES:
        rates = _rates(bundle, works, requests, size, rounds_of(given))
        figures += [*rates.values(), *_times(bundle, requests, size, CALLS // (10 if given.quick else 1))]
        ratios += _ratios(rates, size)
    ratios += _quality(bundle, int8, given)
    if given.save:
        bars(
            DOCS / "generation.png",
            "Hint lists of one core",
            "lists/s",
            [one for one in figures if one.unit == "lists/s" and "batch 32" in one.name],
            ours="graph",
        )
    if beside:
        notes.append(
            "transformers and CTranslate2 write one sequence of the same layer. CTranslate2 knows no prior, "
            "actions and ages, and has an encoder layer of zeros; `decoder alone` is ours with as little."
        )
    return Report("generation", __doc__ or "", figures, ratios, notes)


def _rates(
    bundle: Bundle, works: dict[str, Work], requests: Sequence[bytes], size: int, rounds: int
) -> dict[str, Figure]:
    """Lists per second of CPU time, by name."""
    chosen = [requests[place % len(requests)] for place in range(ROUND_LISTS)]
    parts = [chosen[start : start + size] for start in range(0, ROUND_LISTS, size)]
    batches = [Batch.of(bundle, [decode_request(one) for one in part]) for part in parts]

    def whole() -> None:
        for part in parts:
            _served(bundle, part)

    def each(work: Work) -> None:
        for batch in batches:
            work(batch)

    timed = {"request to list": whole} | {name: partial(each, work) for name, work in works.items()}
    measured = alternated(
        {name: partial(per_second, ROUND_LISTS, work, time.process_time) for name, work in timed.items()},
        rounds,
    )
    bar = {"request to list": SERVED_LISTS}
    return {
        name: Figure.of(f"{name}, batch {size}", "lists/s", values, bar.get(name))
        for name, values in measured.items()
    }


def _served(bundle: Bundle, requests: Sequence[bytes]) -> list[bytes]:
    decoded = [decode_request(one) for one in requests]
    return [one.hints.to_json() for one in compose(decoded, bundle, generated_at_ms=0)]


def _times(bundle: Bundle, requests: Sequence[bytes], size: int, calls: int) -> Iterator[Figure]:
    """Wall time of a batch from requests to lists."""
    took_ms = []
    for call in range(calls):
        part = [requests[(call * size + place) % len(requests)] for place in range(size)]
        started_s = time.perf_counter()
        _served(bundle, part)
        took_ms.append(1e3 * (time.perf_counter() - started_s))
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        yield Figure.of(f"request to list, batch {size}, {name}", "ms", [percentile(took_ms, share)])


def _ratios(rates: dict[str, Figure], size: int) -> Iterator[Ratio]:
    def ratio(one: str, other: str, bar: Bar | None) -> Ratio:
        return paired(f"{one} to {other}, batch {size}", rates[one], rates[other], bar)

    yield ratio(INT8, OURS, None)
    for name in rates:
        if name not in (OURS, INT8, DECODER, "request to list"):
            yield ratio(OURS, name, ABOVE_EAGER.get(size) if name == EAGER else None)
    if DECODER in rates:
        yield ratio(DECODER, CT2_INT8, ABOVE)
    if EAGER in rates:
        yield ratio(INT8, EAGER, INT8_ABOVE_EAGER if size == 1 else None)


def _agreement(bundle: Bundle, int8: GraphSession, requests: Sequence[bytes], beside: Sequence[Peer]) -> str:
    """Raises ValueError when a peer does not write the lists that it must."""
    chosen = [decode_request(one) for one in requests[: BATCHES[-1] * 4]]
    batches = [
        Batch.of(bundle, chosen[start : start + size]) for start, size in ((0, 1), (0, 8), (0, 32), (32, 32))
    ]
    quantised = Peer(
        INT8, lambda batch: _run(int8, batch), lambda batch: bundle.generator.run(batch.contexts)[0], 0
    )
    return "Lists equal: " + ", ".join(
        f"{one.name} {one.checked(batches):.3f}" for one in (quantised, *beside)
    )


def _quality(bundle: Bundle, int8: GraphSession, given: argparse.Namespace) -> Iterator[Ratio]:
    data = None if given.quick else data_at_hand()
    if data is not None:
        runs = (
            lambda contexts: int8.run(["queries"], contexts.graph_inputs())[0],
            lambda contexts: bundle.generator.run(contexts)[0],
        )
        theirs, ours = (
            Figure.of(name, "", [recall_at_10(run, data)])
            for name, run in zip((INT8, OURS), runs, strict=True)
        )
        yield paired("recall@10 of graph int8 to graph", theirs, ours, KEPT_QUALITY)


def _run(session: GraphSession, batch: Batch) -> Any:
    return np.asarray(session.run(["queries"], batch.contexts.graph_inputs())[0])


if __name__ == "__main__":
    main()
