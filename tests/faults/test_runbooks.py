"""Every alarm of docs/operations.md, provoked for real, dealt with as docs/runbooks.md says, and over.

No evaluator of PromQL is at hand: beside each provocation stands what its expression asks for, of the metrics
that the workers really show. `make faults` prints what the pages quote.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from agents.session.interest import ACTION_CODES
from aigq.services import WorkerProcess
from streams.records import Action
from streams.redis_keys import THINK_LOCK
from tests.faults.case import Case
from tests.faulty_bundles import COMMITTED, change_manifest, faulty, raises, repaired
from tests.mapping_folders import write_manifest, write_version
from tests.shop import get, wait_until
from tests.support import NOON_MS, event_json

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


def buy(case: Case, users: range, text: str = "milk", minute: int = 0, **fields: Any) -> None:
    at_ms = NOON_MS + minute * 60_000
    shop = case.shop
    shop.produce(event_json(text=text, user=shop.user(n), at_ms=at_ms + n, **fields) for n in users)


def have_lists(case: Case, users: range, text: str) -> bool:
    newest = [case.shop.newest(case.shop.user(n)) for n in users]
    return all(one is not None and one.trigger == text for one in newest)


def ready(worker: WorkerProcess) -> dict[str, Any]:
    answer: dict[str, Any] = orjson.loads(get(f"{worker.health_url}/ready")[1])
    return answer


def tell(case: Case, worker: WorkerProcess, *metrics: str, log: str = "") -> None:
    """What an operator sees: the metrics, `/ready`, and the newest line of the log."""
    for (name, labels), value in sorted(case.shop.metrics().items()):
        if name in metrics and value:
            print(f"  {name}{dict(labels)} {value:g}")
    print(f"  /ready {orjson.dumps(ready(worker)).decode()}")
    lines = [line for line in worker.log_path.read_text().splitlines() if log and log in line]
    print(f"  log    {lines[-1]}" if lines else "")


def aigq(case: Case, *words: str, **settings: str) -> Any:
    """The program, with the shop's settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIGQ_")}
    done = subprocess.run(
        [sys.executable, "-m", "aigq.main", *words, "--json"],
        env=clean | case.shop.environ | settings,
        capture_output=True,
        timeout=100,
        check=False,
    )
    answer = orjson.loads(done.stdout.splitlines()[-1])
    print(f"  aigq {' '.join(words)}: exit code {done.returncode}, {str(answer)[:400]}")
    return answer


def test_lists_come_late(case: Case) -> None:
    slow = case.shop.worker("session", "hints", AIGQ_LISTS_PER_SECOND="4")
    buy(case, range(120))
    wait_until(lambda: case.shop.count("aigq_freshness_seconds_count") > 20, "some late lists")
    samples = case.shop.metrics()
    in_time = sum(
        v
        for (n, labels), v in samples.items()
        if n.endswith("freshness_seconds_bucket") and dict(labels)["le"] == "1.0"
    )
    assert in_time < 0.99 * case.shop.count("aigq_freshness_seconds_count")
    tell(case, slow, "aigq_freshness_seconds_count", "aigq_queue_requests", "aigq_queue_age_seconds")
    slow.stop()
    case.shop.worker("session", "hints")
    wait_until(lambda: have_lists(case, range(120), "milk"), "everybody's list")
    assert case.shop.count("aigq_queue_requests") == 0


def test_a_worker_is_overloaded(case: Case) -> None:
    slow = case.shop.worker("session", "hints", AIGQ_LISTS_PER_SECOND="2")
    buy(case, range(120))
    wait_until(lambda: case.shop.count("aigq_overloaded") == 1, "the overload")
    tell(
        case, slow, "aigq_overloaded", "aigq_queue_requests", "aigq_queue_age_seconds", log="overload_begins"
    )
    assert ready(slow)["ready"]
    assert "a request waits for" in ready(slow)["overload"]
    slow.stop()
    quick = case.shop.worker("session", "hints")
    wait_until(lambda: have_lists(case, range(120), "milk"), "everybody's list")
    wait_until(lambda: case.shop.count("aigq_overloaded") == 0 and not ready(quick)["overload"], "its end")


