"""Logs, metrics and health of a worker at debug level hold nothing that people sent, whatever happens."""

from __future__ import annotations

import socket
import struct
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaProducer

from streams.embedded.servers import EmbeddedRedis
from streams.handover import MAGIC as HANDOVER_MAGIC
from streams.hint_request import MAGIC as HINT_MAGIC
from streams.kafka_auth import client_options
from tests.shop import Shop, get, wait_until
from tests.support import NOON_MS, event_json

pytestmark = [pytest.mark.timeout(240), pytest.mark.embedded_only]
MARK = "mrk7q"


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        yield redis


@pytest.fixture
def marked(kafka_url: str, own_redis: EmbeddedRedis, tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(kafka_url, own_redis.url, tmp_path, options={"AIGQ_LOG_LEVEL": "debug"})
    try:
        yield shop
    finally:
        shop.close()


def person(number: int) -> str:
    return f"{MARK}-user-{number}"


def events(number: int) -> list[dict[str, Any]]:
    user, mail = person(number), f"{MARK} query anna.{MARK}@example.com"
    ids = {"session_id": f"{MARK}-session", "client_id": f"{MARK}-client-{number}"}
    named = {"list_id": f"{MARK}-list"}
    return [
        event_json("search", mail, user=user, event_id=f"{MARK}-{number}", **ids),
        event_json(text=f"{MARK} title", at_ms=NOON_MS + 60_000, user=user, **ids),
        event_json(f"{MARK}_action", at_ms=NOON_MS + 61_000, user=user, **ids),
        event_json("hint_click", at_ms=NOON_MS + 62_000, user=user, event_attributes=named),
        event_json("identify", at_ms=NOON_MS + 63_000, user=user, **ids),
    ]


def broken(user: str) -> list[bytes]:
    """Values that no decoder takes, each with the mark where an error message could repeat it."""
    good = event_json(user=user)
    wrong: list[dict[str, Any]] = [
        good | {"timestamp": f"{MARK}@example.com"},
        good | {"timestamp": [MARK]},
        good | {"consent": MARK},
        good | {"event_attributes": {"object": {"price": MARK}, MARK: MARK}},
        good | {"event_attributes": MARK},
        good | {"user_id": {MARK: MARK}},
        good | {"application": MARK * 100},
        good | {"user_id": f"{MARK}-somebody-else"},
    ]
    return [*(orjson.dumps(one) for one in wrong), b'{"' + MARK.encode(), MARK.encode() * 100_000]


def unreadable() -> list[bytes]:
    """Records of our own topics in another shape, the mark in each."""
    header = orjson.dumps({"user": MARK, "version": MARK, "behaviours": [[MARK, MARK, MARK]], MARK: MARK})
    framed = struct.pack("<I", len(header)) + header + MARK.encode()
    handover = orjson.dumps({"client": MARK, "user": person(1), "at_ms": NOON_MS, "place": 3})
    return [
        HINT_MAGIC + framed,
        b"AER1" + header,
        HANDOVER_MAGIC + framed,
        HANDOVER_MAGIC + struct.pack("<I", len(handover)) + handover + MARK.encode(),
        MARK.encode(),
        orjson.dumps({"due_ms": MARK}),
        orjson.dumps({MARK: MARK}),
    ]


def send(shop: Shop, topic: str, values: list[bytes], key: bytes) -> None:
    producer: Any = KafkaProducer(**client_options(shop.settings), acks="all")
    try:
        for value in values:
            producer.send(topic, key=key, value=value)
        producer.flush()
    finally:
        producer.close()


def endpoints(shop: Shop) -> str:
    health = shop.workers[0].health_url
    return "".join(get(f"{health}/{name}")[1].decode() for name in ("ready", "metrics", "live"))


def stranger(shop: Shop) -> None:
    """A request for nothing of ours and a malformed one, the mark in both."""
    with socket.create_connection(("127.0.0.1", int(shop.workers[0].health_url.rpartition(":")[2]))) as raw:
        raw.sendall(b"GET /" + MARK.encode() + b"\xff \x00 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 400 " in raw.recv(4096)
    request = urllib.request.Request(f"{shop.workers[0].health_url}/{MARK}?{MARK}=1")  # noqa: S310 - our own worker
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)  # noqa: S310 - our own worker
    refused.value.close()


def test_a_worker_that_meets_everything_tells_of_it_without_a_word_of_a_person(
    marked: Shop, own_redis: EmbeddedRedis
) -> None:
    shop, key = marked, person(1).encode()
    send(shop, shop.topics.changelog, [MARK.encode()], person(2).encode())  # a state that cannot be read
    shop.worker()
    seen = endpoints(shop)
    shop.produce([event for number in (1, 2, 3) for event in events(number)])
    shop.produce_raw((key, value) for value in broken(person(1)))
    wait_until(lambda: shop.newest(person(1)), "the first list")
    for topic in (shop.topics.requests, shop.topics.handovers, shop.topics.due, shop.topics.erasures):
        send(shop, topic, unreadable(), key)
    shop.reader._client.lpush(b"aigq:1:hints:" + key, MARK.encode())  # what a reader finds there
    stranger(shop)
    wait_until(lambda: shop.count("aigq_dead_letters_total") >= 18, "the dead letters")
    own_redis.stop()
    shop.produce([event for number in (4, 5) for event in events(number)])
    wait_until(
        lambda: b"redis" in get(f"{shop.workers[0].health_url}/ready")[1].lower(), "Redis to be missed"
    )
    seen += endpoints(shop)
    own_redis.start()
    wait_until(lambda: shop.newest(person(4)), "a list when Redis is back", 90)
    shop.produce([event_json("user_delete", at_ms=NOON_MS + 3_600_000, user=person(1), event_id=f"{MARK}-d")])
    wait_until(lambda: shop.count("aigq_erasure_receipts_total") >= 1, "the receipt", 90)
    seen += endpoints(shop)
    shop.workers[0].stop()
    log = shop.workers[0].log_path.read_text()
    assert "state_unreadable" in log and len(log) > 1000, log
    leaks = [line for line in (log + seen).splitlines() if MARK in line.lower()]
    assert not leaks, "\n".join(leaks)
