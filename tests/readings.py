"""The readings under `tests/fixtures/readings`: what stands in Redis, what is asked, what is answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import redis

from streams.redis_keys import hints_key

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Reading:
    """One file. `answer`: query, source and list id of each hint, best first. mappings: their versions, or
    None where the file does not say."""

    name: str
    redis: dict[str, Any]
    ask: dict[str, Any]
    answer: list[list[str]]
    malformed: int
    denied: int
    mappings: list[str] | None = None

    def put(self, url: str) -> None:
        """Write what stands in Redis, by plain commands, as any program could."""
        with redis.Redis.from_url(url) as client:
            for user, lists in self.redis["lists"].items():
                client.rpush(hints_key(user), *(_raw(one) for one in lists))
            for key, value in self.redis["strings"].items():
                client.set(key, _raw(value))
            for key, members in self.redis["sets"].items():
                client.sadd(key, *members)


def _raw(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _read(path: Path) -> Reading:
    return Reading(name=path.stem, **orjson.loads(path.read_bytes()))


READINGS = [_read(path) for path in sorted((FIXTURES / "readings").glob("*.json"))]
GOLDEN_LISTS = sorted((FIXTURES / "hint_lists").glob("*.json"))
