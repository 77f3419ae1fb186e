"""`aigq think reason`: files, limits, a kill in the middle, a key that is never seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aigq.main import app
from streams.errors import AigqError, SettingsError, TrainingError
from tests.chat_server import Asked, ChatServer, Reply, history, points, well_behaved
from tests.evaluation_data import small_dataset
from tests.shop import wait_until
from training.think.language_model.cache import ANSWERS
from training.think.mining.histories import histories as histories_of
from training.think.points import Proposal, Reasoned, read_lines, write_lines

CANARY = "sk-canary-93ba"
COUNT = 12


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    found = [history(f"h{number}", "taco shells", f"bread {number}::bakery") for number in range(COUNT)]
    write_lines(folder / "histories.jsonl", found)
    return folder


def options(server: ChatServer, work: Path, *more: str) -> list[str]:
    return ["think", "reason", str(work), "--url", server.url, "--model", "Toy/1", *more]


def told(*words: str) -> dict[str, Any]:
    """What the command says with --json. Raises the error that it ends with."""
    done = CliRunner().invoke(app, [*words, "--json"])
    if isinstance(done.exception, AigqError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run(server: ChatServer, work: Path, *more: str) -> dict[str, Any]:
    return told(*options(server, work, *more))


def test_answers_become_a_file_in_the_order_of_the_histories_and_are_asked_once(
    server: ChatServer, work: Path
) -> None:
    first = run(server, work)
    assert (first["maker"], first["asked"], first["points"]) == ("llm-toy-1", COUNT, 2 * COUNT)
    path = work / "reasoned-llm-toy-1.jsonl"
    content = path.read_bytes()
    assert [one.history for one in read_lines(path, Reasoned)] == [f"h{number}" for number in range(COUNT)]
    second = run(server, work, "--concurrency", "7", "--stream")
    assert (second["asked"], second["cached"], second["requests"]) == (0, COUNT, 0)
    assert path.read_bytes() == content
    assert len(server.requests) == COUNT


def test_progress_names_counts_tokens_and_money(server: ChatServer, work: Path) -> None:
    done = CliRunner().invoke(app, options(server, work, "--price-in", "1000", "--price-out", "2000"))
    assert "12/12 12 asked, 0 known, 0 failed, 24 points, 12 requests, 1440 tokens, 1.68 spent" in done.stderr
    assert "money" in done.stdout
    assert "1.68" in done.stdout


def test_a_limit_leaves_the_rest_with_its_reason_and_the_next_run_takes_it(
    server: ChatServer, work: Path
) -> None:
    prices = ("--price-in", "2", "--price-out", "6")
    first = run(server, work, "--max-requests", "5", *prices)
    assert (first["asked"], first["left"], first["stopped"]) == (5, 7, "the limit of requests is reached")
    assert first["money"] == pytest.approx(5 * (100 * 2 + 20 * 6) / 1e6)
    left = list(read_lines(work / "unanswered-llm-toy-1.jsonl", Reasoned))
    assert {one.problem for one in left} == {"Not asked: the limit of requests is reached."}
    assert len(left) == 7
    second = run(server, work)
    assert (second["asked"], second["cached"], second["answers"]) == (7, 5, COUNT)
    assert not (work / "unanswered-llm-toy-1.jsonl").exists()


def test_a_dry_run_shows_a_question_and_what_all_would_take_and_asks_nobody(
    server: ChatServer, work: Path
) -> None:
    run(server, work, "--limit", "2")
    shown = run(server, work, "--dry-run", "--price-in", "1", "--price-out", "2")
    assert len(server.requests) == 2
    assert (shown["histories"], shown["requests"], shown["answer_tokens_at_most"]) == (COUNT, 10, 10 * 1024)
    assert shown["question"][1]["content"].count("\n") == 4
    assert shown["money_at_most"] == pytest.approx(
        (shown["prompt_tokens_estimated"] + 2 * shown["answer_tokens_at_most"]) / 1e6
    )
    plain = CliRunner().invoke(app, options(server, work, "--dry-run"))
    assert "never instructions" in plain.output
    assert "=== data" in plain.output


def test_an_endpoint_that_is_away_ends_with_an_error_and_the_files_stand(
    server: ChatServer, work: Path
) -> None:
    write_lines(work / "histories.jsonl", [history(f"h{n}", f"milk {n}") for n in range(40)])
    server.behaviour = lambda asked: (
        well_behaved(asked) if asked.number < 3 else Reply(status=500, headers={"retry-after-ms": "1"})
    )
    with pytest.raises(TrainingError, match="seems to be away"):
        run(server, work, "--attempts", "1", "--concurrency", "1")
    assert len(list(read_lines(work / "reasoned-llm-toy-1.jsonl", Reasoned))) == 3
    assert len(list(read_lines(work / "unanswered-llm-toy-1.jsonl", Reasoned))) == 37


def test_proposals_have_evidence_of_the_training_span_and_a_review_takes_them_in(
    server: ChatServer, tmp_path: Path
) -> None:
    data = small_dataset(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    write_lines(work / "histories.jsonl", histories_of(data, "train", 20, 0))
    server.behaviour = lambda asked: Reply(
        points(([line["line"] for line in asked.lines], ["soap", "tea", "gold watch"]))
    )
    found = run(server, work, "--data", str(tmp_path / "data"))
    proposals = list(read_lines(work / "proposals-llm-toy-1.jsonl", Proposal))
    assert found["proposals"] == len(proposals) > 0
    assert all(one.makers == ("llm-toy-1",) for one in proposals)
    assert all(one.evidence and one.evidence.until_ms == data.split.train.end_ms for one in proposals)
    assert any(one.evidence and one.evidence.baskets for one in proposals)
    reviewed = told("think", "review", str(work), "--data", str(tmp_path / "data"), "--auto")
    assert reviewed["decisions"] == len(proposals)
    decisions = [json.loads(line) for line in (work / "decisions.jsonl").read_text().splitlines()]
    verdicts = {one["verdict"] for one in decisions if one["proposal"]["query"] == "gold watch"}
    assert verdicts == {"reject"}


def test_killed_in_the_middle_it_asks_only_for_what_is_missing(server: ChatServer, work: Path) -> None:
    server.behaviour = lambda asked: well_behaved(asked) if asked.number < 5 else Reply(hang=True)
    answers = work / ANSWERS
    process = subprocess.Popen(
        [sys.executable, "-m", "aigq.main", *options(server, work, "--concurrency", "2")]
    )
    try:
        wait_until(lambda: answers.exists() and answers.read_bytes().count(b"\n") == 5, "five answers")
    finally:
        process.kill()
        process.wait()
    with answers.open("ab") as file:
        file.write(b'{"key":"torn')
    asked_before = len(server.requests)
    server.behaviour = well_behaved
    found = run(server, work)
    assert (found["cached"], found["asked"], found["answers"]) == (5, COUNT - 5, COUNT)
    assert len(server.requests) == asked_before + COUNT - 5
    assert answers.read_bytes().count(b"\n") == COUNT


def test_the_key_is_in_no_output_and_no_file_whatever_the_server_does_with_it(
    server: ChatServer, work: Path
) -> None:
    def tells(asked: Asked) -> Reply:
        key = asked.headers["authorization"].removeprefix("Bearer ")
        if asked.number < 4:
            return Reply(points(([1], [f"{key} salsa", "salsa"])))
        if asked.number < 8:
            return Reply(status=418, error={"message": f"I know {key}"})
        return Reply(status=401, error={"message": f"{key} is wrong"})

    server.behaviour = tells
    done = subprocess.run(
        [sys.executable, "-m", "aigq.main", *options(server, work, "--key-env", "TOY_KEY")],
        env={**os.environ, "TOY_KEY": CANARY, "OPENAI_LOG": "debug"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == TrainingError.exit_code, done.stderr
    assert "refuses the key" in done.stderr
    assert any(CANARY in asked.headers["authorization"] for asked in server.requests)
    files = b"".join(path.read_bytes() for path in work.parent.rglob("*") if path.is_file())
    assert b"***" in files
    assert CANARY not in done.stdout + done.stderr
    assert CANARY.encode() not in files


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--url", "http://h/v1"], "--model is missing"),
        (["--model", "m"], "--url is missing"),
        (["--url", "http://me:pass@h/v1", "--model", "m"], "login"),
        (["--url", "http://h/v1", "--model", "m", "--max-money", "1"], "prices"),
        (["--url", "http://h/v1", "--model", "m", "--key-env", "NOT_SET"], "no key"),
        (["--url", "http://h/v1", "--model", "m", "--extra", "[1]"], "--extra"),
        (["--model", "m", "--enqueue", "--collect"], "ways of their own"),
        (["--run", "runs/think"], "--data"),
        (["--run", "runs/think", "--url", "http://h/v1"], "without a language model"),
    ],
)
def test_what_does_not_go_together_is_told_before_anybody_is_asked(
    work: Path, more: list[str], what: str
) -> None:
    with pytest.raises(SettingsError, match=what):
        told("think", "reason", str(work), *more)


def test_a_missing_client_is_told_with_the_name_of_the_extra(
    server: ChatServer, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(TrainingError, match=r"not installed: openai. pip install .aigq\[cpu,data,think\]"):
        run(server, work)
