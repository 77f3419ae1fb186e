"""The Kafka rights that docs/operations.md lists are enough: each role works as a user who has no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.errors import TopicAuthorizationFailedError

from streams.embedded.servers import EmbeddedKafka
from streams.kafka_auth import client_options
from streams.settings import load_settings
from streams.topics import Topics
from tests.docs.pages import rows, section, text_of, ticked
from tests.integration.doors import PASSWORD, users_file
from tests.shop import Shop, wait_until
from tests.support import NOON_MS, event_json

pytestmark = [
    pytest.mark.embedded_only,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]
NAME = "rights"
TABLE = {row[0]: row[1:] for row in rows(section(text_of("docs/operations.md"), "Kafka rights"))}
WORKING = ("session", "hints", "feedback", "erasure")


def users() -> dict[str, Any]:
    """The shop, who may do all, and one user per role."""

    def named(cell: str) -> list[str]:
        return [f"{NAME}.{name}" for name in ticked(cell)]

    roles = {
        role: {"may": {"read": named(read), "write": named(write), "group": named(group)}}
        for role, (read, write, group) in TABLE.items()
    }
    # Faust declares its changelog at every start, as the page says.
    roles["session"]["may"]["create"] = [f"{NAME}.aigq-session-sessions-changelog"]
    return {"shop": {}, **roles}


@pytest.fixture
def guarded(tmp_path: Path, redis_url: str) -> Any:
    """A shop whose broker gives each role its rights alone."""
    with EmbeddedKafka(tmp_path / "kafka", options=("--users", str(users_file(tmp_path, users())))) as kafka:
        login = {
            "AIGQ_KAFKA_SECURITY": "SASL_PLAINTEXT",
            "AIGQ_KAFKA_USERNAME": "shop",
            "AIGQ_KAFKA_PASSWORD": PASSWORD,
        }
        shop = Shop(kafka.url, redis_url, tmp_path, name=NAME, options=login)
        try:
            yield shop
        finally:
            shop.close()


def test_each_role_works_with_its_rights_alone(guarded: Shop) -> None:
    for role in WORKING:
        guarded.worker(role, AIGQ_KAFKA_USERNAME=role)
    user, leaving = guarded.user(1), guarded.user(2)
    guarded.produce([event_json("search", "milk", NOON_MS, user=one) for one in (user, leaving)])
    guarded.produce_raw([(b"someone", b"no event")])
    wait_until(lambda: guarded.newest(user) and guarded.newest(leaving), "a list")
    listed = guarded.newest(user)
    assert listed is not None
    shown = event_json("hint_impression", "", NOON_MS + 1, user=user)
    shown["event_attributes"] = {"list_id": listed.list_id, "objects": [{"title": listed.hints[0].query}]}
    guarded.produce([shown, event_json("user_delete", "", NOON_MS + 2, user=leaving)])
    topics = guarded.topics
    for name in (topics.dead_letters, topics.outcomes, topics.receipts):
        wait_until(lambda name=name: guarded.records(name), f"a record in {name}")


def test_a_user_without_the_right_to_write_is_refused(guarded: Shop) -> None:
    settings = load_settings(guarded.environ, kafka_username="feedback")
    producer: Any = KafkaProducer(**client_options(settings), enable_idempotence=False)
    try:
        with pytest.raises(TopicAuthorizationFailedError):
            producer.send(Topics.of(settings).events, b"{}", key=b"k").get(30)
    finally:
        producer.close()
