"""What a reader feels while a mapping version of a million triggers is loaded next to it.

Three processes of their own: an embedded Redis, a loader (`load_mapping`, as in a worker), and a reader that
asks `HintReader` 500 times a second, open loop: a request's time counts from when it was due, so waiting
in line counts too. First the reader alone (quiet), then with the load, until the new version is served,
then alone again (after). An answer is mixed if any of its hints is not of the version that it names: each
version's queries and popular list carry its name. Both versions hold the triggers that are asked for.
`others`: cores that processes of other people used meanwhile; times mean little when it is not near 0.

    python -m benchmarks.mapping_load [--triggers 1000000] [--rate 500] [--batch 20] [--rest 2.0] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import orjson

from agents.think.entries import Pace
from agents.think.mapping import LoadOptions, LoadOutcome, load_mapping
from agents.think.version_folder import MAPPING_FILE, POPULAR_FILE
from streams.embedded.servers import EmbeddedRedis
from streams.errors import AigqError
from streams.hint_store import HintReader
from streams.redis_client import connect_redis
from streams.settings import load_settings

TRIGGERS: Final = 1_000_000
ASKED: Final = 20_000  # triggers that are asked for; the version before has these alone
RATE: Final = 500.0
QUIET_S: Final = 30.0
AFTER_S: Final = 5.0
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
OLD, NEW = "old", "new"


@dataclass(frozen=True, slots=True)
class Reading:
    """One request: when it was due (monotonic), how long until its answer, what was wrong with it."""

    due_s: float
    took_s: float
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """What the reader met: requests, errors, mixed answers, times in ms from when a request was due.

    others: cores used by processes that are not of this measurement.
    """

    requests: int
    errors: int
    mixed: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    others: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A time (monotonic), and the CPU seconds until then: of the whole machine, and of this measurement."""

    at_s: float
    machine_s: float
    ours_s: float

    @classmethod
    def now(cls, pids: Sequence[int], *, ended_s: float = 0.0) -> Moment:
        """ended_s: CPU time of a process of ours that has ended."""
        ours_s = sum(_cpu_s(Path(f"/proc/{pid}/stat").read_text()) for pid in pids)
        ticks = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        busy = sum(int(count) for place, count in enumerate(ticks) if place not in (3, 4))  # idle, iowait
        return cls(time.monotonic(), busy / TICKS_PER_S, ours_s + time.process_time() + ended_s)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the loader did. peak_mb: its largest resident memory; started_mb: before it began."""

    outcome: str
    seconds: float
    cpu_s: float
    started_mb: float
    peak_mb: float


def measure(triggers: int, rate: float, pace: Pace, quiet_s: float, folder: Path) -> dict[str, Any]:
    """All figures, in a folder of its own."""
    root = folder / "think"
    write_version(root, OLD, min(ASKED, triggers))
    with EmbeddedRedis(folder / "redis") as server:
        load_here(server.url, root, Pace(batch=500, rest=0.0))
        write_version(root, NEW, triggers)
        spans, readings, loaded = _run(server, root, rate, pace, quiet_s, min(ASKED, triggers))
        redis_mb = _resident_mb(server.pid)
    phases = {name: phase(readings, *span) for name, span in spans.items()}
    return {
        "triggers": triggers,
        "rate": rate,
        "pace": asdict(pace),
        "phases": {name: asdict(one) for name, one in phases.items()},
        "p99_ratio": round(phases["load"].p99_ms / phases["quiet"].p99_ms, 2),
        "loaded": asdict(loaded),
        "file_mb": round((root / NEW / MAPPING_FILE).stat().st_size / 1e6, 1),
        "redis_mb": redis_mb,
    }


def _run(
    server: EmbeddedRedis, root: Path, rate: float, pace: Pace, quiet_s: float, asked: int
) -> tuple[dict[str, tuple[Moment, Moment]], list[Reading], Loaded]:
    start_anew = multiprocessing.get_context("spawn")
    ours, theirs = start_anew.Pipe()
    reader = start_anew.Process(target=_read_until_told, args=(theirs, server.url, rate, asked))
    reader.start()
    ours.recv()  # it reads
    pids = (server.pid, reader.pid or 0)
    moments = [Moment.now(pids)]
    time.sleep(quiet_s)
    moments.append(Moment.now(pids))
    loaded: Loaded = _in_child(_load_in_child, server.url, root, pace)
    moments.append(Moment.now(pids, ended_s=loaded.cpu_s))
    time.sleep(min(quiet_s, AFTER_S))
    moments.append(Moment.now(pids, ended_s=loaded.cpu_s))
    ours.send("stop")
    readings: list[Reading] = ours.recv()
    reader.join()
    spans = pairwise(moments)
    return dict(zip(("quiet", "load", "after"), spans, strict=True)), readings, loaded


def _in_child(work: Callable[..., None], *args: Any) -> Any:
    """What `work` sends, in a process of its own, to the pipe that is its first argument."""
    start_anew = multiprocessing.get_context("spawn")
    ours, theirs = start_anew.Pipe()
    child = start_anew.Process(target=work, args=(theirs, *args))
    child.start()
    result = ours.recv()
    child.join()
    return result


def _read_until_told(parent: Connection, url: str, rate: float, asked: int) -> None:
    with HintReader.from_url(url) as reader:
        reader.get("nobody", trigger=_trigger(0))
        parent.send("ready")
        parent.send(list(_readings(reader, parent, rate, asked)))


def _readings(reader: HintReader, parent: Connection, rate: float, asked: int) -> Iterator[Reading]:
    chance = random.Random(1)  # noqa: S311 - load, no secret
    due_s = time.monotonic()
    while not parent.poll():
        due_s += 1 / rate
        time.sleep(max(0.0, due_s - time.monotonic()))
        fault = _ask(reader, chance.randrange(1000), chance.randrange(asked))
        yield Reading(due_s, time.monotonic() - due_s, fault)


def _ask(reader: HintReader, user: int, number: int) -> str:
    """ "", "error" or "mixed"."""
    try:
        answer = reader.get(f"household-{user}", trigger=_trigger(number), limit=4)
    except AigqError:
        return "error"
    expected = [*(query for query, _ in _queries(answer.mapping, number)), f"{answer.mapping} popular"]
    return "" if list(answer.queries) == expected else "mixed"


def _load_in_child(parent: Connection, url: str, root: Path, pace: Pace) -> None:
    started_mb = _peak_mb()
    started_s = time.monotonic()
    outcome = load_here(url, root, pace)
    seconds = round(time.monotonic() - started_s, 1)
    parent.send(Loaded(outcome, seconds, round(time.process_time(), 1), started_mb, _peak_mb()))


def load_here(url: str, root: Path, pace: Pace) -> LoadOutcome:
    """Load what current.json names."""

    async def load() -> LoadOutcome:
        async with connect_redis(load_settings({}, redis_url=url)) as client:
            return (await load_mapping(client, root, LoadOptions(pace))).outcome

    return asyncio.run(load())


def write_version(root: Path, version: str, triggers: int) -> None:
    """A synthetic version, its queries named after it, and current.json that names it."""
    folder = root / version
    folder.mkdir(parents=True)
    digest = sha256()
    with (folder / MAPPING_FILE).open("wb") as file:
        for number in range(triggers):
            line = orjson.dumps(_entry(version, number), option=orjson.OPT_APPEND_NEWLINE)
            digest.update(line)
            file.write(line)
    popular = orjson.dumps([{"query": f"{version} popular", "score": 0.5}])
    (folder / POPULAR_FILE).write_bytes(popular)
    files = {
        MAPPING_FILE: {"sha256": digest.hexdigest(), "count": triggers},
        POPULAR_FILE: {"sha256": sha256(popular).hexdigest(), "count": 1},
    }
    manifest = {"format_version": 1, "version": version, "files": files}
    (folder / "manifest.json").write_bytes(orjson.dumps(manifest))
    (root / "current.json").write_bytes(orjson.dumps({"version": version}))


def _entry(version: str, number: int) -> dict[str, Any]:
    queries = [
        {"query": query, "score": score, "category": "grocery"} for query, score in _queries(version, number)
    ]
    return {"trigger": _trigger(number), "queries": queries}


def _trigger(number: int) -> str:
    return f"trigger number {number}"


def _queries(version: str, number: int) -> list[tuple[str, float]]:
    return [(f"{version} query {number} {place}", round(0.9 - place / 10, 1)) for place in range(3)]


def phase(readings: Sequence[Reading], start: Moment, end: Moment) -> Phase:
    """The figures of the requests that were due in between; at least one."""
    due = [one for one in readings if start.at_s <= one.due_s < end.at_s]
    times = sorted(one.took_s * 1000 for one in due)
    used_s = end.machine_s - start.machine_s - (end.ours_s - start.ours_s)
    return Phase(
        requests=len(due),
        errors=sum(one.fault == "error" for one in due),
        mixed=sum(one.fault == "mixed" for one in due),
        p50_ms=round(times[len(times) // 2], 3),
        p99_ms=round(times[int(len(times) * 0.99)], 3),
        max_ms=round(times[-1], 3),
        others=round(max(0.0, used_s) / (end.at_s - start.at_s), 2),
    )


def _cpu_s(stat: str) -> float:
    """User and system seconds in a /proc/PID/stat; its second field is a name that may hold spaces."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def _resident_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--triggers", type=int, default=TRIGGERS)
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--batch", type=int, default=Pace().batch)
    parser.add_argument("--rest", type=float, default=Pace().rest)
    parser.add_argument("--quiet", type=float, default=QUIET_S, help="seconds")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(
            asked.triggers, asked.rate, Pace(asked.batch, asked.rest), asked.quiet, Path(folder)
        )
    _print(figures, as_json=asked.json)


def _print(figures: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(orjson.dumps(figures).decode() + "\n")
        return
    for name, row in figures["phases"].items():
        sys.stdout.write(
            f"{name:6} {row['requests']:7} requests, {row['errors']} errors, {row['mixed']} mixed, "
            f"p50 {row['p50_ms']:.2f} ms, p99 {row['p99_ms']:.2f} ms, max {row['max_ms']:.1f} ms, "
            f"others {row['others']:.2f} cores\n"
        )
    loaded = figures["loaded"]
    sys.stdout.write(
        f"p99 ratio {figures['p99_ratio']}; {figures['triggers']:,} triggers ({figures['file_mb']} MB) "
        f"{loaded['outcome']} in {loaded['seconds']} s; loader {loaded['started_mb']} MB at start, "
        f"{loaded['peak_mb']} MB at most; Redis {figures['redis_mb']} MB\n"
    )


if __name__ == "__main__":
    main()
