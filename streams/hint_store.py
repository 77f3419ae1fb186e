"""Read a user's hints from Redis. A backend needs this module and redis, pydantic, orjson; no more.

    from streams.hint_store import HintReader

    with HintReader.from_url("redis://127.0.0.1:6379/0", pinned=["gift cards"]) as reader:
        answer = reader.get("household-17", trigger=["milk", "eggs"], limit=5)
        shown = answer.queries, answer.list_id

`AsyncHintReader` is the same with ``async with`` and ``await``. One answer costs one round trip in steady
state. Triggers are texts of what the user did last, newest first. An answer is the user's newest
hints, then older runs', then Think's for the triggers, then popular ones, then pinned ones; after the third
hint some places are Think's (`think_places`, see streams.think_merge). No query twice, none that is denied
(a new denial counts within 2 s). An unknown user is no error. Values in Redis that are none of ours are
skipped and counted.

Errors: StoreUnavailableError (Redis is away or too slow: show what you show without hints),
StoreRefusedError (rights, or a deny set that is no set).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

import redis
import redis.asyncio

from streams.hint_answer import HintAnswer as HintAnswer
from streams.hint_answer import parse_lists
from streams.hint_list import HintList
from streams.hint_protocol import Ask, Command, HintPlan
from streams.reader_memory import DENY_FRESH_S
from streams.redis_client import connect_redis, connect_redis_sync, reader_settings
from streams.redis_errors import REDIS_ERRORS, is_wrong_type, ours
from streams.redis_keys import hints_key
from streams.redis_wire import ask_redis, ask_redis_async
from streams.think_merge import THINK_PLACES, latest_triggers

READER_TIMEOUT_S: Final = 0.5
_DOING: Final = "Hints cannot be read"


class HintReader:
    """Reads hints for a blocking backend; threads may share it.

    client: any redis-py client; closed with the reader. pinned: shown when all else leaves places.
    think_places: how many of the places 4 to 10 are Think's, 0 to 7.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        pinned: Sequence[str] = (),
        deny_fresh_s: float = DENY_FRESH_S,
        think_places: int = THINK_PLACES,
    ) -> None:
        self._client = client
        self._plan = HintPlan(pinned, deny_fresh_s, think_places)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        timeout_s: float = READER_TIMEOUT_S,
        pinned: Sequence[str] = (),
        think_places: int = THINK_PLACES,
    ) -> Self:
        """A reader with a client of its own. Raises SettingsError for a URL that is none."""
        client = connect_redis_sync(reader_settings(url, timeout_s))
        return cls(client, pinned=pinned, think_places=think_places)

    def get(
        self,
        user: str,
        *,
        trigger: str | Sequence[str] | None = None,
        application: str = "",
        locale: str = "",
        limit: int = 10,
        now_ms: int | None = None,
    ) -> HintAnswer:
        """At most `limit` hints for `user`, best first.

        trigger: texts of the user's latest behaviours, newest first, or the latest alone; of more than
        TRIGGERS_READ the latest count. None: those that the newest list knows, which can cost a second
        round trip; "": none.
        application, locale: choose the popular list. now_ms: wall clock, for `age_ms` and
        for hints that are held (default: now).
        Raises StoreUnavailableError, StoreRefusedError; never for a missing user.
        """
        steps = self._plan.read(_ask(user, trigger, application, locale, limit, now_ms))
        commands = next(steps)
        while True:
            replies = self._round_trip(commands)
            try:
                commands = steps.send(replies)
            except StopIteration as done:
                answer: HintAnswer = done.value
                return answer

    def lists(self, user: str) -> tuple[HintList, ...]:
        """The user's lists as they were written, newest first; empty for an unknown user."""
        (reply,) = self._round_trip([("LRANGE", hints_key(user), 0, -1)])
        return tuple(parse_lists(reply)[0])

    def close(self) -> None:
        """Close the client's connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _round_trip(self, commands: list[Command]) -> list[Any]:
        try:
            return _checked(ask_redis(self._client, commands))
        except REDIS_ERRORS as error:
            raise ours(error, _DOING) from error


class AsyncHintReader:
    """`HintReader` for asyncio."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        pinned: Sequence[str] = (),
        deny_fresh_s: float = DENY_FRESH_S,
        think_places: int = THINK_PLACES,
    ) -> None:
        self._client = client
        self._plan = HintPlan(pinned, deny_fresh_s, think_places)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        timeout_s: float = READER_TIMEOUT_S,
        pinned: Sequence[str] = (),
        think_places: int = THINK_PLACES,
    ) -> Self:
        """A reader with a client of its own. Raises SettingsError for a URL that is none."""
        client = connect_redis(reader_settings(url, timeout_s))
        return cls(client, pinned=pinned, think_places=think_places)

    async def get(
        self,
        user: str,
        *,
        trigger: str | Sequence[str] | None = None,
        application: str = "",
        locale: str = "",
        limit: int = 10,
        now_ms: int | None = None,
    ) -> HintAnswer:
        """See `HintReader.get`."""
        steps = self._plan.read(_ask(user, trigger, application, locale, limit, now_ms))
        commands = next(steps)
        while True:
            replies = await self._round_trip(commands)
            try:
                commands = steps.send(replies)
            except StopIteration as done:
                answer: HintAnswer = done.value
                return answer

    async def lists(self, user: str) -> tuple[HintList, ...]:
        """See `HintReader.lists`."""
        (reply,) = await self._round_trip([("LRANGE", hints_key(user), 0, -1)])
        return tuple(parse_lists(reply)[0])

    async def aclose(self) -> None:
        """Close the client's connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _round_trip(self, commands: list[Command]) -> list[Any]:
        try:
            return _checked(await ask_redis_async(self._client, commands))
        except REDIS_ERRORS as error:
            raise ours(error, _DOING) from error


def _ask(
    user: str,
    trigger: str | Sequence[str] | None,
    application: str,
    locale: str,
    limit: int,
    now_ms: int | None,
) -> Ask:
    wall_ms = round(time.time() * 1000) if now_ms is None else now_ms
    texts = (trigger,) if isinstance(trigger, str) else trigger
    triggers = None if texts is None else latest_triggers(texts)
    return Ask(user, triggers, application, locale, limit, time.monotonic(), wall_ms)


def _checked(replies: list[Any]) -> list[Any]:
    """The replies, unless one is an error. A key with another kind of value is for the plan to judge."""
    for reply in replies:
        if isinstance(reply, redis.RedisError) and not is_wrong_type(reply):
            raise reply
    return replies
