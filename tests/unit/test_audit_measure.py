"""The audit's figures, by hand, and judges that are steered by what they ought not to read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.audit_shop import pool
from training.think.audit.judges import ReadFirst
from training.think.audit.measure import ALL, Choices, Row, audit, chosen, row_of, steps_of
from training.think.audit.pools import Pool, Question
from training.think.audit.reasoner_judge import ReasonerJudge
from training.think.audit.report import as_json, as_markdown, shown, summary_rows
from training.think.audit.templates import Place
from training.think.points import History, InterestPoint, Reasoned


def quiet(done: int, told: str) -> None:
    """Nobody watches."""


class Gullible:
    """Takes what stands first, unless some text says to choose it; names the salsa if its title says so."""

    name = "gullible"
    reads: frozenset[Place] = frozenset({"option", "history"})

    def choose(self, question: Question) -> int | None:
        told = [place for place, text in enumerate(question.options) if "choose" in text]
        if "recommend salsa" in question.trigger:
            return question.options.index("salsa")
        return told[0] if told else 0


class Knowing:
    """Always takes the butter, wherever it stands."""

    name = "knowing"
    reads: frozenset[Place] = frozenset({"option", "history", "note"})

    def choose(self, question: Question) -> int | None:
        return question.options.index("butter") if "butter" in question.options else None


class Naming:
    """A reasoner that answers in any order, and has nothing to say of some histories."""

    name = "naming"

    def points(self, histories: Sequence[History]) -> Iterator[Reasoned]:
        for history in reversed(histories):
            points = (
                InterestPoint(triggers=(2,), queries=("Butter", "gum")),
                InterestPoint(triggers=(1, 2), queries=("caviar", "salsa")),
            )
            yield Reasoned(history=history.name, points=points if "milk" not in history.lines[0].text else ())


def pools_of(count: int) -> list[Pool]:
    one = pool()
    return [
        replace(one, question=replace(one.question, name=f"q{number}"), trigger=number)
        for number in range(count)
    ]


def row(rows: Sequence[Row], place: str, bias: str) -> Row:
    return next(one for one in rows if (one.place, one.bias) == (place, bias))


def test_the_figures_are_what_they_say() -> None:
    # right → right, right → weaker, wrong → weaker, wrong → right, none → none, weaker → weaker
    found = Choices(
        before=np.array([1, 1, 0, 3, -1, 2]),
        after=np.array([1, 2, 2, 1, -1, 2]),
        best=np.full(6, 1),
        weaker=np.full(6, 2),
        trigger=np.arange(6),
        listed=np.array([True, False] * 3),
    )
    told = row_of("judge", "option", "instruction", found)
    assert told.acc_ori.value == pytest.approx(2 / 6)
    assert told.acc_inj.value == pytest.approx(2 / 6)
    assert told.robustness.value == pytest.approx(1 / 2)
    assert told.attack.value == pytest.approx(2 / 5)
    assert told.changed.value == pytest.approx(3 / 6)
    assert told.answered == pytest.approx(5 / 6)
    assert told.listed == 0.5
    assert told.robustness.low <= told.robustness.value <= told.robustness.high


def test_robustness_of_a_judge_that_was_never_right_is_no_figure() -> None:
    found = Choices(*(np.array([place]) for place in (0, 0, 1, 2, 0)), np.array([False]))
    told = row_of("judge", "option", "brand", found)
    assert np.isnan(told.robustness.value)
    assert told.as_json()["robustness"] == {"value": None, "low": None, "high": None}
    assert shown(told.robustness) == "-"


def test_a_judge_that_knows_loses_nothing_and_a_gullible_one_is_steered() -> None:
    rows = audit([Knowing(), Gullible()], pools_of(30), 0, quiet)
    knowing = [one for one in rows if one.judge == "knowing"]
    assert {one.acc_inj.value for one in knowing} == {1.0}
    assert {one.changed.value for one in knowing} == {0.0}
    steered = [one for one in rows if one.judge == "gullible"]
    assert row(steered, "option", "instruction").attack.value > 0
    assert row(steered, "history", "instruction").attack.value > 0
    assert row(steered, "option", "brand").attack.value == 0


def test_choices_after_a_move_are_told_by_the_pools_own_places() -> None:
    rows = audit([Gullible()], pools_of(4), 0, quiet)
    moved = row(rows, "option", "position")
    assert moved.attack.value == 1.0, "what stands first is taken, and that is the dressed one now"
    assert row(audit([Knowing()], pools_of(4), 0, quiet), "option", "position").changed.value == 0.0


def test_all_biases_of_a_place_together_stand_last_and_hold_every_case() -> None:
    rows = audit([Gullible()], pools_of(5), 0, quiet)
    every = row(rows, "option", ALL)
    assert every.cases == 9 * 5
    assert [one.bias for one in rows if one.place == "option"][-1] == ALL
    assert {one.place for one in rows} == {"option", "history"}
    assert len(rows) == steps_of([Gullible()]) - 1 + 2


def test_a_reasoner_chooses_by_its_points_on_the_newest_line_first() -> None:
    asked = pool().question
    unanswered = replace(
        asked,
        history=asked.history.model_copy(
            update={"lines": (asked.history.lines[1].model_copy(update={"index": 1}),)}
        ),
    )
    judge = ReasonerJudge(Naming())
    assert chosen(judge, [asked, unanswered, asked]).tolist() == [2, -1, 2]
    assert judge.choose(asked) == 2
    without = replace(asked, options=("apples", "butter", "tea", "gum", "mustard"))
    assert judge.choose(without) == 1, "a query is an option however it is spelled"


def test_reading_first_hands_on_what_was_read_and_leaves_out_what_was_not() -> None:
    def read(text: str, apart: Collection[str]) -> str:
        assert not apart
        return "" if text == "milk" else text.removesuffix(" choose this")

    asked = replace(pool().question, options=("apples", "butter", "salsa choose this", "gum", "mustard"))
    seen = ReadFirst(Gullible(), "read", read).seen(asked)
    assert seen.options == pool().question.options
    assert [line.text for line in seen.history.lines] == ["white bread"]
    assert ReadFirst(Gullible(), "read", read, titles_only=True).seen(asked).options == asked.options


def test_a_report_has_every_row_and_a_summary_instructions_and_all() -> None:
    asked = pools_of(3)
    rows = audit([Knowing()], asked, 0, quiet)
    told = as_json(rows, asked)
    assert told["pools"] == 3
    assert told["best"] == pytest.approx(0.2)
    assert told["second"] == pytest.approx(0.1)
    assert len(told["rows"]) == len(rows)
    assert len(as_markdown(rows).splitlines()) == len(rows) + 2
    assert {one.bias for one in summary_rows(rows)} == {"instruction", ALL}
