"""Databases of the tests' Redis, one number per test file, and the values that tests put there."""

from __future__ import annotations

import re
from typing import Any

import redis

from streams.hint_list import Hint, HintList, Source, list_id_of
from streams.version import Version

OURS = "aigq:1:*"


def empty_database(redis_url: str, number: int) -> str:
    """URL of that database without our keys; strangers' keys stay, since the server may be anybody's."""
    url = re.sub(r"/\d*$", f"/{number}", redis_url)
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(OURS, count=1000):
            client.delete(key)
    return url


def list_of(
    user: str, *queries: str, as_of: int = 1_000, offset: int = 0, source: Source = "direct", **fields: Any
) -> HintList:
    """A hint list of `user` with these queries, best first."""
    version = Version(as_of, offset)
    score = float(len(queries))
    values: dict[str, Any] = {
        "version": str(version),
        "list_id": list_id_of(user, version),
        "user": user,
        "as_of": as_of,
        "generated_at": as_of + 20,
        "reason": "first",
        "drift": 0.0,
        "trigger": "",
        "bundle": "b1",
        "hints": tuple(
            Hint(query=query, score=score - place, source=source) for place, query in enumerate(queries)
        ),
    }
    return HintList.model_validate(values | fields)
