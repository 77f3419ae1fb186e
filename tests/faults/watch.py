"""Looks at every user's newest list again and again: its version may only grow."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

import redis

from streams.hint_list import HEAD
from streams.redis_keys import hints_key

VERSION_CHARS = 31
EVERY_S = 0.1


@dataclass(slots=True)
class VersionWatch:
    """Versions seen at the head of each user's lists, from `start` to `stop`."""

    redis_url: str
    users: list[str]
    newest: dict[str, bytes] = field(default_factory=dict)
    gone_back: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    looks: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)

    def stop(self) -> None:
        """Look no more; raises AssertionError when any user's list was overwritten by an older one."""
        self.end()
        assert self.looks, "the watch saw nothing"
        assert not self.gone_back, f"{len(self.gone_back)} lists went back: {self.gone_back[:3]}"

    def forget(self) -> None:
        """Redis was emptied: what stood there is no measure any more."""
        self.newest = {}

    def _watch(self) -> None:
        with redis.Redis.from_url(self.redis_url, socket_timeout=1.0) as client:
            while not self._stop.is_set():
                with contextlib.suppress(redis.RedisError):  # Redis may be what was broken
                    self._look(client)
                self._stop.wait(EVERY_S)

    def _look(self, client: redis.Redis) -> None:
        newest = self.newest  # `forget` may replace it while Redis answers
        pipe = client.pipeline(transaction=False)
        for user in self.users:
            pipe.lindex(hints_key(user), 0)
        self._compare(newest, zip(self.users, pipe.execute(), strict=True))
        self.looks += 1

    def _compare(self, newest: dict[str, bytes], heads: Iterable[tuple[str, bytes | None]]) -> None:
        for user, head in heads:
            if head is None:
                continue
            version = head[len(HEAD) : len(HEAD) + VERSION_CHARS]
            if version < newest.get(user, b""):
                self.gone_back.append((user, newest[user], version))
            newest[user] = version
