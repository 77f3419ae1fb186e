"""What a reader meets in Redis: the whole dialogue, with replies of any kind."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from io import StringIO
from typing import Any, Final

import orjson
from redis.exceptions import ResponseError

from aigq.console import HarmlessConsole
from aigq.hint_commands import as_dict, explained, rendered
from streams.errors import StoreRefusedError
from streams.hint_answer import HintAnswer, parse_lists
from streams.hint_list import Hint, HintList
from streams.hint_protocol import Ask, HintPlan
from streams.query_text import normalise_query
from streams.think_entry import Canary, ThinkPointer
from streams.version import Version
from tests.fuzz.target import Target, must
from tests.hostile import QUERIES, TERMINAL
from tests.support import NOON_MS

CUT: Final = b"\n~~\n"  # between two replies
LIMIT: Final = 10


def run_redis_values(data: bytes) -> None:
    """An answer with nothing denied, nothing twice and no more than asked for; or a refusal."""
    parts = data.split(CUT)
    plan = HintPlan(pinned=["gift cards"], think_places=len(data) % 8)
    ask = Ask("u1", ("milk", "oat milk") if len(data) % 2 else None, "web", "de", LIMIT, 5.0, NOON_MS)
    try:
        answer = _drive(plan, ask, parts)
        again = _drive(plan, ask, parts)  # with what it remembers
    except StoreRefusedError:
        return
    for one in (answer, again):
        _is_sound(one)
    denied = {normalise_query(part.decode("utf-8", "replace")) for part in parts[-2:]}
    must(not denied & {normalise_query(query) for query in answer.queries}, "a denied query was shown")
    lists, _ = parse_lists([part for part in parts if part])
    if len(data) % 16 == 0:
        out = StringIO()
        HarmlessConsole(file=out, width=100).print(rendered("u1", answer), *map(explained, lists))
        must("\x1b" not in out.getvalue() and "\u202e" not in out.getvalue(), "a screen obeys")


def _drive(plan: HintPlan, ask: Ask, parts: list[bytes]) -> HintAnswer:
    steps, source = plan.read(ask), _cycle(parts)
    commands = next(steps)
    while True:
        try:
            commands = steps.send([_reply(command, source, parts) for command in commands])
        except StopIteration as done:
            answer: HintAnswer = done.value
            return answer


def _cycle(parts: list[bytes]) -> Iterator[bytes]:
    while True:
        yield from parts


def _reply(command: tuple[Any, ...], source: Iterator[bytes], parts: list[bytes]) -> Any:
    """A reply that Redis could give to the command: its own kind, nothing, or an error of another kind."""
    part = next(source)
    if part.startswith(b"!wrong"):
        return ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")
    if command[0] == "LRANGE":
        return [part, *parts[:2]]
    if command[0] == "SMEMBERS":
        return set(parts[-2:])
    return None if part == b"!none" else part


def _is_sound(answer: HintAnswer) -> None:
    normal = [normalise_query(query) for query in answer.queries]
    must(len(normal) <= LIMIT and len(set(normal)) == len(normal), "too many, or one twice")
    must(len(answer.list_ids) == len(answer.hints), "each hint has its list's id")
    must(all(isinstance(hint.query, str) and hint.query for hint in answer.hints), "a hint has a text")
    must(answer.age_ms is None or answer.age_ms >= 0, "an age")
    orjson.dumps(as_dict("u1", answer))


@lru_cache
def _seeds() -> tuple[bytes, ...]:
    hints = (
        Hint(query="eggs", score=0.5, source="direct", held_until=NOON_MS + 5),
        Hint(query="bread", score=0.4, source="think", why="milk", mapping="v1"),
        *(Hint(query=text, score=0.1, source="direct", why=text) for text in TERMINAL.values()),
    )
    made = HintList(
        version=str(Version(NOON_MS, 1)), list_id="l1", user="u1", as_of=NOON_MS, generated_at=NOON_MS,
        reason="first", drift=1.0, trigger="milk", triggers=("milk", "tea"), bundle="b", hints=hints,
        held={"salsa": NOON_MS + 9},
    ).to_json()  # fmt: skip
    small = HintList.from_json(made).model_copy(update={"hints": hints[:2], "list_id": "l2"}).to_json()
    pointer = ThinkPointer(version="v1", triggers=3, canary=Canary(version="v2", share=0.5))
    queries = [{"query": text, "score": 0.5, "support": 3, "lift": 1.5} for text in ("chips", "dip")]
    entry = orjson.dumps({"trigger": "milk", "queries": queries})
    popular = orjson.dumps([*queries, *({"query": text, "score": 0.1} for text in QUERIES.values())])
    small_popular, named = orjson.dumps(queries), pointer.model_dump_json().encode()
    return (
        CUT.join((made, named, popular, small_popular, entry, b"beer", b"dip")),
        CUT.join((small, named, small_popular, entry, b"chips", b"Eggs ")),
        CUT.join((small, named, entry, entry, small_popular)),
        CUT.join((b"!none", b"!none", small_popular, b"!wrong", b"x")),
        CUT.join((b"!wrong", named, b"!wrong", small, entry)),
    )


TARGETS: Final = {
    one.name: one
    for one in (Target("redis_values", run_redis_values, _seeds(), in_ci=500, share=0.12, max_bytes=16_384),)
}