def test_a_consumer_stands_still(case: Case) -> None:
    worker = case.shop.worker("session", "hints", AIGQ_STUCK_AFTER_S="3")
    buy(case, range(5))
    wait_until(lambda: have_lists(case, range(5), "milk"), "the first lists")
    case.redis.kill()
    buy(case, range(5), "wine", 1)
    wait_until(lambda: max(commit_ages(case)) > 8, "commits to stand still")
    tell(case, worker, "aigq_commit_age_seconds", "aigq_lag_records", log="publish_failed")
    assert worker.is_running  # it names what it waits for: a restart would not help
    case.redis.restart()
    wait_until(lambda: have_lists(case, range(5), "wine"), "the lists")
    wait_until(lambda: max(commit_ages(case)) == 0 and ready(worker)["ready"], "its end")


def commit_ages(case: Case) -> list[float]:
    return [value for (name, _), value in case.shop.metrics().items() if name == "aigq_commit_age_seconds"]


def test_lag_grows(case: Case) -> None:
    buy(case, range(12_000))
    worker = case.shop.worker("session")
    wait_until(lambda: case.shop.count("aigq_lag_records", topic=case.shop.topics.events) > 10_000, "the lag")
    tell(case, worker, "aigq_lag_records", "aigq_overloaded", log="overload_begins")
    case.shop.worker("session")
    wait_until(
        lambda: case.shop.count("aigq_lag_records", topic=case.shop.topics.events) == 0, "its end", 120
    )
    wait_until(lambda: case.shop.count("aigq_overloaded") == 0, "the end of the overload")


def test_broken_events(case: Case) -> None:
    worker = case.shop.worker("session", "hints")
    buy(case, range(50))
    buy(case, range(50, 55), timestamp="yesterday")
    wait_until(
        lambda: case.shop.count("aigq_dead_letters_total", reason="bad_timestamp") == 5, "dead letters"
    )
    wait_until(lambda: case.shop.count("aigq_events_total") == 55, "all events")
    assert case.shop.count("aigq_dead_letters_total") / case.shop.count("aigq_events_total") > 0.01
    tell(case, worker, "aigq_dead_letters_total", "aigq_events_total")
    letter = case.shop.records(case.shop.topics.dead_letters)[0]
    print("  a dead letter:", {name: value.decode()[:90] for name, value in letter.headers})
    buy(case, range(50, 55))  # the producer is corrected, and sends them again
    wait_until(lambda: have_lists(case, range(50, 55), "milk"), "the lists of those users")
    assert case.shop.count("aigq_dead_letters_total") == 5


def own_bundle(case: Case) -> Path:
    folder = Path(shutil.copytree(COMMITTED, case.folder / "bundle"))
    case.options |= {"AIGQ_BUNDLE_DIR": str(folder), "AIGQ_BUNDLE_EVERY_S": "0.5", "AIGQ_COOLDOWN_S": "0"}
    return folder


def test_our_fault(case: Case) -> None:
    folder = own_bundle(case)
    faulty(folder, raises, ACTION_CODES[Action.SEARCH])
    worker = case.shop.worker("session", "hints")
    buy(case, range(5))
    case.shop.produce([event_json("search", "wine", user=case.shop.user(9), at_ms=NOON_MS)])
    wait_until(lambda: case.shop.count("aigq_dead_letters_total", reason="internal_error") == 1, "our fault")
    tell(case, worker, "aigq_dead_letters_total", log="record_failed")
    repaired(folder)
    wait_until(
        lambda: case.shop.count("aigq_bundle_loads_total", outcome="loaded") == 1, "the repaired bundle"
    )
    case.shop.produce([event_json("search", "wine", user=case.shop.user(9), at_ms=NOON_MS + 60_000)])
    wait_until(lambda: have_lists(case, range(9, 10), "wine"), "that user's list")
    assert case.shop.count("aigq_dead_letters_total") == 1


def test_the_model_fails(case: Case) -> None:
    folder = own_bundle(case)
    faulty(folder, raises)
    worker = case.shop.worker("session", "hints")
    buy(case, range(20))
    wait_until(lambda: case.shop.count("aigq_breaker_open", border="model") == 1, "the circuit to open")
    tell(case, worker, "aigq_breaker_open", "aigq_dead_letters_total", log="model_fails")
    repaired(folder)
    wait_until(lambda: have_lists(case, range(20), "milk"), "everybody's list", 90)
    wait_until(lambda: case.shop.count("aigq_breaker_open", border="model") == 0, "its end")
    tell(case, worker, "aigq_dead_letters_total", log="model_works_again")
    assert case.shop.count("aigq_dead_letters_total") == 0


