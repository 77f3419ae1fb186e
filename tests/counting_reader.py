"""A reader that counts its round trips, and what it finds in Redis."""

from __future__ import annotations

from typing import Any

import orjson
import redis

from streams.hint_protocol import Command
from streams.hint_store import HintReader
from streams.redis_keys import think_key


class CountingReader(HintReader):
    """Counts the round trips that it makes."""

    trips = 0

    def _round_trip(self, commands: list[Command]) -> list[Any]:
        self.trips += 1
        return super()._round_trip(commands)


def trips_of(reader: CountingReader, user: str, **asked: Any) -> tuple[int, tuple[str, ...]]:
    before = reader.trips
    answer = reader.get(user, **asked)
    return reader.trips - before, answer.queries


def put_entry(client: redis.Redis, version: str, trigger: str, *queries: str) -> None:
    found = [{"query": query} for query in queries]
    client.set(think_key(version, trigger), orjson.dumps({"trigger": trigger, "queries": found}))


def gets(client: redis.Redis) -> int:
    """GET commands until now."""
    return int(client.info("commandstats")["cmdstat_get"]["calls"])
