"""What HintReader costs a backend, beside a bare GET of the same value by the same client library.

One process asks an embedded Redis that holds real lists (`benchmarks.real_lists`) and the committed mapping,
by redis-py, blocking and asyncio. Works take turns, each on the same users in the same order:

    GET             the bytes of all of a user's lists, as one string
    GET, decoded    the same, and each list read as JSON models: what a backend would have to do itself
    reader, named   `HintReader.get` with the user's latest triggers named by the backend
    reader          the same without: those of the newest list
    reader, cold    by a reader that knows nothing yet: deny set and Think's entries are a second round trip

Closed loop: the next request begins when the last has ended. Open loop: RATE a second, whatever comes; a
request's time counts from when it was due.

    python -m benchmarks.reader [--quick] [--json] [--save]
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import Bar, Figure, Ratio, alternated, paired, percentile
from benchmarks.real_lists import Lists, filled_redis, plain_key, real_lists
from benchmarks.report import Report, command_line, finish, rounds_of
from streams.hint_list import HintList
from streams.hint_store import AsyncHintReader, HintReader

REQUESTS: Final = 3_000
RATE: Final = 500.0
BAR: Final = 1.5
GET, DECODED, NAMED, READER, COLD = "GET", "GET, decoded", "reader, named", "reader", "reader, cold"
JUDGED: Final = (NAMED, READER)
Kind = tuple[str, str]  # the loop, and the work
Ask = Callable[[str], Any]
AsyncAsk = Callable[[str], Awaitable[Any]]


@dataclass(slots=True)
class Work:
    """A way to ask, and the times of its requests (s), a list a round; rates: requests/s of each."""

    ask: Callable[[Sequence[str]], list[float]]
    times: list[list[float]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def round(self, users: Sequence[str]) -> float:
        """One round; its requests/s."""
        started_s = time.perf_counter()
        self.times.append(self.ask(users))
        self.rates.append(len(users) / (time.perf_counter() - started_s))
        return self.rates[-1]

    def figures(self, name: str, warm: int) -> dict[str, Figure]:
        """Of the rounds after the warm ones."""
        rounds = self.times[warm:]
        told = {"p50": 0.5, "p99": 0.99}
        found = {
            what: Figure.of(f"{name}: {what}", "µs", [1e6 * percentile(one, share) for one in rounds])
            for what, share in told.items()
        }
        return found | {"rate": Figure.of(f"{name}: requests", "1/s", self.rates[warm:])}


def blocking(url: str, triggers: dict[str, tuple[str, ...]], now_ms: int) -> dict[str, Ask]:
    """The works for threads, all on one client."""
    reader = HintReader.from_url(url)
    client = reader._client

    return {
        GET: lambda user: client.get(plain_key(user)),
        DECODED: lambda user: _decoded(client.get(plain_key(user))),
        NAMED: lambda user: reader.get(user, trigger=triggers[user], now_ms=now_ms).queries,
        READER: lambda user: reader.get(user, now_ms=now_ms).queries,
        COLD: lambda user: HintReader(client).get(user, now_ms=now_ms).queries,
    }


def asynchronous(url: str, triggers: dict[str, tuple[str, ...]], now_ms: int) -> dict[str, AsyncAsk]:
    """The works for asyncio, all on one client."""
    reader = AsyncHintReader.from_url(url)
    client: Any = reader._client

    async def decoded(user: str) -> Any:
        return _decoded(await client.get(plain_key(user)))

    return {
        GET: lambda user: client.get(plain_key(user)),
        DECODED: decoded,
        NAMED: lambda user: reader.get(user, trigger=triggers[user], now_ms=now_ms),
        READER: lambda user: reader.get(user, now_ms=now_ms),
        COLD: lambda user: AsyncHintReader(client).get(user, now_ms=now_ms),
    }


def measure(url: str, lists: Lists, rounds: int, requests: int) -> Report:
    """All figures."""
    newest = {user: HintList.from_json(values[0]) for user, values in lists.items()}
    triggers = {user: one.latest for user, one in newest.items()}
    now_ms = max(one.generated_at for one in newest.values())
    users = random.Random(1).choices(list(lists), k=requests)  # noqa: S311 - load, no secret
    works: dict[Kind, Work] = {}
    for name, ask in blocking(url, triggers, now_ms).items():
        works["closed loop", name] = Work(partial(_closed, ask))
        if name != COLD:
            works["open loop", name] = Work(partial(_open, ask))
    with asyncio.Runner() as runner:
        for name, ask_async in asynchronous(url, triggers, now_ms).items():
            works["asyncio", name] = Work(partial(_in_loop, runner, ask_async))
        alternated({"/".join(kind): partial(work.round, users) for kind, work in works.items()}, rounds)
    found = {kind: work.figures(": ".join(kind), warm=1) for kind, work in works.items()}
    figures = [one for kind in found for what, one in found[kind].items() if what in _shown(kind)]
    return Report("reader", __doc__ or "", figures, _ratios(found), _notes(lists), {"requests": requests})


def _shown(kind: Kind) -> tuple[str, ...]:
    """An open loop's rate is given."""
    return ("p50", "p99") if kind[0] == "open loop" else ("rate", "p50", "p99")


def _ratios(found: dict[Kind, dict[str, Figure]]) -> list[Ratio]:
    """To the bare GET of the same loop; the bar is on p99."""
    ratios = []
    for (loop, name), figures in found.items():
        for what in ("p50", "p99") if name != GET else ():
            bar = Bar.at_most(BAR) if what == "p99" and name in JUDGED else None
            ratios.append(
                paired(f"{loop}: {name} to GET: {what}", figures[what], found[loop, GET][what], bar)
            )
    return ratios


def _closed(ask: Ask, users: Sequence[str]) -> list[float]:
    times = []
    for user in users:
        started_s = time.perf_counter()
        ask(user)
        times.append(time.perf_counter() - started_s)
    return times


def _open(ask: Ask, users: Sequence[str]) -> list[float]:
    times = []
    due_s = time.perf_counter()
    for user in users[: len(users) // 3]:
        due_s += 1 / RATE
        time.sleep(max(0.0, due_s - time.perf_counter()))
        ask(user)
        times.append(time.perf_counter() - due_s)
    return times


def _in_loop(runner: asyncio.Runner, ask: AsyncAsk, users: Sequence[str]) -> list[float]:
    async def closed() -> list[float]:
        times = []
        for user in users:
            started_s = time.perf_counter()
            await ask(user)
            times.append(time.perf_counter() - started_s)
        return times

    return runner.run(closed())


def _decoded(value: Any) -> list[HintList]:
    """The lists in a value; they stand there one behind the other."""
    parts = value.replace(b'}{"version"', b'}\n{"version"').split(b"\n")
    return [HintList.from_json(part) for part in parts]


def _notes(lists: Lists) -> list[str]:
    counts = Counter(map(len, lists.values()))
    size = sum(len(value) for values in lists.values() for value in values) / len(lists)
    told = ", ".join(f"{users:,} with {count}" for count, users in sorted(counts.items()))
    return [f"Users by how many lists they have: {told}; {size:,.0f} bytes a user. A page is ten hints."]


def main() -> None:
    """Measure and report."""
    given = command_line(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        lists = real_lists(Path(name), 2_000 if given.quick else 20_000)
        with filled_redis(Path(name), lists) as url:
            report = measure(url, lists, rounds_of(given), REQUESTS // 5 if given.quick else REQUESTS)
    finish(report, given)


if __name__ == "__main__":
    main()
