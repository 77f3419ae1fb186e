"""One truth: workers on Kafka, also when one is killed, end where the offline replay ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from agents.offline_replay import OfflineResult, offline_replay
from agents.serving import open_bundle, rules_of
from streams.log_producer import replay_log
from tests.faults.ledger import assert_same_lists
from tests.shop import Shop, wait_until
from training.datasets.events import demo_purchases, write_event_log

pytestmark = pytest.mark.timeout(300)
PURCHASES = 3000


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About a day of real purchases, and the simulated searches between them."""
    path = tmp_path_factory.mktemp("log") / "december.jsonl.zst"
    write_event_log(path, demo_purchases(purchases_min=PURCHASES, households_min=1), seed=3)
    return path


def offline(shop: Shop, log: Path) -> OfflineResult:
    bundle = open_bundle(shop.settings)
    return offline_replay(log, shop.settings, rules_of(shop.settings, bundle.encoder, bundle.name), bundle)


def test_the_final_lists_of_a_live_run_are_those_of_the_offline_replay(shop: Shop, log: Path) -> None:
    shop.worker("session", "hints")
    summary = replay_log(log, shop.settings)
    expected = offline(shop, log)
    wait_until(lambda: shop.count("aigq_events_total") >= summary.sent, "every event read", 120)
    shop.wait_until_quiet()
    assert_same_lists(shop, expected.lists)
    assert shop.count("aigq_events_total", outcome="applied") == expected.outcomes["applied"]
    assert len(expected.lists) > 200


def test_a_worker_killed_in_the_middle_loses_nothing(shop: Shop, log: Path) -> None:
    survivor = shop.worker("session", "hints")
    victim = shop.worker("session", "hints")
    feeding = threading.Thread(target=replay_log, args=(log, shop.settings), kwargs={"speed": 4000})
    feeding.start()
    wait_until(lambda: shop.count("aigq_lists_total") > 100, "lists to flow", 60)
    time.sleep(1.0)
    victim.kill()
    feeding.join()
    expected = offline(shop, log)
    newest = {one.user: one.version for one in expected.lists}
    wait_until(
        lambda: (
            sum(
                bool((one := shop.newest(user)) and one.version >= version)
                for user, version in newest.items()
            )
            == len(newest)
        ),
        "every user's last list",
        150,
    )
    shop.wait_until_quiet()
    assert survivor.is_running
    assert_same_lists(shop, expected.lists)
    assert shop.count("aigq_dead_letters_total") == 0
    assert shop.count("aigq_events_total", outcome="duplicate") == 0


def test_a_log_replayed_twice_into_the_topic_changes_nothing(shop: Shop, log: Path) -> None:
    shop.worker("session", "hints")
    first = replay_log(log, shop.settings)
    wait_until(lambda: shop.count("aigq_events_total") >= first.sent, "every event read", 120)
    shop.wait_until_quiet()
    before = {user: shop.newest(user) for user in (one.user for one in offline(shop, log).lists)}
    replay_log(log, shop.settings)
    wait_until(lambda: shop.count("aigq_events_total") >= 2 * first.sent, "every event read again", 120)
    shop.wait_until_quiet()
    ignored = shop.count("aigq_events_total", outcome="duplicate") + shop.count(
        "aigq_events_total", outcome="too_late"
    )
    assert ignored == first.sent
    assert {user: shop.newest(user) for user in before} == before
