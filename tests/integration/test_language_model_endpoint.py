"""A language model by URL, against a real HTTP server on 127.0.0.1 that speaks the protocol, badly too."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from streams.errors import TrainingError
from tests.chat_server import Asked, ChatServer, Reply, history, points, well_behaved
from training.think.language_model.cache import AnswerCache
from training.think.language_model.endpoint import Endpoint
from training.think.language_model.reasoner import FAILURES_IN_A_ROW, LanguageModelReasoner, Outcome
from training.think.language_model.spending import NO_LIMITS, Limits
from training.think.points import History, Reasoner

CANARY = "sk-canary-5f1d"
HISTORIES = [history(f"h{number}", "taco shells", f"bread {number}::bakery") for number in range(12)]
GOOD = {"salsa", "sour cream", "butter", "jam"}
SOON = {"retry-after-ms": "1"}


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


def reasoner(
    server: ChatServer, folder: Path, limits: Limits = NO_LIMITS, concurrency: int = 2, **options: Any
) -> LanguageModelReasoner:
    values: dict[str, Any] = {"timeout_s": 10.0, "key": SecretStr(CANARY), **options}
    endpoint = Endpoint(server.url, "toy", **values)
    return LanguageModelReasoner(endpoint, AnswerCache(folder / "answers.jsonl"), limits, concurrency)


def ask(
    server: ChatServer, folder: Path, histories: list[History] = HISTORIES[:1], **options: Any
) -> tuple[list[Outcome], LanguageModelReasoner]:
    """One run over the histories, with its connections closed."""
    asking = reasoner(server, folder, **options)
    try:
        return list(asking.outcomes(histories)), asking
    finally:
        asking.close()


def good(outcomes: list[Outcome]) -> bool:
    found = [{query for point in one.reasoned.points for query in point.queries} for one in outcomes]
    return all(queries == GOOD for queries in found)


def in_turn(*replies: Reply) -> Any:
    """The replies, then a well-behaved server."""
    return lambda asked: replies[asked.number] if asked.number < len(replies) else well_behaved(asked)


@pytest.mark.parametrize("stream", [False, True])
def test_every_history_gets_its_answer_plain_or_streamed(
    server: ChatServer, tmp_path: Path, stream: bool
) -> None:
    outcomes, asked = ask(server, tmp_path, HISTORIES, stream=stream)
    assert sorted(one.reasoned.history for one in outcomes) == sorted(one.name for one in HISTORIES)
    assert good(outcomes)
    assert asked.tally.sources == {"asked": 12}
    assert (asked.spending.requests, asked.spending.prompt_tokens, asked.spending.answer_tokens) == (
        12,
        1200,
        240,
    )
    assert all(bool(one.body.get("stream")) is stream for one in server.requests)


def test_a_request_holds_the_model_the_schema_and_the_key_in_its_header(
    server: ChatServer, tmp_path: Path
) -> None:
    ask(server, tmp_path, extra={"chat_template_kwargs": {"enable_thinking": False}})
    (one,) = server.requests
    assert one.headers["authorization"] == f"Bearer {CANARY}"
    assert (one.body["model"], one.body["temperature"], one.body["max_tokens"]) == ("toy", 0.0, 1024)
    assert one.body["chat_template_kwargs"] == {"enable_thinking": False}
    assert one.body["response_format"]["type"] == "json_schema"
    assert one.body["response_format"]["json_schema"]["strict"] is True


def test_it_is_a_reasoner_and_answers_once_for_each_history(server: ChatServer, tmp_path: Path) -> None:
    asking = reasoner(server, tmp_path)
    anyone: Reasoner = asking
    assert anyone.name == "llm-toy"
    assert {one.history for one in anyone.points(HISTORIES)} == {one.name for one in HISTORIES}
    asking.close()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "bad",
    [
        Reply(status=500, headers=SOON),
        Reply(status=503, headers=SOON),
        Reply(status=429, headers=SOON),
        Reply(status=408, headers=SOON),
        Reply(raw=b"<html>gateway</html>", headers={"Content-Type": "text/html"}),
        Reply(raw=b'{"choices": ['),
        Reply(raw=b'{"choices": []}'),
        Reply(raw=b"null"),
    ],
)
def test_what_may_pass_is_tried_again(server: ChatServer, tmp_path: Path, bad: Reply, stream: bool) -> None:
    server.behaviour = in_turn(bad)
    outcomes, asked = ask(server, tmp_path, stream=stream)
    assert good(outcomes)
    assert asked.spending.requests == len(server.requests) == 2


def test_a_stream_that_breaks_off_is_asked_again(server: ChatServer, tmp_path: Path) -> None:
    server.behaviour = in_turn(Reply(points(([1], ["half an answer"])), cut=3))
    outcomes, _ = ask(server, tmp_path, stream=True)
    assert good(outcomes)
    assert len(server.requests) == 2


def test_a_server_that_hangs_is_left_at_the_time_out_and_asked_again(
    server: ChatServer, tmp_path: Path
) -> None:
    server.behaviour = in_turn(Reply(hang=True))
    outcomes, _ = ask(server, tmp_path, timeout_s=0.3)
    assert good(outcomes)
    assert len(server.requests) == 2


def test_retry_after_is_waited_for(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    server.behaviour = in_turn(Reply(status=429, headers={"retry-after": "17"}))
    asking = reasoner(server, tmp_path)
    monkeypatch.setattr(asking._chat._retrying, "sleep", waits.append)  # nobody can wait so long here
    assert good(list(asking.outcomes(HISTORIES[:1])))
    asking.close()
    assert waits == [17.0]


def test_a_question_that_never_gets_an_answer_is_told_and_asked_by_the_next_run(
    server: ChatServer, tmp_path: Path
) -> None:
    def refuses_one(asked: Asked) -> Reply:
        bad = asked.lines[1]["text"] == "bread 3"
        return Reply(status=500, headers=SOON) if bad else well_behaved(asked)

    server.behaviour = refuses_one
    outcomes, first = ask(server, tmp_path, HISTORIES, attempts=3)
    (failed,) = [one for one in outcomes if one.source == "failed"]
    assert (failed.reasoned.history, failed.reasoned.problem) == ("h3", "No answer: HTTP 500.")
    assert first.tally.sources == {"asked": 11, "failed": 1}
    assert first.spending.requests == 11 + 3
    server.behaviour = well_behaved
    outcomes, second = ask(server, tmp_path, HISTORIES)
    assert good(outcomes)
    assert second.tally.sources == {"cached": 11, "asked": 1}


def test_a_second_run_asks_nothing(server: ChatServer, tmp_path: Path) -> None:
    first, _ = ask(server, tmp_path, HISTORIES)
    count = len(server.requests)
    second, again = ask(server, tmp_path, HISTORIES)
    assert len(server.requests) == count == 12
    assert {one.reasoned for one in first} == {one.reasoned for one in second}
    assert again.tally.sources == {"cached": 12}


@pytest.mark.parametrize("known", ["json_object", "text"])
def test_a_server_without_json_schemas_is_asked_in_a_plainer_way_from_then_on(
    server: ChatServer, tmp_path: Path, known: str
) -> None:
    def knows(asked: Asked) -> Reply:
        fits = asked.body["response_format"]["type"] == known
        return well_behaved(asked) if fits else Reply(status=400, error={"message": "response_format?"})

    server.behaviour = knows
    outcomes, asked = ask(server, tmp_path, HISTORIES, concurrency=1)
    assert good(outcomes)
    assert asked.spending.requests == 12 + (1 if known == "json_object" else 2)


def test_a_question_that_is_refused_in_every_way_spoils_no_other(server: ChatServer, tmp_path: Path) -> None:
    def refuses_one(asked: Asked) -> Reply:
        bad = asked.lines[1]["text"] == "bread 0"
        return Reply(status=400, error={"message": "context too long"}) if bad else well_behaved(asked)

    server.behaviour = refuses_one
    outcomes, _ = ask(server, tmp_path, HISTORIES, concurrency=1)
    problems = [one.reasoned.problem for one in outcomes if one.source == "failed"]
    assert problems == ["No answer: HTTP 400: context too long."]
    formats = [one.body["response_format"]["type"] for one in server.requests]
    assert formats == ["json_schema", "json_object", "text"] + ["json_schema"] * 11


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(status=401), "refuses the key"),
        (Reply(status=403), "refuses the key"),
        (Reply(status=404), "neither path nor model"),
        (Reply(status=307, headers={"Location": "http://127.0.0.1:9/v1"}), "sends us elsewhere"),
        (Reply(status=429, error={"message": "pay", "code": "insufficient_quota"}), "used up"),
    ],
)
def test_what_no_further_try_can_mend_ends_the_run_at_once(
    server: ChatServer, tmp_path: Path, reply: Reply, told: str
) -> None:
    server.behaviour = lambda _: reply
    with pytest.raises(TrainingError, match=told):
        ask(server, tmp_path, HISTORIES)
    assert len(server.requests) <= 2  # of the two threads


def test_an_endpoint_that_is_away_is_given_up_and_the_rest_is_left(
    server: ChatServer, tmp_path: Path
) -> None:
    server.behaviour = lambda _: Reply(status=502, headers=SOON)
    many = [history(f"h{number}", f"milk {number}") for number in range(3 * FAILURES_IN_A_ROW)]
    outcomes, asked = ask(server, tmp_path, many, attempts=1, concurrency=1)
    assert asked.tally.gave_up
    assert asked.tally.sources == {"failed": FAILURES_IN_A_ROW, "left": 2 * FAILURES_IN_A_ROW}
    assert len(outcomes) == len(many)
    assert len(server.requests) == FAILURES_IN_A_ROW


@pytest.mark.parametrize(
    "limits",
    [
        Limits(requests=5),
        # A question of these is estimated at about 600 tokens, and 120 are counted in the end.
        Limits(tokens=5 * 120 + 1024 + 500),
        Limits(money=(5 * 120 + 1024 + 500) / 1e6, price_in=1.0, price_out=1.0),
    ],
)
def test_a_limit_stops_cleanly_says_what_is_left_and_the_next_run_goes_on(
    server: ChatServer, tmp_path: Path, limits: Limits
) -> None:
    outcomes, first = ask(server, tmp_path, HISTORIES, limits=limits, concurrency=3)
    answered = first.tally.sources["asked"]
    assert 0 < answered < 12
    assert first.tally.sources["left"] == 12 - answered
    assert "limit of" in first.tally.stopped
    spent = first.spending.prompt_tokens + first.spending.answer_tokens
    assert limits.requests is None or len(server.requests) <= limits.requests
    assert limits.tokens is None or spent <= limits.tokens
    assert limits.money is None or first.spending.money <= limits.money
    outcomes, second = ask(server, tmp_path, HISTORIES)
    assert good(outcomes)
    assert second.tally.sources == {"cached": answered, "asked": 12 - answered}


def test_tokens_are_estimated_for_a_server_that_counts_none(server: ChatServer, tmp_path: Path) -> None:
    server.behaviour = lambda asked: Reply(well_behaved(asked).content, usage=None)
    _, asked = ask(server, tmp_path)
    content = well_behaved(server.requests[0]).content
    assert asked.spending.answer_tokens == len(content) // 4
    assert asked.spending.prompt_tokens > 100


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply("It seems to like food."), "no JSON object"),
        (Reply('{"interests": ["food"]}'), 'no list "points"'),
        (Reply('{"points": [{"triggers": [1], "quer', finish="length"), "Nothing of the answer is left"),
        (Reply("", finish="length"), "cut off"),
        (Reply("", finish="content_filter"), "no JSON object"),
        (Reply('{"points": []}'), "no interest"),
    ],
)
def test_an_answer_that_is_of_no_use_is_kept_with_its_problem_and_not_asked_again(
    server: ChatServer, tmp_path: Path, reply: Reply, problem: str
) -> None:
    server.behaviour = lambda _: reply
    for source in ("asked", "cached"):
        (outcome,), _ = ask(server, tmp_path)
        assert outcome.source == source
        assert problem in outcome.reasoned.problem
    assert len(server.requests) == 1


def test_no_more_questions_are_open_at_once_than_allowed(server: ChatServer, tmp_path: Path) -> None:
    open_now: list[int] = []
    most: list[int] = []

    def counts(asked: Asked) -> Reply:
        open_now.append(asked.number)
        most.append(len(open_now))
        server.released.wait(0.05)
        open_now.remove(asked.number)
        return well_behaved(asked)

    server.behaviour = counts
    ask(server, tmp_path, HISTORIES, concurrency=3)
    assert max(most) == 3


def test_a_server_that_sends_the_key_back_finds_it_nowhere(
    server: ChatServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.behaviour = in_turn(
        Reply(points(([1], [f"{CANARY} salsa"]))),
        Reply(status=418, error={"message": f"no {CANARY}"}),
        Reply(status=401, error={"message": f"wrong key {CANARY}"}),
    )
    outcomes, _ = ask(server, tmp_path, HISTORIES[:2], concurrency=1)
    with pytest.raises(TrainingError) as refused:
        ask(server, tmp_path, HISTORIES[2:3])
    trace = "".join(traceback.TracebackException.from_exception(refused.value, capture_locals=True).format())
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"***" in files
    assert CANARY.encode() not in files
    for told in (repr(outcomes), str(refused.value), trace, caplog.text):
        assert told
        assert CANARY not in told


def test_nothing_of_another_services_login_is_sent(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setitem(os.environ, name, CANARY)
    ask(server, tmp_path, key=SecretStr(""))
    (one,) = server.requests
    assert CANARY not in repr(one.headers)
