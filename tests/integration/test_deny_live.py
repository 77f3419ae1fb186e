"""A query denied while a worker runs: no reader shows it, no store holds it, no list brings it back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from agents.deny.values import cleaned
from streams.deny_rule import DenyKind, made
from streams.deny_rules import DenyRules
from streams.hint_store import HintReader
from streams.redis_keys import hints_key
from tests.denying import stored_queries
from tests.redis_databases import empty_database
from tests.shop import BUNDLE, Shop, wait_until
from tests.support import NOON_MS, event_json

pytestmark = pytest.mark.timeout(240)
USERS = 60
LATER_MS = NOON_MS + 86_400_000  # nothing is held any more
TRIGGERS = ("milk", "bananas", "beer", "soup")


@pytest.fixture
def shop(kafka_url: str, redis_url: str, tmp_path: Path) -> Iterator[Shop]:
    """A shop with a Redis database of its own: its rules are nobody else's."""
    opened = Shop(kafka_url, empty_database(redis_url, 12), tmp_path)
    try:
        yield opened
    finally:
        opened.close()
        empty_database(redis_url, 12)


def test_a_denied_term_is_gone_from_every_reader_store_and_later_list(shop: Shop) -> None:
    shop.worker()
    _buy(shop, minute=0)
    wait_until(lambda: all(shop.newest(shop.user(n)) for n in range(USERS)), "a list for each user")
    shop.wait_until_quiet()
    term = _most_shown(shop)
    denied = DenyRules([made(DenyKind.TERM, term)])
    readers = [HintReader.from_url(shop.redis_url) for _ in range(2)]
    with redis.Redis.from_url(shop.redis_url) as client:
        assert any(_shows(shop, reader, denied) for reader in readers)
        started_s = time.monotonic()
        told = _aigq_deny(shop, "add", term, "--reason", "test")
        wait_until(lambda: not any(_shows(shop, one, denied) for one in readers), "readers to leave it out")
        print(f"readers free after {time.monotonic() - started_s:.2f} s, swept in {told['seconds']} s")
        assert told["lists"] > 0
        assert told["entries"] + told["popular"] > 0
        assert not any(denied.denying(query) for query in stored_queries(client))
        before = {user: client.lindex(hints_key(shop.user(user)), 0) for user in range(USERS)}
        _buy(shop, minute=10)
        keys = {user: hints_key(shop.user(user)) for user in range(USERS)}
        wait_until(lambda: all(client.lindex(keys[n], 0) != before[n] for n in keys), "newer lists")
        shop.wait_until_quiet()
        assert not any(denied.denying(query) for query in stored_queries(client))
        assert not any(_shows(shop, reader, denied) for reader in readers)
        assert shop.count("aigq_hints_filtered_total", reason="denied") > 0
        assert _aigq_deny(shop, "remove", *told["added"])["freed"] > 0
        _buy(shop, minute=20)
        wait_until(lambda: any(_shows(shop, one, denied) for one in readers), "lists that hold it again")
    for reader in readers:
        reader.close()


def _buy(shop: Shop, minute: int) -> None:
    at_ms = NOON_MS + minute * 60_000
    shop.produce(
        event_json(
            text=TRIGGERS[number % len(TRIGGERS)],
            at_ms=at_ms,
            user=shop.user(number),
            event_id=f"{shop.user(number)}-{minute}",
        )
        for number in range(USERS)
    )


def _most_shown(shop: Shop) -> str:
    """A query of many lists that is no trigger, so that the mapping can hold it, too."""
    lists = (shop.newest(shop.user(number)) for number in range(USERS))
    shown = Counter(hint.query for one in lists if one for hint in one.hints if hint.query not in TRIGGERS)
    return shown.most_common(1)[0][0]


def _shows(shop: Shop, reader: HintReader, denied: DenyRules) -> bool:
    users = [shop.user(number) for number in range(0, USERS, 7)]
    answers = [reader.get(user, trigger=["milk"], limit=30, now_ms=LATER_MS) for user in users]
    return any(denied.denying(query) for answer in answers for query in answer.queries)


def _aigq_deny(shop: Shop, *arguments: str) -> Any:
    command = [sys.executable, "-m", "aigq.main", "deny", *arguments, "--json"]
    environ = os.environ | {"AIGQ_REDIS_URL": shop.redis_url, "AIGQ_BUNDLE_DIR": str(BUNDLE)}
    done = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return orjson.loads(done.stdout.splitlines()[-1])


def test_a_list_swept_out_is_still_a_list_of_the_contract(shop: Shop) -> None:
    """What the hints role writes comes back from a sweep with the same fields in the same order."""
    shop.worker("session", "hints")
    _buy(shop, minute=0)
    wait_until(lambda: shop.newest(shop.user(0)), "a list")
    with redis.Redis.from_url(shop.redis_url) as client:
        value = client.lindex(hints_key(shop.user(0)), 0)
    first = orjson.loads(value)["hints"][0]["query"]
    changed = cleaned(value, DenyRules([made(DenyKind.NORMALISED, first)])).value
    assert list(orjson.loads(changed)) == list(orjson.loads(value))
    assert changed[:46] == value[:46]
