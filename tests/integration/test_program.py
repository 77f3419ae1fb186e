"""The program as a user runs it: real processes, real servers, exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from streams.topics import topic_configs
from tests.shop import Shop, get, wait_until
from tests.support import NOON_MS, event_json

pytestmark = pytest.mark.timeout(240)
DEMO_KEYS = {
    *("events_sent", "events_applied", "duplicates", "dead_letters", "lost", "users", "lists", "decisions"),
    *("freshness_p50_s", "freshness_p99_s", "seconds"),
}


def aigq(*arguments: str, environ: dict[str, str] | None = None, stdin: bytes = b"") -> Any:
    """Run the program to its end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIGQ_")}
    return subprocess.run(
        [sys.executable, "-m", "aigq.main", *arguments],
        env={**clean, **(environ or {})},
        input=stdin,
        capture_output=True,
        timeout=200,
        check=False,
    )


def test_the_demo_ends_by_itself_with_nothing_lost(tmp_path: Path) -> None:
    done = aigq("demo", "--json", "--purchases", "800", "--data-dir", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    summary = orjson.loads(done.stdout.splitlines()[-1])
    assert summary.keys() == DEMO_KEYS
    assert summary["lost"] == 0
    assert summary["events_applied"] >= 800
    assert summary["events_sent"] == sum(summary[k] for k in ("events_applied", "duplicates", "dead_letters"))
    assert summary["lists"] >= summary["users"] >= 20
    assert 0 < summary["freshness_p50_s"] <= summary["freshness_p99_s"]
    assert sum(summary["decisions"].values()) == summary["events_applied"]


def test_the_demo_leaves_a_folder_alone_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    done = aigq("demo", "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert b"not empty" in b" ".join(done.stderr.split())  # the width of a line depends on the folder's name
    assert (tmp_path / "letters.txt").read_text() == "mine"


def test_up_serves_until_ctrl_c_and_its_data_survives(tmp_path: Path) -> None:
    for round_number in range(2):
        up = subprocess.Popen(
            [sys.executable, "-m", "aigq.main", "up", "--json", "--data-dir", str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            assert up.stdout is not None
            ready = orjson.loads(up.stdout.readline())
            environ = {name: ready[name] for name in ("AIGQ_KAFKA_URL", "AIGQ_REDIS_URL")}
            if round_number == 0:
                log = orjson.dumps(event_json(text="milk", at_ms=NOON_MS))
                assert aigq("replay", "-", environ=environ, stdin=log).returncode == 0

            def hints(environ: dict[str, str] = environ) -> Any:
                return orjson.loads(aigq("hints", "get", "u1", "--json", environ=environ).stdout)

            wait_until(lambda: hints()["version"], "the user's list")
            assert hints()["trigger"] == "milk"
            up.send_signal(signal.SIGINT)
            assert up.wait(40) == 130
        finally:
            up.kill()
            up.communicate()


def test_doctor_names_what_is_wrong_and_what_to_do(shop: Shop) -> None:
    done = aigq("doctor", "--json", environ=shop.environ)
    findings = orjson.loads(done.stdout)
    assert (done.returncode, {f["level"] for f in findings}) == (0, {"ok"})
    assert len([f for f in findings if f["part"] == "topic"]) == len(topic_configs(shop.settings)) + 1
    other = {**shop.environ, "AIGQ_PARTITIONS": "7", "AIGQ_BUNDLE_DIR": str(shop.folder)}
    done = aigq("doctor", "--json", environ=other)
    problems = [f for f in orjson.loads(done.stdout) if f["level"] == "problem"]
    assert done.returncode == 1
    assert {f["part"] for f in problems} == {"topic", "bundle"}
    assert all(f["action"] for f in problems)


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "said"),
    [
        (["doctor"], {"AIGQ_KAFKAURL": "x"}, 2, b"AIGQ_KAFKAURL"),
        (["hints", "get", "u"], {"AIGQ_REDIS_URL": "redis://127.0.0.1:1/0"}, 4, b"What to do"),
        (["worker"], {"AIGQ_KAFKA_URL": "kafka://127.0.0.1:1", "AIGQ_WEB_PORT": "0"}, 5, b"does not answer"),
        (["bundle", "verify", "no-such-folder"], {}, 3, b"no-such-folder"),
        (["events", "validate", "no-such-file"], {}, 6, b"no-such-file"),
        (["think", "load", "no-such-folder"], {}, 3, b"no-such-folder"),
        (["replay", "x.jsonl", "--out", "y"], {}, 2, b"--offline"),
        (["nonsense"], {}, 2, b"nonsense"),
    ],
)
def test_errors_are_told_and_have_their_exit_code(
    arguments: list[str], environ: dict[str, str], code: int, said: bytes
) -> None:
    done = aigq(*arguments, environ=environ)
    assert done.returncode == code, done.stderr.decode()[-2000:]
    assert said in done.stdout + done.stderr
    assert b"Traceback" not in done.stderr


def test_two_workers_cannot_have_the_same_health_port(shop: Shop) -> None:
    first = shop.worker("think")
    wait_until(lambda: get(f"{first.health_url}/ready")[0] == 200, "a worker without Kafka roles to be ready")
    port = first.health_url.rsplit(":", 1)[1]
    done = aigq("worker", environ={**shop.environ, "AIGQ_WEB_PORT": port, "AIGQ_DATA_DIR": str(shop.folder)})
    assert done.returncode == 2
    assert b"taken" in done.stderr


def test_a_foreign_shops_log_goes_from_file_to_hints_without_a_code_change(shop: Shop) -> None:
    log = Path("tests/fixtures/logs/foreign-shop.jsonl")
    report = orjson.loads(aigq("events", "validate", str(log), "--json").stdout)
    assert report["bad"] > 0
    shop.worker("session", "hints")
    done = aigq("replay", str(log), "--json", environ=shop.environ)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    wait_until(lambda: shop.count("aigq_events_total") == report["events"], "every record read")
    shop.wait_until_quiet()
    assert shop.count("aigq_events_total", outcome="dead_lettered") == report["bad"]
    offline = aigq(
        "replay", str(log), "--offline", "--out", str(shop.folder / "lists.jsonl"), environ=shop.environ
    )
    assert offline.returncode == 0, offline.stderr.decode()[-2000:]
    lists = [orjson.loads(line) for line in (shop.folder / "lists.jsonl").read_bytes().splitlines()]
    assert lists
    for wanted in lists:
        got = shop.newest(wanted["user"])
        assert got is not None
        assert [hint.query for hint in got.hints] == [hint["query"] for hint in wanted["hints"]]
    again = aigq(
        "replay", str(log), "--offline", "--expect", str(shop.folder / "lists.jsonl"), environ=shop.environ
    )
    assert again.returncode == 0
