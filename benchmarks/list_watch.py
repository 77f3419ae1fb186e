"""Sees each hint list the moment that it can be read, in a process of its own.

Redis tells of every list that is pushed (keyspace notifications); its head is then read, and the time is that
of the answer: somebody has read the list by then. What waits is read in one round trip, so the watch keeps up
with tens of thousands of lists a second and is not what is measured.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Final, NamedTuple

import redis

from streams.hint_list import HEAD
from streams.redis_keys import hints_key
from streams.version import Version

LOOK_S: Final = 0.05
VERSION_END: Final = len(HEAD) + 31
CHANNELS: Final = b"__keyspace@0__:" + hints_key("*")


class Seen(NamedTuple):
    """A list: whose, its version, and when it was read (epoch ms)."""

    user: str
    version: Version
    at_ms: float


class ListWatch:
    """The process; it sees what is written between the construction and `stop`."""

    def __init__(self, url: str) -> None:
        start_anew = multiprocessing.get_context("spawn")
        self._ours, theirs = start_anew.Pipe()
        self._process = start_anew.Process(target=_watch_until_told, args=(theirs, url), daemon=True)
        self._process.start()
        self._ours.recv()  # it watches

    def stop(self) -> list[Seen]:
        """All lists so far, in the order in which they came."""
        self._ours.send("stop")
        seen: list[Seen] = self._ours.recv()
        self._process.join()
        return seen


def _watch_until_told(parent: Connection, url: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.config_set("notify-keyspace-events", "Kl")
        pubsub = client.pubsub(ignore_subscribe_messages=False)
        pubsub.psubscribe(CHANNELS)
        pubsub.get_message(timeout=5.0)  # the subscription is confirmed
        parent.send("ready")
        parent.send(list(_seen(client, pubsub, parent)))


def _seen(client: redis.Redis, pubsub: redis.client.PubSub, parent: Connection) -> Iterator[Seen]:
    prefix, own = len(CHANNELS) - 1, len(hints_key(""))
    while not parent.poll():
        keys = [channel[prefix - own :] for channel in _pushed(pubsub)]
        if not keys:
            continue
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.lindex(key, 0)
            heads = pipe.execute()
        at_ms = 1000 * time.time()
        for key, head in zip(keys, heads, strict=True):
            if head is not None:
                yield Seen(key[own:].decode(), Version.parse(head[len(HEAD) : VERSION_END].decode()), at_ms)


def _pushed(pubsub: redis.client.PubSub) -> list[bytes]:
    """Channels of the lists pushed since the last look, each once."""
    found: dict[bytes, None] = {}
    message = pubsub.get_message(timeout=LOOK_S)
    while message is not None:
        if message["data"] == b"lpush":
            found[message["channel"]] = None
        message = pubsub.get_message(timeout=0.0)
    return list(found)
