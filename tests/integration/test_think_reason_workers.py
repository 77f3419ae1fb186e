"""Many workers over a topic: one is killed in the middle, nothing is lost, nothing is there twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from kafka import KafkaProducer
from typer.testing import CliRunner

from aigq.main import app
from streams.kafka_auth import client_options
from streams.settings import Settings, load_settings
from tests.chat_server import Asked, ChatServer, Reply, history, well_behaved
from tests.shop import wait_until
from training.think.language_model.cache import ANSWERS, AnswerCache
from training.think.language_model.endpoint import Endpoint
from training.think.language_model.reasoner import LanguageModelReasoner
from training.think.language_model.spending import NO_LIMITS, Limits
from training.think.language_model.work_topics import (
    Answered,
    answers_topic,
    collect,
    enqueue,
    ensure_work_topics,
    histories_topic,
)
from training.think.language_model.worker import Worker
from training.think.points import Reasoned, read_lines, write_lines

COUNT = 60
MODEL = "toy"
IDLE_S = 2.5
REASONED = "reasoned-llm-toy.jsonl"
HISTORIES = [history(f"h{number}", "taco shells", f"bread {number}::bakery") for number in range(COUNT)]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def environ(kafka_url: str) -> dict[str, str]:
    """Topics of its own; a worker that is silent for six seconds is replaced."""
    names = {"KAFKA_URL": kafka_url, "TOPIC_PREFIX": f"t{uuid.uuid4().hex[:10]}.", "SESSION_TIMEOUT_S": "6"}
    return {f"AIGQ_{name}": value for name, value in names.items()}


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return load_settings(environ)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    write_lines(folder / "histories.jsonl", HISTORIES)
    return folder


def run(work: Path, environ: dict[str, str], *more: str) -> dict[str, Any]:
    words = ["think", "reason", str(work), "--model", MODEL, *more, "--json"]
    done = CliRunner().invoke(app, words, env=environ)
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout.splitlines()[-1]))


def start(folder: Path, environ: dict[str, str], server: ChatServer) -> subprocess.Popen[bytes]:
    """A worker as a process of its own."""
    words = ["think", "reason", str(folder), "--model", MODEL, "--url", server.url, "--worker"]
    return subprocess.Popen([sys.executable, "-m", "aigq.main", *words], env={**os.environ, **environ})


def work_off(folder: Path, settings: Settings, server: ChatServer, limits: Limits = NO_LIMITS) -> Worker:
    """A worker in this process, until nothing comes any more."""
    folder.mkdir(exist_ok=True)
    endpoint = Endpoint(server.url, MODEL)
    reasoner = LanguageModelReasoner(endpoint, AnswerCache(folder / ANSWERS), limits, concurrency=2)
    worker = Worker(reasoner, settings, Event(), lambda _: None)
    try:
        worker.run(idle_s=IDLE_S)
    finally:
        reasoner.close()
    return worker


def produce(settings: Settings, topic: str, *values: bytes | None) -> None:
    producer: Any = KafkaProducer(**client_options(settings), acks="all")
    try:
        for value in values:
            producer.send(topic, key=b"k", value=value)
        producer.flush()
    finally:
        producer.close()


def answered(settings: Settings) -> set[str]:
    return {one.history for one in collect(HISTORIES, f"llm-{MODEL}", settings).answers}


def test_a_worker_is_killed_in_the_middle_and_nothing_is_lost_and_nothing_twice(
    server: ChatServer, environ: dict[str, str], settings: Settings, work: Path, tmp_path: Path
) -> None:
    def slow(asked: Asked) -> Reply:
        server.released.wait(0.03)
        return well_behaved(asked)

    server.behaviour = slow
    assert run(work, environ, "--enqueue")["enqueued"] == COUNT
    first = start(tmp_path / "one", environ, server)
    try:
        wait_until((tmp_path / "one" / ANSWERS).exists, "the first worker's first answer")
    finally:
        first.kill()
        first.wait()
    assert len(server.requests) < COUNT
    while len(answered(settings)) < COUNT:  # the dead worker's partitions come after its session's end
        work_off(tmp_path / "two", settings, server)
    found = run(work, environ, "--collect")
    assert (found["answers"], found["left"], found["failed"], found["unreadable"]) == (COUNT, 0, 0, 0)
    reasoned = [one.history for one in read_lines(work / REASONED, Reasoned)]
    assert reasoned == [one.name for one in HISTORIES]
    assert run(work, environ, "--enqueue")["enqueued"] == 0


def test_a_worker_ends_when_it_is_idle_and_answers_what_failed_when_it_is_enqueued_again(
    server: ChatServer, environ: dict[str, str], settings: Settings, work: Path, tmp_path: Path
) -> None:
    def refuses(asked: Asked) -> Reply:
        bad = asked.lines[1]["text"] in ("bread 3", "bread 7")
        return Reply(status=418) if bad else well_behaved(asked)

    server.behaviour = refuses
    ensure_work_topics(settings)
    produce(settings, histories_topic(settings), b"no history", None)
    produce(settings, answers_topic(settings), b"no answer")
    run(work, environ, "--enqueue")
    worker = work_off(tmp_path / "one", settings, server)
    assert (worker.done, worker.unreadable) == (COUNT + 2, 2)
    found = run(work, environ, "--collect")
    assert (found["answers"], found["failed"], found["left"], found["unreadable"]) == (COUNT - 2, 2, 0, 1)
    server.behaviour = well_behaved
    assert run(work, environ, "--enqueue")["enqueued"] == 2
    assert work_off(tmp_path / "two", settings, server).done == 2
    found = run(work, environ, "--collect")
    assert (found["answers"], found["failed"], found["left"]) == (COUNT, 0, 0)


def test_of_several_answers_one_is_taken_and_those_of_others_none(settings: Settings) -> None:
    ensure_work_topics(settings)
    good = Reasoned(history="h1", points=({"triggers": (1,), "queries": ("salsa",)},))
    records = [
        Answered(maker="llm-toy", failed=False, answer=Reasoned(history="h1", problem="Cut off.")),
        Answered(maker="llm-toy", failed=False, answer=good),
        Answered(maker="llm-toy", failed=False, answer=good),
        Answered(maker="llm-toy", failed=True, answer=Reasoned(history="h2", problem="HTTP 500.")),
        Answered(maker="llm-other", failed=False, answer=Reasoned(history="h3")),
        Answered(maker="llm-toy", failed=False, answer=Reasoned(history="of another folder")),
    ]
    produce(settings, answers_topic(settings), *(one.as_bytes() for one in records))
    found = collect(HISTORIES, "llm-toy", settings)
    assert Counter(one.history for one in found.answers) == {"h1": 3}
    assert found.failed == 1


def test_histories_stay_on_the_topic_when_a_limit_is_reached(
    server: ChatServer, settings: Settings, tmp_path: Path
) -> None:
    assert enqueue(HISTORIES[:20], settings) == 20
    limited = work_off(tmp_path / "one", settings, server, Limits(requests=3))
    assert len(server.requests) == 3
    assert limited.reasoner.tally.stopped == "the limit of requests is reached"
    assert work_off(tmp_path / "one", settings, server).done == 20
    assert len(server.requests) == 20  # the three are known to the folder
    assert answered(settings) == {one.name for one in HISTORIES[:20]}
