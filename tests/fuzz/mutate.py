"""Make hostile inputs out of good ones: bytes are torn, JSON gets values that nobody sends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final

PLACE: Final = "@@here@@"
# JSON values as text, so that what json.dumps would not write can be among them.
# fmt: off
VALUES: Final = (
    "NaN", "Infinity", "-Infinity", "1e400", "-1e400", "-0.0", "0", "-1", "1.5", "true", "false", "null",
    "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e22", "1" * 400, "1" * 5000,
    '""', '" "', '"\\u0000"', '"\\ud800"', '"\\ud83c\\udf53"', '"a\\nb\\r"', '"\\u202e"', '"\\u001b[2J"',
    '"NaN"', '"1e400"', '"\u0661\u0662\u0663"', '"0x10"', '"1_000"', '"+1"', '" 1 "', '"1512129600000"',
    '"2017-12-01T12:00:00"', '"9999-12-31T23:59:59-23:59"', '"0001-01-01T00:00:00+23:59"', "1512129600000",
    "[]", "{}", "[[]]", '{"":0}', "[1,2,3]", "[null]", '{"a":{"b":[]}}', '"<b>&amp;"', '"a:b/c|d"', '".."',
    "[" * 300, "[" * 300 + "]" * 300, '{"a":' * 150 + "1" + "}" * 150, "[" + "0," * 300 + "0]",
    '"' + "x" * 300 + '"',
)
TOKENS: Final = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r\n", b"\x1b[2J", b"\xe2\x80\xae", b":", b"/", b"|",
    b"-1", b"1e400", b"NaN", b"[" * 64, b"{" * 64, b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0",
)
# fmt: on


def inputs(seeds: Sequence[bytes], seed: int, count: int, max_bytes: int) -> Iterator[bytes]:
    """The seeds themselves, then mutations of them: always the same for the same arguments."""
    chance = Random(seed)
    yield from seeds[:count]
    for _ in range(count - len(seeds)):
        data = chance.choice(seeds)
        for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5))):
            data = mutated(data, chance, seeds)
        yield data[: max_bytes if chance.random() < 0.98 else None]


def mutated(data: bytes, chance: Random, others: Sequence[bytes] = ()) -> bytes:
    """One change. JSON in `data`, alone or behind a frame's few bytes, is changed as JSON half the time."""
    if chance.random() < 0.5:
        changed = _json_mutated(data, chance)
        if changed is not None:
            return changed
    return _bytes_mutated(data, chance, others)


def _json_mutated(data: bytes, chance: Random) -> bytes | None:
    start = min((at for at in (data.find(b"{"), data.find(b"[")) if at >= 0), default=-1)
    if start < 0:
        return None
    text = data[start:].decode("utf-8", "surrogateescape")
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    head, tail = data[:start], text[end:].encode("utf-8", "surrogateescape")
    try:
        return head + _with_one_change(value, chance).encode("utf-8", "surrogatepass") + tail
    except RecursionError:
        return None


def _with_one_change(value: Any, chance: Random) -> str:
    places = list(_places(value))
    if not places:
        return chance.choice(VALUES)
    holder, key = chance.choice(places)
    kind = chance.randrange(8)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[PLACE] = holder[key]
        return json.dumps(value).replace(PLACE, str(key).replace('"', ""))  # the same key twice
    elif kind == 2 and isinstance(holder, list):
        holder[key:key] = [holder[key]] * chance.choice((1, 2, 200))
    else:
        holder[key] = PLACE
    return json.dumps(value, ensure_ascii=chance.random() < 0.5).replace(f'"{PLACE}"', chance.choice(VALUES))


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(dict or list, key) of every value below."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(items):
        yield value, key
        yield from _places(part)


def _bytes_mutated(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    at, end = sorted((chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)))
    kind = chance.randrange(8)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + data[end:]
    if kind == 2:
        return data[:at] + data[at:end] * chance.choice((2, 2, 50)) + data[end:]
    if kind == 3:
        return data[:at] + chance.choice(TOKENS) + data[at:]
    if kind == 4:
        return data[:at] + chance.choice(TOKENS) + data[end:]
    if kind == 5 and others:
        other = chance.choice(others)
        return data[:at] + other[chance.randrange(len(other) + 1) :]
    if kind == 6:
        return data[:at] + chance.randbytes(chance.choice((1, 2, 4, 8))) + data[at + 4 :]
    return data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
