"""A reader that asks at a steady rate in a process of its own, and what it met between two moments.

Open loop: a request's time counts from when it was due, so waiting in line counts too.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from benchmarks.synthetic_mapping import QUERIES, is_of_one_version, trigger_text
from streams.errors import AigqError
from streams.hint_store import HintReader

USERS: Final = 1_000
TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Reading:
    """One request: when it was due (monotonic), how long until its answer, what was wrong with it."""

    due_s: float
    took_s: float
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time (monotonic), and the CPU seconds until then: of the whole machine, and of this measurement."""

    at_s: float
    machine_s: float
    ours_s: float

    @classmethod
    def now(cls, pids: Sequence[int], *, ended_s: float = 0.0) -> Moment:
        """ended_s: CPU time of processes of ours that have ended."""
        ours_s = sum(_cpu_s(Path(f"/proc/{pid}/stat").read_text()) for pid in pids)
        ticks = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        busy = sum(int(count) for place, count in enumerate(ticks) if place not in (3, 4))  # idle, iowait
        return cls(time.monotonic(), busy / TICKS_PER_S, ours_s + time.process_time() + ended_s)


@dataclass(frozen=True, slots=True)
class Phase:
    """What the reader met: requests, errors, mixed answers, times in ms from when a request was due.

    others: cores used by processes that are not of this measurement.
    """

    seconds: float
    requests: int
    errors: int
    mixed: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    others: float


class SteadyReader:
    """The process; `pid` while it runs."""

    def __init__(self, url: str, rate: float, asked: int) -> None:
        start_anew = multiprocessing.get_context("spawn")
        self._ours, theirs = start_anew.Pipe()
        self._process = start_anew.Process(target=_read_until_told, args=(theirs, url, rate, asked))
        self._process.start()
        self._ours.recv()  # it reads
        self.pid = self._process.pid or 0

    def stop(self) -> list[Reading]:
        """All that it met until now; what was due and is not answered yet is waited for."""
        self._ours.send(time.monotonic())
        readings: list[Reading] = self._ours.recv()
        self._process.join()
        return readings


def phase(readings: Sequence[Reading], start: Moment, end: Moment) -> Phase:
    """The figures of the requests that were due in between; at least one."""
    due = [one for one in readings if start.at_s <= one.due_s < end.at_s]
    times = sorted(one.took_s * 1000 for one in due)
    seconds = end.at_s - start.at_s
    used_s = end.machine_s - start.machine_s - (end.ours_s - start.ours_s)
    return Phase(
        seconds=round(seconds, 1),
        requests=len(due),
        errors=sum(one.fault == "error" for one in due),
        mixed=sum(one.fault == "mixed" for one in due),
        p50_ms=round(times[len(times) // 2], 3),
        p99_ms=round(times[int(len(times) * 0.99)], 3),
        max_ms=round(times[-1], 3),
        others=round(max(0.0, used_s) / seconds, 2),
    )


def _read_until_told(parent: Connection, url: str, rate: float, asked: int) -> None:
    with HintReader.from_url(url) as reader:
        reader.get("nobody", trigger=trigger_text(0))
        parent.send("ready")
        parent.send(list(_readings(reader, parent, rate, asked)))


def _readings(reader: HintReader, parent: Connection, rate: float, asked: int) -> Iterator[Reading]:
    chance = random.Random(1)  # noqa: S311 - load, no secret
    due_s, until_s = time.monotonic(), math.inf
    while due_s < until_s:
        if parent.poll():
            until_s = parent.recv()
        due_s += 1 / rate
        time.sleep(max(0.0, due_s - time.monotonic()))
        fault = _ask(reader, chance.randrange(USERS), chance.randrange(asked))
        yield Reading(due_s, time.monotonic() - due_s, fault)


def _ask(reader: HintReader, user: int, number: int) -> str:
    """ "", "error" or "mixed"."""
    try:
        answer = reader.get(f"household-{user}", trigger=trigger_text(number), limit=QUERIES + 1)
    except AigqError:
        return "error"
    return "" if is_of_one_version(answer, number) else "mixed"


def _cpu_s(stat: str) -> float:
    """User and system seconds in a /proc/PID/stat; its second field is a name that may hold spaces."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
