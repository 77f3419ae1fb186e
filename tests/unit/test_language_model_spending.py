"""Limits that are never passed, answers that are kept, and settings that keep a secret."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from streams.errors import SettingsError, TrainingError
from training.think.language_model.cache import AnswerCache, Completion
from training.think.language_model.endpoint import Endpoint, checked_url, read_extra, read_key, without_key
from training.think.language_model.retry import TryAgainError, retry_after_s, wait_s
from training.think.language_model.spending import LimitReachedError, Limits, Spending

ANSWER = Completion(text='{"points": []}', finish="stop", prompt_tokens=10, answer_tokens=3)


def test_money_is_tokens_times_the_stated_prices() -> None:
    limits = Limits(price_in=2.0, price_out=6.0)
    assert limits.cost(500_000, 250_000) == pytest.approx(2.5)
    spending = Spending(limits)
    spending.begin(1000, 1000)
    spending.end((1000, 1000), (500_000, 250_000))
    assert spending.money == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(requests=2), "requests"),
        (Limits(tokens=300), "tokens"),
        (Limits(money=0.0003, price_in=1.0, price_out=1.0), "money"),
    ],
)
def test_the_first_request_that_could_pass_a_limit_is_not_begun(limits: Limits, name: str) -> None:
    spending = Spending(limits)
    for _ in range(2):
        spending.begin(50, 50)
        spending.end((50, 50), (90, 30))
    with pytest.raises(LimitReachedError, match=name):
        spending.begin(50, 50)
    assert (spending.requests, spending.prompt_tokens, spending.answer_tokens) == (2, 180, 60)


def test_what_others_set_aside_is_waited_for_and_then_known() -> None:
    spending = Spending(Limits(tokens=250))
    spending.begin(100, 100)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(spending.begin, 100, 100)
        spending.end((100, 100), (20, 20))
        second.result(timeout=10)
    assert spending.requests == 2


@pytest.mark.parametrize("aside", [(150, 0), (0, 150)])
def test_what_others_set_aside_is_not_given_out_twice(aside: tuple[int, int]) -> None:
    spending = Spending(Limits(tokens=250))
    spending.begin(*aside)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(spending.begin, *aside)
        spending.end(aside, aside)
        with pytest.raises(LimitReachedError, match="tokens"):
            second.result(timeout=10)
    assert spending.requests == 1


def test_a_limit_of_money_needs_prices() -> None:
    with pytest.raises(SettingsError, match="prices"):
        Limits(money=1.0)


def test_an_answer_that_was_kept_is_there_again_and_a_torn_or_foreign_line_is_not(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    cache = AnswerCache(path)
    cache.put("a", ANSWER)
    with path.open("ab") as file:
        file.write(b'{"key": "b", "text": 7}\n{"key": "c", "te')
    again = AnswerCache(path)
    assert (again.get("a"), again.get("b"), again.get("c"), again.broken) == (ANSWER, None, None, 1)
    again.put("d", ANSWER)
    lines = path.read_bytes().split(b"\n")
    assert [json.loads(line)["key"] for line in lines[:3]] == ["a", "b", "d"]
    assert lines[3:] == [b""]
    assert len(AnswerCache(path)) == 2


def test_two_writers_of_one_file_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    caches = [AnswerCache(path), AnswerCache(path)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: caches[number % 2].put(str(number), ANSWER), range(40)))
    assert len(AnswerCache(path)) == 40


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="earlier answers are kept"):
        AnswerCache(tmp_path / "no" / "answers.jsonl").put("a", ANSWER)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 90.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, 10.0) == seconds


def test_waits_are_the_servers_or_grow_by_doubling_within_a_bound() -> None:
    def after(attempt: int, error: Exception) -> float:
        outcome = SimpleNamespace(exception=lambda: error)
        return wait_s(SimpleNamespace(outcome=outcome, attempt_number=attempt))

    assert after(1, TryAgainError("HTTP 429", 12.5)) == 12.5
    for attempt in range(1, 12):
        waits = [after(attempt, TryAgainError("HTTP 500")) for _ in range(200)]
        assert max(waits) <= min(0.5 * 2 ** (attempt - 1), 30)
        assert max(waits) > 2 * min(waits)  # not all workers at once


def test_the_key_comes_out_of_a_variable_or_a_file_and_is_printed_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", " canary-1 ")
    (tmp_path / "key").write_text("canary-2\n")
    first, second = read_key("SHOP_KEY", None), read_key(None, tmp_path / "key")
    assert (first.get_secret_value(), second.get_secret_value()) == ("canary-1", "canary-2")
    assert "canary" not in f"{first} {second!r} {Endpoint('http://x', 'm', first)!r}"
    assert read_key(None, None) == SecretStr("")


@pytest.mark.parametrize(
    ("variable", "file"), [("NO_SUCH", None), (None, "none"), (None, "two"), ("A", "two")]
)
def test_a_key_that_is_none_is_told_without_its_text(
    variable: str | None, file: str | None, tmp_path: Path
) -> None:
    (tmp_path / "two").write_text("canary\ncanary")
    with pytest.raises(SettingsError) as told:
        read_key(variable, tmp_path / file if file else None)
    assert "canary" not in str(told.value)


@pytest.mark.parametrize(
    "url", ["http://me:canary@host/v1", "https://host/v1?key=canary", "file:///canary", "host"]
)
def test_an_address_with_a_secret_in_it_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError) as told:
        checked_url(url)
    assert "canary" not in str(told.value)
    assert checked_url("https://host:8000/v1") == "https://host:8000/v1"


def test_further_fields_change_the_request_and_none_leaves_a_field_out() -> None:
    extra = read_extra('{"top_p": 0.5, "max_tokens": null, "max_completion_tokens": 9}')
    endpoint = Endpoint("http://x", "m", extra=extra)
    assert endpoint.settings == {"model": "m", "temperature": 0.0, "top_p": 0.5, "max_completion_tokens": 9}
    assert endpoint.longest_answer == 9
    for wrong in ("[]", "{", '{"messages": []}', '{"model": "other"}'):
        with pytest.raises(SettingsError):
            read_extra(wrong)


def test_a_maker_is_fit_for_a_file_name() -> None:
    assert Endpoint("http://x", "Qwen/Qwen3-32B").maker == "llm-qwen-qwen3-32b"
    assert Endpoint("http://x", "../../etc").maker == "llm-etc"


def test_a_placeholder_for_a_key_changes_no_answer() -> None:
    assert without_key("my key is secret-key-1", SecretStr("secret-key-1")) == "my key is ***"
    assert without_key("salsa", SecretStr("a")) == "salsa"
    assert without_key("salsa", SecretStr("")) == "salsa"
