"""How many lists to make at once, and whether to wait for more: latency under Poisson load, by batch limit.

    python -m benchmarks.generation_load [--quick] [--json] [--save]

One worker with one core, in turns for each rate: when it is free it takes what waits, up to the limit (as
agents.hints.agent does), makes the lists for real (compose, from requests to models), and takes again.
"waits": it holds an incomplete batch back for so long, which we do not. The clock is this process' CPU time
plus the time in which nobody waited, so neighbours on the machine change little. Rates are shares of what
limit 32 does when it never waits. Latency: from arrival until the list is there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from agents.hints.compose import compose
from agents.serving import open_bundle
from benchmarks.harness import Figure, alternated, per_second, percentile
from benchmarks.hint_requests import PURCHASES, QUICK_PURCHASES, newest_requests
from benchmarks.report import Report, command_line, finish, rounds_of
from streams.hint_request import HintRequest, decode_request
from streams.settings import load_settings

LIMITS: Final = (1, 4, 8, 16, 32, 64, 128)
SHARES: Final = (0.2, 0.5, 0.8, 0.95)
WAITS_S: Final = 0.02
MOST: Final = 32
LISTS, QUICK_LISTS = 2_000, 300
ROUNDS: Final = 3


@dataclass(frozen=True, slots=True)
class Served:
    """Latencies in s, and the lists that were made at once on average."""

    latencies_s: list[float]
    batch: float


def main() -> None:
    """Measure and print."""
    given = command_line(__doc__).parse_args()
    settings = load_settings()
    bundle = open_bundle(settings)
    encoded = newest_requests(bundle, settings, QUICK_PURCHASES if given.quick else PURCHASES)
    requests = [decode_request(one) for one in encoded]
    count, rounds = (QUICK_LISTS, 1) if given.quick else (LISTS, min(ROUNDS, rounds_of(given)))

    def make(batch: Sequence[HintRequest]) -> None:
        compose(batch, bundle, generated_at_ms=0)

    most = partial(served, make, requests, arrivals=[0.0] * count, limit=MOST)
    rate = alternated({"most": partial(per_second, count, most, time.process_time)}, rounds)["most"]
    figures = [Figure.of(f"limit {MOST}, never idle", "lists/s", rate)]
    for share in SHARES:
        arrivals = poisson(count, share * figures[0].median, seed=1)
        ways = {f"limit {limit}": partial(served, make, requests, arrivals, limit) for limit in LIMITS}
        ways[f"limit {MOST}, waits {1000 * WAITS_S:.0f} ms"] = partial(
            served, make, requests, arrivals, MOST, WAITS_S
        )
        figures += _figures(f"load {share:.0%}", ways, rounds)
    finish(Report("generation_load", __doc__ or "", figures), given)


def _figures(load: str, ways: Mapping[str, Callable[[], Served]], rounds: int) -> list[Figure]:
    found: dict[str, list[Served]] = {name: [] for name in ways}

    def keep(name: str) -> float:
        found[name].append(ways[name]())
        return 0.0

    alternated({name: partial(keep, name) for name in ways}, rounds, warm=0)
    figures = []
    for name, runs in found.items():
        for word, share in (("p50", 0.5), ("p99", 0.99)):
            values = [1e3 * percentile(run.latencies_s, share) for run in runs]
            figures.append(Figure.of(f"{load}, {name}, {word}", "ms", values))
        figures.append(Figure.of(f"{load}, {name}, lists at once", "", [run.batch for run in runs]))
    return figures


def served(
    make: Callable[[Sequence[HintRequest]], object],
    requests: Sequence[HintRequest],
    arrivals: Sequence[float],
    limit: int,
    waits_s: float = 0.0,
) -> Served:
    """All arrivals (s, ascending) served by one worker. waits_s: for how long a batch may be held back."""
    now_s, done, batches, latencies = 0.0, 0, 0, []
    while done < len(arrivals):
        now_s = max(now_s, arrivals[done])
        if waits_s and done + limit > _come(arrivals, done, now_s, limit):
            full_s = arrivals[done + limit - 1] if done + limit <= len(arrivals) else float("inf")
            now_s = max(now_s, min(arrivals[done] + waits_s, full_s))
        end = _come(arrivals, done, now_s, limit)
        started_s = time.process_time()
        make([requests[place % len(requests)] for place in range(done, end)])
        now_s += time.process_time() - started_s
        latencies += [now_s - arrived_s for arrived_s in arrivals[done:end]]
        done, batches = end, batches + 1
    return Served(latencies, len(arrivals) / batches)


def _come(arrivals: Sequence[float], done: int, now_s: float, limit: int) -> int:
    """Behind the last that is there, `limit` at most."""
    end = done
    while end < min(len(arrivals), done + limit) and arrivals[end] <= now_s:
        end += 1
    return end


def poisson(count: int, rate: float, seed: int) -> list[float]:
    """Times of arrival in s."""
    chance, at_s, times = random.Random(seed), 0.0, []  # noqa: S311 - no secret
    for _ in range(count):
        at_s += chance.expovariate(rate)
        times.append(at_s)
    return times


if __name__ == "__main__":
    main()
