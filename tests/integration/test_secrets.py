"""A marked secret in every place that takes one, and in no output: commands, logs, endpoints, tracebacks."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from aigq.services import WorkerProcess
from streams.errors import EmbeddedServerError, SettingsError
from streams.redaction import hide, hide_login, without_secrets
from streams.settings import load_settings
from tests.shop import get, wait_until

MARK = 'M4rk/ed "s3cret"+ü'
NEAR = "M4rk"  # no part of it either
CLOSED = "127.0.0.1:1"
SECRETS = {
    "AIGQ_KAFKA_SECURITY": "SASL_PLAINTEXT",
    "AIGQ_KAFKA_USERNAME": "aigq",
    "AIGQ_KAFKA_PASSWORD": MARK,
    "AIGQ_REDIS_URL": f"redis://aigq:{quote(MARK, safe='')}@{CLOSED}/0",
    "AIGQ_REDIS_PASSWORD": MARK,
    "AIGQ_REDIS_SENTINEL_PASSWORD": MARK,
    "AIGQ_WEB_TOKEN": MARK,
    "AIGQ_KAFKA_URL": f"kafka://{CLOSED}",
}
COMMANDS = {
    "settings": ["doctor", "--settings"],
    "settings as JSON": ["doctor", "--settings", "--json"],
    "hints": ["hints", "get", "u1"],
    "mapping": ["think", "show"],
}
WRONG = {
    "a value that is none": {"AIGQ_PARTITIONS": MARK},
    "a user in the URL of Kafka": {"AIGQ_KAFKA_URL": f"kafka://aigq:{MARK}@{CLOSED}"},
    "no URL of Redis": {"AIGQ_REDIS_URL": f"http://aigq:{MARK}@{CLOSED}"},
    "a port that is none": {"AIGQ_REDIS_URL": f"redis://aigq:{quote(MARK, safe='')}@127.0.0.1:port/0"},
    "Sentinels without a name": {"AIGQ_REDIS_URL": f"redis+sentinel://aigq:{MARK}@{CLOSED}"},
    "no mechanism": {"AIGQ_KAFKA_SASL_MECHANISM": MARK},
    "a file that is not there": {"AIGQ_KAFKA_PASSWORD_FILE": "/nowhere", "AIGQ_KAFKA_PASSWORD": MARK},
}


def run(arguments: list[str], **changed: str) -> str:
    """All that a command says, with the marked secrets in its environment."""
    environ = {"PATH": str(Path(sys.executable).parent), "COLUMNS": "300", **SECRETS, **changed}
    command = [sys.executable, "-m", "aigq.main", *arguments]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_says_a_secret(name: str) -> None:
    said = run(COMMANDS[name])
    assert said
    assert NEAR not in said


@pytest.mark.parametrize("name", WRONG)
def test_no_error_of_the_settings_says_a_secret(name: str) -> None:
    said = run(["hints", "get", "u1"], **WRONG[name])
    assert "What to do" in said
    assert NEAR not in said


def test_a_server_that_refuses_the_login_is_told_without_it(redis_url: str, kafka_url: str) -> None:
    place = redis_url.partition("://")[2]
    open_kafka = {"AIGQ_KAFKA_URL": kafka_url, "AIGQ_KAFKA_SECURITY": "PLAINTEXT"}
    said = run(["doctor"], AIGQ_REDIS_URL=f"redis://aigq:{quote(MARK, safe='')}@{place}", **open_kafka)
    assert "AIGQ_REDIS_PASSWORD" in said
    assert NEAR not in said


FORCED = """
import logging, os, sys, threading, asyncio
from aigq.console import explained
from streams.logs import configure_logs
from streams.settings import load_settings
settings = load_settings()
password = settings.kafka_password.get_secret_value()

def raise_it():
    try:
        raise ValueError(f"at {settings.redis_url}")
    except ValueError as error:
        raise RuntimeError(f"with {password!r}", password, settings) from error

def logged():
    configure_logs()
    logging.getLogger("kafka").warning("login %s %r", password, {"url": settings.redis_url})
    import structlog
    log = structlog.get_logger("x")
    log.warning("told", password=password, nested={"list": [password]}, error=repr(settings))
    try:
        raise_it()
    except RuntimeError:
        log.exception("failed")
        logging.getLogger("aiokafka").exception("failed")

