"""Lists per second of the committed bundle on one core, at batch 1, 8 and 32, on real contexts.

What is measured: `Generator.generate`, from hint requests to candidates, CPU time of this process with one
ONNX thread; and `compose`, which adds filters and explanations. Contexts are the newest requests of the
demo's households. Batch sizes take turns; the figure is the median of the rounds, with their spread.

    python -m benchmarks.generation [--json]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson

from agents.hints.compose import compose
from agents.offline_sessions import OfflineSessions
from agents.serving import open_bundle, rules_of
from streams.hint_request import HintRequest, decode_request
from streams.replay_order import ordered_records, scan_log
from streams.settings import load_settings
from training.datasets.events import demo_purchases, write_event_log

BATCHES = (1, 8, 32)
ROUNDS = 9
ROUND_LISTS = 256


def main() -> None:
    """Measure and print."""
    settings = load_settings()
    bundle = open_bundle(settings)
    rules = rules_of(settings, bundle.encoder, bundle.name)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "events.jsonl"
        write_event_log(log, demo_purchases(purchases_min=5_000), seed=1)
        sessions = OfflineSessions(rules, "behavior-events", settings.partitions, None)
        now_ms = time.time_ns() // 1_000_000
        for record in ordered_records(log, scan_log(log, now_ms), now_ms):
            sessions.apply(record)
    requests = [decode_request(sessions.requests[user][1]) for user in sorted(sessions.requests)]
    works: dict[str, Callable[[list[HintRequest]], object]] = {
        "generate": bundle.generator.generate,
        "compose": lambda batch: compose(batch, bundle, generated_at_ms=0),
    }
    rows: dict[str, list[float]] = {f"{name}, batch {batch}": [] for name in works for batch in BATCHES}
    for _ in range(ROUNDS):
        for name, work in works.items():
            for batch in BATCHES:
                rows[f"{name}, batch {batch}"].append(_lists_per_s(work, requests, batch))
    _print({name: _figures(values) for name, values in rows.items()})


def _lists_per_s(
    work: Callable[[list[HintRequest]], object], requests: list[HintRequest], batch: int
) -> float:
    started_s = time.process_time()
    for place in range(0, ROUND_LISTS, batch):
        work([requests[(place + n) % len(requests)] for n in range(batch)])
    return ROUND_LISTS / (time.process_time() - started_s)


def _figures(values: list[float]) -> dict[str, float]:
    return {
        "lists_per_cpu_s": round(statistics.median(values)),
        "min": round(min(values)),
        "max": round(max(values)),
    }


def _print(figures: dict[str, dict[str, float]]) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(orjson.dumps(figures).decode() + "\n")
        return
    for name, row in figures.items():
        sys.stdout.write(
            f"{name:20} {row['lists_per_cpu_s']:6} lists/s (min {row['min']}, max {row['max']})\n"
        )


if __name__ == "__main__":
    main()
