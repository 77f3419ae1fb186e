"""How long `aigq deny add` takes until nothing in Redis holds what is denied, and what others feel meanwhile.

An embedded Redis with three lists of twelve hints for each user, drawn from the bundle's lexicon, and the
committed mapping. Then one term is denied in a process of its own, as the command does it, while this one
reads a key every 2 ms. Seconds: the command with the start of Python, and the withdrawal alone. At the end
every list is looked at.

    python -m benchmarks.deny_sweep [--users 5000] [--term wine] [--rounds 3] [--json]
"""

from __future__ import annotations

import argparse
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
from streams.deny_rule import DenyKind, made
from streams.deny_rules import DenyRules
from streams.embedded.servers import EmbeddedRedis
from streams.hint_list import Hint, HintList, list_id_of
from streams.redis_keys import hints_key
from streams.version import Version

BUNDLE: Final = Path("exported_models/complete-journey")
MAPPING: Final = Path("exported_models/think-complete-journey")
RUNS, HINTS = 3, 12
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


def one_round(users: int, term: str, seed: int) -> dict[str, Any]:
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
            "seconds": round(seconds, 2),
            "withdrawal_s": told["seconds"],
            "lists": told["lists"],
            "keys": told["keys"],
            "left": left(client, users, term),
            "wait_p50_ms": round(median(waits_ms), 2),
            "wait_p99_ms": round(quantiles(waits_ms, n=100)[98], 2),
            "wait_max_ms": round(max(waits_ms), 2),
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--term", default="wine")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds = [one_round(options.users, options.term, seed) for seed in range(options.rounds)]
    for one in rounds:
        print(orjson.dumps(one).decode() if options.json else ", ".join(f"{k} {v}" for k, v in one.items()))


if __name__ == "__main__":
    main()