def threaded():
    thread = threading.Thread(target=raise_it)
    thread.start(), thread.join()

async def task():
    asyncio.get_running_loop().call_soon(raise_it)
    asyncio.create_task(asyncio.to_thread(raise_it))
    await asyncio.sleep(0.2)

for what in (raise_it, logged, threaded, lambda: asyncio.run(task()), lambda: print(repr(settings))):
    explained(what)
raise_it()
"""


def test_a_forced_traceback_says_no_secret() -> None:
    environ = {"PATH": "", **SECRETS}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORCED)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert said.count("RuntimeError") >= 6, said
    assert NEAR not in said


def test_a_worker_says_no_secret_anywhere(kafka_url: str, tmp_path: Path) -> None:
    """Redis is away: logs, endpoints and metrics are full of it, and say nothing of the login."""
    environ = {
        **SECRETS,
        "AIGQ_KAFKA_URL": kafka_url,
        "AIGQ_KAFKA_SECURITY": "PLAINTEXT",
        "AIGQ_TOPIC_PREFIX": f"{tmp_path.name}.",
        "AIGQ_LOG_LEVEL": "debug",
        "AIGQ_WEB_TOKEN": "",
    }
    with WorkerProcess(tmp_path / "worker", environ, roles=("think", "hints")) as worker:

        def body_of(path: str) -> str:
            return get(f"{worker.health_url}{path}")[1].decode()

        wait_until(lambda: "Redis" in body_of("/ready") or "mapping" in body_of("/ready"), "Redis to be away")
        wait_until(lambda: "mapping_not_loaded" in worker.log_path.read_text(), "a load that failed")
        said = [worker.log_path.read_text(), *(body_of(path) for path in ("/live", "/ready", "/metrics"))]
    assert all(said)
    assert not [text for text in said if NEAR in text]


@pytest.mark.parametrize(
    "changed",
    [
        {"AIGQ_BUNDLE_DIR": "/nowhere"},
        {"AIGQ_KAFKA_URL": f"kafka://aigq:{MARK}@{CLOSED}"},
        {"AIGQ_KAFKA_SECURITY": "SASL_PLAINTEXT"},
    ],
)
def test_a_worker_that_does_not_start_says_no_secret(
    kafka_url: str, tmp_path: Path, changed: dict[str, str]
) -> None:
    environ = {**SECRETS, "AIGQ_KAFKA_URL": kafka_url, "AIGQ_KAFKA_SECURITY": "PLAINTEXT"}
    worker = WorkerProcess(tmp_path / "worker", {**environ, **changed}, roles=("session",))
    with pytest.raises(EmbeddedServerError) as caught:
        worker.start()
    assert NEAR not in str(caught.value)
    assert NEAR not in worker.log_path.read_text()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://me:pw12@h:1/0", "redis://***@h:1/0"),
        ("at rediss://:p@ss@h and kafka://a:1", "at rediss://***@h and kafka://a:1"),
        ("redis+sentinel://u:pw@h:1,i:2/s/0", "redis+sentinel://***@h:1,i:2/s/0"),
        ("mail someone@shop.example", "mail someone@shop.example"),
        ("no secret", "no secret"),
    ],
)
def test_a_login_in_a_url_is_hidden_without_being_known(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_what_is_hidden_is_hidden_in_every_form() -> None:
    secret = 'q"u\\o te+/d-Ж'  # noqa: S105 - of the test
    hide(secret)
    forms: list[Callable[[str], Any]] = [str, repr, quote, lambda text: quote(text, safe="")]
    for form in forms:
        assert "o te" not in without_secrets(f"a {form(secret)} b").replace("o%20te", "o te")


def test_a_password_of_a_few_characters_is_not_hidden_everywhere() -> None:
    hide_login("redis://a:b@h")
    assert without_secrets("a bad habit") == "a bad habit"


def test_settings_show_no_secret() -> None:
    settings = load_settings(SECRETS)
    for text in (repr(settings), str(settings), f"{settings}"):
        assert NEAR not in text
    with pytest.raises(SettingsError) as caught:
        load_settings(SECRETS | {"AIGQ_KAFKA_URL": f"kafka://x:{MARK}@h:1"})
    assert NEAR not in repr(caught.value.__cause__)
