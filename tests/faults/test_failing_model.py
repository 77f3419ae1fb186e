"""A model that raises or hangs under a running worker: nothing is lost, it goes on when the model works."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.session.interest import ACTION_CODES
from streams.records import Action
from tests.faults.case import Case
from tests.faults.known_stream import known, real_events
from tests.faulty_bundles import COMMITTED, Parts, faulty, loops_forever, one_long_node, raises, repaired
from tests.shop import get, wait_until
from tests.support import NOON_MS, event_json

pytestmark = pytest.mark.timeout(400)
FAULTS: dict[str, Callable[[], Parts]] = {"raises": raises, "hangs": loops_forever}


def bundle_for(case: Case) -> Path:
    """A copy of the bundle that the case's workers use."""
    folder = Path(shutil.copytree(COMMITTED, case.folder / "bundle"))
    case.options |= {
        "AIGQ_BUNDLE_DIR": str(folder),
        "AIGQ_GENERATION_TIMEOUT_S": "1",
        "AIGQ_BUNDLE_EVERY_S": "3600",  # the trial opens it anew, not the watch
        "AIGQ_COOLDOWN_S": "0",
    }
    return folder


def ready(case: Case) -> tuple[int, Any]:
    status, body = get(f"{case.shop.workers[0].health_url}/ready")
    return status, orjson.loads(body)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_model_that_fails_for_all_waits_until_its_bundle_is_repaired(case: Case, fault: str) -> None:
    folder = bundle_for(case)
    faulty(folder, FAULTS[fault])
    case.shop.worker("session", "hints")
    case.feed(known(real_events(300)))
    wait_until(lambda: case.shop.count("aigq_breaker_open", border="model") == 1, "the circuit to open")
    status, body = ready(case)
    assert status == 503
    assert body["problems"]["model"].startswith("the model fails: ")
    assert body["breakers"]["model"] in ("open", "half-open")
    assert case.shop.count("aigq_lists_total") == 0
    repaired(folder)
    account = case.balance()
    assert account.lists > 10
    assert account.dead_letters == {}
    assert case.shop.count("aigq_dead_letters_total") == 0
    assert ready(case)[0] == 200


@pytest.mark.parametrize("fault", FAULTS)
def test_a_request_that_the_model_cannot_answer_is_set_aside_alone(case: Case, fault: str) -> None:
    faulty(bundle_for(case), FAULTS[fault], ACTION_CODES[Action.SEARCH])
    shop = case.shop
    shop.worker("session", "hints")
    events = [event_json(text="milk", user=shop.user(n), at_ms=NOON_MS) for n in range(30)]
    shop.produce(
        [*events[:15], event_json("search", "wine", user=shop.user(99), at_ms=NOON_MS), *events[15:]]
    )
    wait_until(lambda: all(shop.newest(shop.user(n)) for n in range(30)), "everybody else's lists")
    wait_until(lambda: shop.count("aigq_dead_letters_total") == 1, "the dead letter")
    shop.wait_until_quiet()
    [letter] = shop.records(shop.topics.dead_letters)
    headers = dict(letter.headers)
    assert headers["aigq.reason"] == (b"generation_timeout" if fault == "hangs" else b"internal_error")
    assert headers["__streams.errors.topic"].decode() == shop.topics.requests
    assert shop.newest(shop.user(99)) is None
    assert ready(case)[0] == 200


def test_a_worker_whose_graph_cannot_be_stopped_ends_and_acknowledges_nothing(case: Case) -> None:
    faulty(bundle_for(case), one_long_node(4000))
    shop = case.shop
    worker = shop.worker("session", "hints", AIGQ_STOP_WITHIN_S="5")
    shop.produce(event_json(text="milk", user=shop.user(n), at_ms=NOON_MS) for n in range(5))
    wait_until(lambda: not worker.is_running, "the worker to give up", 120)
    assert "did not end, not even when told to" in worker.log_path.read_text()
    assert shop.records(shop.topics.dead_letters) == []
    repaired(case.folder / "bundle")
    shop.worker("session", "hints")
    wait_until(lambda: all(shop.newest(shop.user(n)) for n in range(5)), "the lists, by the next worker")