def test_a_bundle_is_refused(case: Case) -> None:
    folder = own_bundle(case)
    worker = case.shop.worker("session", "hints")
    graph = (folder / "generator.onnx").read_bytes()
    (folder / "generator.onnx").write_bytes(graph[:-100])
    wait_until(lambda: case.shop.count("aigq_bundle_loads_total", outcome="refused") == 1, "the refusal")
    tell(case, worker, "aigq_bundle_loads_total", log="bundle_refused")
    aigq(case, "bundle", "verify")
    (folder / "generator.onnx").write_bytes(graph)
    change_manifest(folder, lambda found: found.update(version="2"))
    assert aigq(case, "bundle", "verify")["fits"]
    wait_until(lambda: ready(worker)["bundle"] == {"name": "complete-journey-2", "refused": ""}, "its end")


def test_redis_does_not_take_lists(case: Case) -> None:
    worker = case.shop.worker("session", "hints")
    with redis.Redis.from_url(case.redis.url) as client:
        client.config_set("maxmemory", "1")
        buy(case, range(5))
        wait_until(lambda: case.shop.count("aigq_store_retries_total") > 3, "retries")
        tell(case, worker, "aigq_store_retries_total", "aigq_breaker_open", log="publish_failed")
        problems = [finding for finding in aigq(case, "doctor") if finding["level"] == "problem"]
        print(f"  doctor: {problems}")
        assert {problem["part"] for problem in problems} == {"redis"}
        client.config_set("maxmemory", "0")
    wait_until(lambda: have_lists(case, range(5), "milk"), "the lists")
    wait_until(lambda: ready(worker)["ready"], "its end")


def test_no_lists_though_events_come(case: Case) -> None:
    worker = case.shop.worker("session")  # and nobody who generates
    buy(case, range(20))
    wait_until(lambda: case.shop.count("aigq_events_total", outcome="applied") == 20, "the events")
    assert case.shop.count("aigq_lists_total", outcome="published") == 0
    tell(case, worker, "aigq_events_total", "aigq_refresh_decisions_total", "aigq_lists_total")
    case.shop.worker("hints")
    wait_until(lambda: case.shop.count("aigq_lists_total", outcome="published") >= 20, "its end")


def own_mapping(case: Case, every_s: str = "0.5") -> Path:
    root = case.folder / "think"
    write_version(root, {"milk": ["bread"]}, version="v1")
    case.options |= {"AIGQ_THINK_DIR": str(root), "AIGQ_THINK_EVERY_S": every_s}
    return root


def served(worker: WorkerProcess) -> str:
    return str(ready(worker).get("mapping", {}).get("version"))


def test_the_mapping_does_not_load(case: Case) -> None:
    root = own_mapping(case)
    worker = case.shop.worker("think")
    wait_until(lambda: served(worker) == "v1", "the first mapping")
    folder = write_version(root, {"milk": ["bread", "oats"]}, version="v2")
    whole = (folder / "mapping.jsonl").read_bytes()
    (folder / "mapping.jsonl").write_bytes(whole[:-20])
    wait_until(lambda: case.shop.count("aigq_think_loads_total", outcome="failed") > 0, "the failure")
    tell(case, worker, "aigq_think_loads_total", log="mapping_not_loaded")
    assert served(worker) == "v1"
    aigq(case, "think", "lint", str(root))
    (folder / "mapping.jsonl").write_bytes(whole)
    wait_until(lambda: served(worker) == "v2" and ready(worker)["ready"], "its end")


