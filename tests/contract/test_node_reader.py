"""The reader example in Node, on the same Redis contents as the Python readers."""

from __future__ import annotations

import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from streams.hint_list import Hint, HintList
from streams.query_text import normalise_query
from streams.redis_keys import THINK_CURRENT, hints_key
from tests.readings import GOLDEN_LISTS, READINGS, Reading
from tests.redis_databases import empty_database

READER = Path(__file__).parents[2] / "docs/examples/reader-node/hints.mjs"
SURROGATES = range(0xD800, 0xE000)
NORMALISE_ALL = """
import { readFileSync } from "node:fs";
import { normaliseQuery } from "%s";
const texts = JSON.parse(readFileSync(0));
console.log(JSON.stringify(texts.map(normaliseQuery)));
"""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 4)


def node(*arguments: str, stdin: bytes = b"") -> Any:
    done = subprocess.run(["node", *arguments], input=stdin, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return orjson.loads(done.stdout)


def read(url: str, ask: dict[str, Any]) -> list[dict[str, Any]]:
    asked = {key: ask[key] for key in ask.keys() - {"user"}}
    hints: list[dict[str, Any]] = node(str(READER), url, ask["user"], orjson.dumps(asked).decode())
    return hints


@pytest.mark.parametrize("reading", READINGS, ids=lambda reading: reading.name)
def test_node_answers_a_reading_as_the_contract_says(url: str, reading: Reading) -> None:
    reading.put(url)
    hints = read(url, reading.ask | {"now_ms": 10_000})
    assert [[hint["query"], hint["source"], hint["list_id"]] for hint in hints] == reading.answer
    if reading.mappings is not None:
        assert [hint.get("mapping", "") for hint in hints] == reading.mappings


@pytest.mark.parametrize("path", GOLDEN_LISTS, ids=lambda path: path.stem)
def test_node_reads_a_golden_list(url: str, path: Path) -> None:
    one = HintList.from_json(path.read_bytes())
    with redis.Redis.from_url(url) as client:
        client.rpush(hints_key(one.user), path.read_bytes())
        client.set(THINK_CURRENT, b'{"version":"3f2a9c0d1b7e"}')  # of the think hints in them
    names = Hint.model_fields.keys()
    hints = [
        {"held_until": 0, "mapping": ""} | {name: hint[name] for name in hint.keys() & names}
        for hint in read(url, {"user": one.user, "now_ms": one.generated_at})
    ]
    assert hints == [hint.model_dump() for hint in one.hints]


def test_node_says_when_redis_is_away() -> None:
    done = subprocess.run(
        ["node", str(READER), "redis://127.0.0.1:1/0", "u"], capture_output=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert b"ECONNREFUSED" in done.stderr


def test_node_and_python_agree_on_the_normal_form_of_every_character() -> None:
    """Of every character that this Python's Unicode tables know."""
    characters = (chr(code) for code in range(0x110000) if code not in SURROGATES)
    texts = [f"a{one}B" for one in characters if unicodedata.category(one) != "Cn"]
    texts += ["  a \t b ", "ΟΔΟΣ", "Straße", "cre\u0300me", "\u0345\u0300a"]
    script = NORMALISE_ALL % READER.as_uri()
    found = node("--input-type=module", "-e", script, stdin=orjson.dumps(texts))
    pairs = zip(texts, found, strict=True)
    wrong = [(text, theirs) for text, theirs in pairs if normalise_query(text) != theirs]
    assert wrong == []
