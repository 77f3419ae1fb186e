"""Lists that the workers' own functions made of real purchases, and a Redis that holds them.

A log of December's purchases with simulated searches between them is replayed offline up to four moments, so
that users who came again have several lists, as live ones do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import redis

from streams.embedded.servers import EmbeddedRedis
from streams.hint_list import HintList
from streams.redis_keys import hints_key

MAPPING: Final = Path("exported_models/think-complete-journey")
PURCHASES: Final = 20_000
CUTS: Final = 4
RUNS_KEPT: Final = 3
Lists = Mapping[str, list[bytes]]


def real_lists(folder: Path, purchases: int = PURCHASES) -> dict[str, list[bytes]]:
    """User → values as they stand in Redis, newest first, at most RUNS_KEPT."""
    log = folder / "sample.jsonl"
    aigq("events", "sample", "--out", str(log), "--purchases", str(purchases))
    moments = [orjson.loads(line)["timestamp"] for line in log.read_bytes().splitlines()]
    found: dict[str, list[bytes]] = {}
    for cut in range(1, CUTS + 1):
        for value in _lists_until(moments[len(moments) * cut // CUTS - 1], log, folder / "lists.jsonl"):
            values = found.setdefault(HintList.from_json(value).user, [])
            if value not in values:
                values.insert(0, value)
    return {user: values[:RUNS_KEPT] for user, values in found.items()}


@contextmanager
def filled_redis(folder: Path, lists: Lists) -> Iterator[str]:
    """The URL of a server with the lists and the mapping; for each user also `plain_key`, for a bare GET."""
    with EmbeddedRedis(folder / "redis") as server:
        with redis.Redis.from_url(server.url) as client:
            for user, values in lists.items():
                client.rpush(hints_key(user), *values)
                client.set(plain_key(user), b"".join(values))
        aigq("think", "load", AIGQ_REDIS_URL=server.url, AIGQ_THINK_DIR=str(MAPPING))
        yield server.url


def plain_key(user: str) -> str:
    """The bytes of all of the user's lists as one string."""
    return f"plain:{user}"


def aigq(*words: str, **environ: str) -> Any:
    """What the command says as JSON."""
    command = [sys.executable, "-m", "aigq.main", *words, "--json"]
    done = subprocess.run(command, env=os.environ | environ, check=True, stdout=subprocess.PIPE)  # noqa: S603 - our own program
    return orjson.loads(done.stdout.splitlines()[-1])


def _lists_until(last_ms: int, log: Path, out: Path) -> list[bytes]:
    upto = datetime.fromtimestamp(last_ms // 1000 + 1, UTC).isoformat()
    aigq("replay", str(log), "--offline", "--to", upto, "--mapping", str(MAPPING), "--out", str(out))
    return out.read_bytes().splitlines()