def test_the_mapping_is_old(case: Case) -> None:
    root = own_mapping(case)
    day = datetime.now(UTC).date()
    counts = {"mapping.jsonl": 1, "popular.json": 1}
    write_manifest(root / "v1", counts, created=str(day - timedelta(days=10)))
    worker = case.shop.worker("think")
    wait_until(lambda: case.shop.count("aigq_think_created_seconds") > 0, "the mapping")
    assert time.time() - case.shop.count("aigq_think_created_seconds") > 7 * 86_400
    tell(case, worker, "aigq_think_created_seconds")
    write_manifest(write_version(root, {"milk": ["oats"]}, version="v2"), counts, created=str(day))
    wait_until(lambda: time.time() - case.shop.count("aigq_think_created_seconds") < 3 * 86_400, "its end")


def test_a_loader_is_stuck(case: Case) -> None:
    own_mapping(case)
    with redis.Redis.from_url(case.redis.url) as client:
        client.set(THINK_LOCK, "a loader that was stopped by a debugger", ex=600)
        worker = case.shop.worker("think")
        wait_until(lambda: case.shop.count("aigq_think_loads_total", outcome="busy") > 2, "a lock that stays")
        assert case.shop.count("aigq_think_loads_total", outcome="loaded") == 0
        tell(case, worker, "aigq_think_loads_total")
        print(f"  redis-cli ttl {THINK_LOCK}: {client.ttl(THINK_LOCK)}")
        client.delete(THINK_LOCK)
    wait_until(lambda: served(worker) == "v1" and ready(worker)["ready"], "its end")


def test_versions_pile_up(case: Case) -> None:
    root = own_mapping(case)
    worker = case.shop.worker("think")
    wait_until(lambda: served(worker) == "v1", "the first mapping")
    with redis.Redis.from_url(case.redis.url) as client:
        for number in range(5):  # loads that were broken off
            client.hset("aigq:1:think-versions", f"broken-{number}", "")
    wait_until(lambda: case.shop.count("aigq_think_versions") > 4, "versions")
    tell(case, worker, "aigq_think_versions")
    aigq(case, "think", "gc", str(root))
    assert aigq(case, "think", "gc", str(root), "--yes")["deleted"]
    wait_until(lambda: case.shop.count("aigq_think_versions") <= 4, "its end")
    assert served(worker) == "v1"


def test_too_many_suppressed(case: Case) -> None:
    worker = case.shop.worker("session", "hints", AIGQ_BOT_EVENTS_PER_MINUTE="20")
    user, shop = case.shop.user(0), case.shop
    shop.produce(event_json(text=f"milk {n}", user=user, at_ms=NOON_MS + n) for n in range(40))
    wait_until(lambda: shop.count("aigq_refresh_decisions_total") == 40, "the decisions")
    suppressed = shop.count("aigq_refresh_decisions_total", reason="bot")
    assert suppressed / 40 > 0.05
    tell(case, worker, "aigq_refresh_decisions_total")
    worker.stop()
    shop.worker("session", "hints", AIGQ_BOT_EVENTS_PER_MINUTE="120")
    shop.produce(event_json(text=f"wine {n}", user=user, at_ms=NOON_MS + 600_000 + n) for n in range(40))
    wait_until(lambda: shop.count("aigq_refresh_decisions_total") == 40, "more decisions")
    assert shop.count("aigq_refresh_decisions_total", reason="bot") == 0


def test_feedback_is_not_joined(case: Case) -> None:
    shop, user = case.shop, case.shop.user(0)
    worker = shop.worker("session", "hints", "feedback")
    buy(case, range(1))
    wait_until(lambda: shop.newest(user), "a list")
    newest = shop.newest(user)
    assert newest is not None
    shop.produce([impression(user, "no-such-list", newest.hints[0].query, 1)])
    wait_until(lambda: shop.count("aigq_hint_outcomes_total", joined="false") == 1, "feedback for no list")
    tell(case, worker, "aigq_hint_outcomes_total")
    outcome = orjson.loads(shop.records(shop.topics.outcomes)[0].value)
    print(f"  why_not: {outcome['why_not']}")
    shop.produce([impression(user, newest.list_id, newest.hints[0].query, 2)])
    wait_until(lambda: shop.count("aigq_hint_outcomes_total", joined="true") == 1, "its end")


def impression(user: str, list_id: str, query: str, minute: int) -> dict[str, Any]:
    attributes = {"list_id": list_id, "objects": [{"title": query}]}
    at_ms = NOON_MS + minute * 60_000
    return event_json(action="hint_impression", user=user, event_attributes=attributes, at_ms=at_ms)
