"""How long `aigq deny add` takes until nothing in Redis holds what is denied, and what others feel meanwhile.

An embedded Redis with three lists of twelve hints for each user, drawn from the bundle's lexicon, and the
committed mapping. Then one term is denied in a process of its own, as the command does it, while this one
reads a key every 2 ms. Seconds: the command with the start of Python, and the withdrawal alone. At the end
every list is looked at.

    python -m benchmarks.deny_sweep [--users 20000] [--term wine] [--quick] [--json] [--save]
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import orjson
import redis

from agents.hints.bundle import load_lexicon
from benchmarks.harness import Bar, Figure
from benchmarks.report import Report, command_line, finish, rounds_of
from streams.deny_rule import DenyKind, made
from streams.deny_rules import DenyRules
from streams.embedded.servers import EmbeddedRedis
from streams.hint_list import Hint, HintList, list_id_of
from streams.redis_keys import hints_key
from streams.version import Version

BUNDLE: Final = Path("exported_models/complete-journey")
MAPPING: Final = Path("exported_models/think-complete-journey")
RUNS, HINTS = 3, 12
USERS, ROUNDS = 20_000, 5
BAR_S: Final = 5.0
EVERY_S: Final = 0.002


def fill(client: redis.Redis, users: int, lexicon: list[str], seed: int) -> None:
    """Lists of drawn queries."""
    chance = random.Random(seed)  # noqa: S311 - a benchmark, no secret
    for user in range(users):
        lists = [_list(f"user-{user}", chance.sample(lexicon, HINTS), run) for run in range(RUNS)]
        client.lpush(hints_key(f"user-{user}"), *(one.to_json() for one in lists))
        client.pexpire(hints_key(f"user-{user}"), 3_600_000)


def measure(url: str, term: str) -> tuple[dict[str, Any], float, list[float]]:
    """What the command says, its seconds with the start of Python, and a reader's waits (ms) beside it."""
    environ = os.environ | {"AIGQ_REDIS_URL": url, "AIGQ_BUNDLE_DIR": str(BUNDLE)}
    command = [sys.executable, "-m", "aigq.main", "deny", "add", term, "--json"]
    waits_ms: list[float] = []
    started_s = time.perf_counter()
    with (
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE) as child,  # noqa: S603 - our own program
        redis.Redis.from_url(url) as client,
    ):
        while child.poll() is None:
            asked_s = time.perf_counter()
            client.get("aigq:1:think:current")
            waits_ms.append(1_000 * (time.perf_counter() - asked_s))
            time.sleep(EVERY_S)
        seconds = time.perf_counter() - started_s
        told = child.stdout.read() if child.stdout else b"{}"
    return orjson.loads(told.splitlines()[-1]), seconds, waits_ms


def left(client: redis.Redis, users: int, term: str) -> int:
    """How many lists still hold it."""
    rules = DenyRules([made(DenyKind.TERM, term)])
    values = (value for user in range(users) for value in client.lrange(hints_key(f"user-{user}"), 0, -1))
    lists = (HintList.from_json(value) for value in values)
    return sum(any(rules.denying(hint.query) for hint in one.hints) for one in lists)


def one_round(users: int, term: str, seed: int) -> dict[str, float]:
    """Figures of one Redis."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder)) as server,
        redis.Redis.from_url(server.url) as client,
    ):
        fill(client, users, list(load_lexicon(BUNDLE)), seed)
        environ = os.environ | {"AIGQ_REDIS_URL": server.url, "AIGQ_THINK_DIR": str(MAPPING)}
        load = [sys.executable, "-m", "aigq.main", "think", "load", "--json"]
        subprocess.run(load, env=environ, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own program
        told, seconds, waits_ms = measure(server.url, term)
        return {
            "withdrawn, s": told["seconds"],
            "with the start of Python, s": seconds,
            "lists swept": told["lists"],
            "lists that still hold it": left(client, users, term),
            "reader beside it p50, ms": median(waits_ms),
            "reader beside it p99, ms": quantiles(waits_ms, n=100)[98],
            "reader beside it at most, ms": max(waits_ms),
        }


def _list(user: str, queries: list[str], run: int) -> HintList:
    version = Version(1_000 + run, 0)
    return HintList(
        version=str(version),
        list_id=list_id_of(user, version),
        user=user,
        as_of=1_000 + run,
        generated_at=1_000 + run,
        reason="first",
        drift=0.0,
        trigger=queries[0],
        bundle="b",
        hints=tuple(Hint(query=query, score=0.0, source="direct") for query in queries),
    )


def main() -> None:
    """Command line."""
    parser = command_line(__doc__)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--term", default="wine")
    given = parser.parse_args()
    users = min(given.users, 2_000) if given.quick else given.users
    rounds = [one_round(users, given.term, seed) for seed in range(rounds_of(given, ROUNDS))]
    bars = {"withdrawn, s": Bar.at_most(BAR_S), "lists that still hold it": Bar.at_most(0)}
    figures = []
    for told in rounds[0]:
        name, _, unit = told.partition(", ")
        figures.append(Figure.of(name, unit, [one[told] for one in rounds], bars.get(told)))
    notes = [f"{users:,} users with {RUNS} lists of {HINTS} hints and the mapping; denied: {given.term!r}."]
    finish(Report("deny_sweep", __doc__ or "", figures, notes=notes), given)


if __name__ == "__main__":
    main()
