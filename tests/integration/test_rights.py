"""A person's rights, with real workers: what the receipt says is true of every store."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from agents.erasure.deletion import find_receipts
from agents.erasure.export import person_data
from agents.erasure.receipt import Receipt, is_genuine, subject_of
from agents.erasure.traces import DEAD_LETTERS, OUTCOMES, STATE, find_people, stores_of
from agents.session.state import decode_state
from aigq.findings import examine
from streams.embedded.records import unpack
from streams.embedded.segment import headers
from streams.embedded.servers import EmbeddedKafka
from streams.kafka_auth import client_options
from streams.topics import topic_configs
from tests.shop import Shop, wait_until
from tests.support import NOON_MS, event_json

pytestmark = pytest.mark.timeout(240)


def visit(user: str, start_ms: int = NOON_MS, **fields: Any) -> list[dict[str, Any]]:
    return [
        event_json(
            action="search", text="oat milk", at_ms=start_ms, user=user, event_id=f"{user}-1", **fields
        ),
        event_json(text="bananas", at_ms=start_ms + 60_000, user=user, event_id=f"{user}-2", **fields),
    ]


def knows_all(shop: Shop, user: str) -> bool:
    """Whether the newest list knows the whole visit."""
    newest = shop.newest(user)
    return newest is not None and newest.triggers == ("bananas", "oat milk")


def feedback(shop: Shop, user: str) -> list[dict[str, Any]]:
    newest = shop.newest(user)
    assert newest is not None
    attributes = {"list_id": newest.list_id, "object": {"title": newest.hints[0].query}}
    click = event_json(action="hint_click", user=user, event_attributes=attributes, at_ms=NOON_MS + 99_000)
    return [click]


def run(shop: Shop, *command: str) -> dict[str, Any]:
    """The program's JSON."""
    environ = {**os.environ, **shop.environ}
    done = subprocess.run(
        [sys.executable, "-m", "aigq.main", *command, "--json"], env=environ, capture_output=True, timeout=120
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def found_of(shop: Shop, person: str) -> dict[str, int]:
    found = find_people(shop.settings, [person], stores_of(shop.settings))[person]
    return {store: len(records) for store, records in found.records.items()}


def test_a_deletion_erases_every_store_and_its_receipt_is_true(shop: Shop) -> None:
    shop.worker()
    gone, stays = shop.user(1), shop.user(2)
    shop.produce([*visit(gone), *visit(stays)])
    wait_until(lambda: all(knows_all(shop, one) for one in (gone, stays)), "the lists")
    shop.produce([*feedback(shop, gone), *feedback(shop, stays)])
    shop.produce_raw(
        (one.encode(), orjson.dumps({"user_id": one, "action_name": "view"})) for one in (gone, stays)
    )
    wait_until(lambda: shop.count("aigq_hint_outcomes_total") == 2, "the outcomes")
    shop.wait_until_quiet()
    dry = run(shop, "user", "delete", gone)["found"]
    lists = len(shop.reader.lists(gone))  # 1 where the second request overtook the first
    assert (dry["outcomes"], dry["dead_letters"], dry["lists"], dry["state"]) == (1, 1, lists, 2)
    assert knows_all(shop, gone)  # a dry run changes nothing

    receipt = run(shop, "user", "delete", gone, "--yes")
    assert receipt["subject"] == subject_of(gone)
    assert receipt["genuine"] and receipt["complete"]
    by_store = {one["store"]: one for one in receipt["stores"]}
    removed = {name: (one["found"], one["removed"], one["left"]) for name, one in by_store.items()}
    assert (removed[STATE], removed["hint lists"]) == ((2, 2, 0), (lists, lists, 0))
    assert removed[DEAD_LETTERS] == removed[OUTCOMES] == (1, 1, 0)

    # By inspection, not by the receipt's word:
    found = find_people(shop.settings, [gone, stays], stores_of(shop.settings))
    state = decode_state(found[gone].of(STATE)[-1].value or b"")
    assert (len(state.window), len(state.habit), state.interest.steps.size) == (0, 0, 0)
    assert (found[gone].of(DEAD_LETTERS), found[gone].of(OUTCOMES)) == ([], [])
    assert [one.hints for one in shop.reader.lists(gone)] == [()]
    assert {hint.source for hint in shop.reader.get(gone).hints} <= {"popular", "think"}
    assert len(found[stays].of(DEAD_LETTERS)) == len(found[stays].of(OUTCOMES)) == 1
    assert knows_all(shop, stays)
    for store, count in found_of(shop, gone).items():
        if store in by_store and by_store[store]["left"] is not None and store not in (STATE, "hint lists"):
            assert by_store[store]["left"] == count, store


def test_late_events_and_a_restart_do_not_bring_a_deleted_person_back(shop: Shop) -> None:
    worker = shop.worker("session", "hints", "erasure")
    user = shop.user(1)
    shop.produce(visit(user))
    wait_until(lambda: shop.newest(user), "a list")
    shop.produce([event_json(action="user_delete", user=user, at_ms=NOON_MS + 100_000, event_attributes={})])
    wait_until(lambda: find_receipts(shop.settings, subject_of(user)), "the receipt")
    worker.kill()
    worker.start()
    shop.produce(visit(user, NOON_MS + 50_000) + visit(user, NOON_MS + 200_000))
    wait_until(lambda: shop.count("aigq_events_total", outcome="deleted") >= 4, "the late events")
    shop.wait_until_quiet()
    assert [one.hints for one in shop.reader.lists(user)] == [()]
    state = person_data(shop.settings, user)["state"]
    assert (state["deleted"], state["behaviours"]) == (True, [])


def test_an_anonymous_history_becomes_the_users_and_the_clients_lists_go(shop: Shop) -> None:
    shop.worker("session", "hints")
    user, client = shop.user(1), f"{shop.name}-cookie"
    anonymous = [event | {"client_id": client} for event in visit(client)]
    for event in anonymous:
        del event["user_id"]
    shop.produce_raw((client.encode(), orjson.dumps(event)) for event in anonymous)
    wait_until(lambda: knows_all(shop, client), "the client's lists")
    identify = {
        "action_name": "identify",
        "timestamp": NOON_MS + 90_000,
        "user_id": user,
        "client_id": client,
    }
    shop.produce([identify])
    wait_until(lambda: shop.newest(user), "the user's list")
    wait_until(lambda: [one.hints for one in shop.reader.lists(client)] == [()], "the client's lists to go")
    newest = shop.newest(user)
    assert newest is not None
    assert (newest.reason, newest.triggers) == ("identify", ("bananas", "oat milk"))
    texts = [one["text"] for one in person_data(shop.settings, user)["state"]["behaviours"]]
    assert texts == ["bananas", "oat milk"]
    assert person_data(shop.settings, client)["state"]["behaviours"] == []


def test_consent_withdrawn_empties_state_and_lists_at_the_next_event(shop: Shop) -> None:
    shop.worker("session", "hints")
    user = shop.user(1)
    shop.produce(visit(user))
    wait_until(lambda: knows_all(shop, user), "the lists")
    shop.produce([event_json(action="view", text="wine", user=user, at_ms=NOON_MS + 70_000, consent=False)])
    wait_until(lambda: [one.hints for one in shop.reader.lists(user)] == [()], "the lists to go")
    assert person_data(shop.settings, user)["state"]["behaviours"] == []
    shop.produce([event_json(text="soap", user=user, at_ms=NOON_MS + 90_000, consent=True, event_id="c")])
    wait_until(lambda: (one := shop.newest(user)) and one.hints, "a list after consent was given again")
    assert [b["text"] for b in person_data(shop.settings, user)["state"]["behaviours"]] == ["soap"]


def test_a_receipt_that_was_changed_is_not_genuine(shop: Shop) -> None:
    shop.worker("session", "hints", "erasure")
    user = shop.user(1)
    run(shop, "user", "delete", user, "--yes")
    [receipt] = find_receipts(shop.settings, subject_of(user))
    assert is_genuine(receipt)
    assert not is_genuine(receipt.model_copy(update={"completed_ms": receipt.completed_ms + 1}))
    assert not is_genuine(receipt, "another key")
    saved = shop.folder / "receipt.jsonl"
    forged = Receipt.model_validate({**receipt.model_dump(), "stores": ()})
    saved.write_text(forged.model_dump_json())
    environ = {**os.environ, **shop.environ}
    program = [sys.executable, "-m", "aigq.main", "user", "receipts", "--file", str(saved), "--json"]
    assert subprocess.run(program, env=environ, capture_output=True, timeout=60).returncode == 1


@pytest.mark.embedded_only
def test_nothing_of_a_deleted_person_is_on_kafkas_disk_once_its_time_has_come(
    redis_url: str, tmp_path: Path
) -> None:
    """The bytes themselves, in all compacted topics: the receipt's `gone_by_ms` is kept, only sooner here."""
    with EmbeddedKafka(tmp_path / "kafka", options=("--clean-every-s", "0.2")) as kafka:
        shop = Shop(kafka.url, redis_url, tmp_path)
        try:
            hurry_compaction(shop)
            shop.worker("session", "hints", "erasure")
            user = shop.user(0)
            bad = {"user_id": user, "action_name": "view", "user_query": "confidential thing"}
            shop.produce([event_json(text="confidential thing", user=user, event_id="e1")])
            shop.produce_raw([(user.encode(), orjson.dumps(bad))])
            topics = (shop.topics.changelog, shop.topics.dead_letters)
            wait_until(lambda: all(holds(kafka, topic, b"confidential") for topic in topics), "the data")
            deletion = event_json(action="user_delete", user=user, at_ms=NOON_MS + 9, event_attributes={})
            shop.produce([deletion])
            wait_until(lambda: find_receipts(shop.settings, subject_of(user)), "the receipt")

            def is_gone() -> bool:
                # The newest record of a partition stays, as in Kafka, until another one comes.
                others = [shop.user(number) for number in range(1, 9)]
                now = str(time.monotonic())
                shop.produce(event_json(text="soap", user=one, event_id=one + now) for one in others)
                shop.produce_raw((one.encode(), b"bad") for one in others)
                return not any(holds(kafka, topic, b"confidential") for topic in topics)

            wait_until(is_gone, "compaction", 60)
        finally:
            shop.close()


def hurry_compaction(shop: Shop) -> None:
    """What takes a day otherwise takes half a second."""
    hurry = {"max.compaction.lag.ms": "500", "delete.retention.ms": "0"}
    admin: Any = KafkaAdminClient(**client_options(shop.settings))
    try:
        names = (shop.topics.changelog, shop.topics.dead_letters)
        configs = topic_configs(shop.settings)
        admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name, configs[name] | hurry) for name in names]
        )
    finally:
        admin.close()


def holds(kafka: EmbeddedKafka, topic: str, word: bytes) -> bool:
    """Whether the word stands in the topic's files, as they are or once they are unpacked."""
    for path in (kafka.data_dir / "topics").glob(f"{topic}-*/*.log"):
        with contextlib.suppress(FileNotFoundError):  # compaction has just replaced it
            content = path.read_bytes()
            batches = [
                unpack(content[at : at + header.size_bytes], header) for at, header in headers(content)
            ]
            if word in content or any(word in records for records in batches):
                return True
    return False


def test_the_doctor_says_which_topic_cannot_forget(shop: Shop) -> None:
    assert not any("keeps what was erased" in one.found for one in examine(shop.settings))
    admin: Any = KafkaAdminClient(**client_options(shop.settings))
    try:
        name = shop.topics.dead_letters
        older = topic_configs(shop.settings)[name] | {"cleanup.policy": "delete"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, older)])
    finally:
        admin.close()
    [finding] = [one for one in examine(shop.settings) if "keeps what was erased" in one.found]
    assert name in finding.found
    assert "cleanup.policy=compact,delete" in finding.action
