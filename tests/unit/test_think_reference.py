"""Reference points by a worked example; every fact in a rationale is what the log says; pooling by hand."""

from __future__ import annotations

from math import log2
from pathlib import Path

import polars as pl
import pytest

from agents.session.interest import ACTION_CODES
from streams.query_text import normalise_query
from streams.records import Action
from tests.small_log import NO_FLOORS, Basket, bought
from tests.support import DAY_MS
from tests.themed_shop import themed_dataset
from training.datasets.dataset import Dataset
from training.think.mining.association import Association, associations
from training.think.mining.facts import facts_of_line, rationale_of
from training.think.mining.histories import Case, cases
from training.think.mining.pool import PRIOR, pool, with_evidence
from training.think.mining.reference import reference_points
from training.think.points import Fact, History, HistoryLine, InterestPoint, Proposal, Reasoned
from training.think.review.evidence import recount

UNTIL_MS = 40 * DAY_MS
# Two needs that never meet, and bread that goes with everything alike.
NEEDS: list[Basket] = [
    *((home, 1.0, ["taco shells", "salsa"]) for home in range(10)),
    *((home, 2.0, ["diapers", "baby wipes"]) for home in range(20, 30)),
    *((home, 3.0, ["bread"]) for home in range(40, 90)),
]


@pytest.fixture(scope="module")
def association() -> Association:
    return associations(bought(NEEDS), UNTIL_MS, rule=NO_FLOORS)


def history(*texts: str, as_of_ms: int = UNTIL_MS, name: str = "h") -> History:
    lines = [
        HistoryLine(index=place, days_ago=place, action="purchase", text=text, category=f"{text} shelf")
        for place, text in enumerate(texts, 1)
    ]
    return History(name=name, as_of_ms=as_of_ms, lines=tuple(lines))


def case(*texts: str, then: tuple[str, ...]) -> Case:
    return Case(history(*texts), 1, tuple((text, 0) for text in then))


def points(association: Association, one: Case) -> tuple[InterestPoint, ...]:
    (answer,) = reference_points([one], association)
    assert answer.history == "h"
    return answer.points


def test_each_need_becomes_a_point_and_what_nothing_speaks_for_belongs_to_none(
    association: Association,
) -> None:
    one = case("bread", "taco shells", "diapers", "taco shells", then=("baby wipes", "salsa", "tea"))
    found = points(association, one)
    assert {(point.triggers, point.queries) for point in found} == {
        ((2, 4), ("salsa",)),
        ((3,), ("baby wipes",)),
    }


def test_what_stands_in_the_history_is_no_query(association: Association) -> None:
    assert points(association, case("taco shells", "salsa", then=("Salsa",))) == ()


def test_a_history_that_nothing_followed_says_why_it_has_no_points(association: Association) -> None:
    (answer,) = reference_points([case("bread", then=("salsa",))], association)
    assert answer.points == ()
    assert "Nothing that was bought next" in answer.problem


def test_a_rationale_is_its_facts_and_nothing_else(association: Association) -> None:
    (point,) = points(association, case("bread", "taco shells", "taco shells", then=("salsa",)))
    assert point.facts == (
        Fact(kind="times", trigger="taco shells", value=2),
        Fact(kind="days", trigger="taco shells", value=2),
        Fact(kind="baskets", trigger="taco shells", query="salsa", value=10),
        Fact(kind="households", trigger="taco shells", query="salsa", value=10),
        Fact(kind="later", trigger="taco shells", query="salsa", value=0),
    )
    assert point.rationale == (
        "taco shells: 2 times in this history. taco shells: last 2 days ago. "
        "taco shells and salsa: together in 10 baskets. "
        "taco shells and salsa: together for 10 households. "
        "salsa came after taco shells for 0 % of the households with both."
    )


def test_a_line_of_today_and_a_text_that_does_not_stand_there() -> None:
    today = History(
        name="h", as_of_ms=0, lines=(HistoryLine(index=1, days_ago=0, action="search", text="Tea"),)
    )
    assert rationale_of(facts_of_line(today, "tea")) == "tea: 1 time in this history. tea: last today."
    assert facts_of_line(today, "salsa") == ()


def asked_again(fact: Fact, one: Case, data: Dataset) -> int:
    """The fact's value by a plain count of the history or of the log."""
    until_ms = data.split.train.end_ms
    same = [line for line in one.history.lines if normalise_query(line.text) == normalise_query(fact.trigger)]
    if fact.kind == "times":
        return len(same)
    if fact.kind == "days":
        return min(line.days_ago for line in same)
    found = recount(
        fact.trigger,
        fact.query,
        data.purchases,
        until_ms=until_ms,
        days=7,
        behaviours=data.behaviours,
    )
    if fact.kind != "households":
        return int(getattr(found, fact.kind))
    assert data.behaviours is not None
    met = pl.concat(
        [
            data.purchases.filter(pl.col("time_ms") < until_ms).select("basket_id", "household_id", "phrase"),
            data.behaviours.filter(
                pl.col("at_ms") < until_ms, pl.col("action") == ACTION_CODES[Action.SEARCH]
            )
            .drop_nulls("basket_id")
            .select("basket_id", "household_id", phrase="text"),
        ]
    )
    both = met.group_by("basket_id", "household_id").agg(pl.col("phrase"))
    holds = [pl.col("phrase").list.contains(text) for text in (fact.trigger, fact.query)]
    return both.filter(holds)["household_id"].n_unique()


def test_every_fact_of_a_data_sets_reference_can_be_counted_again(tmp_path: Path) -> None:
    data = themed_dataset(tmp_path)
    counted = associations(data.purchases, data.split.train.end_ms, behaviours=data.behaviours)
    sample = cases(data, "train", 200, seed=0)
    answers = list(reference_points(sample, counted))
    told = [
        (fact, one)
        for one, answer in zip(sample, answers, strict=True)
        for point in answer.points
        for fact in point.facts
    ]
    assert {fact.kind for fact, _ in told} == {"times", "days", "baskets", "households", "later"}
    for fact, one in told[:: max(len(told) // 60, 1)]:
        assert asked_again(fact, one, data) == fact.value, fact
    for answer in answers:
        for point in answer.points:
            assert point.rationale == rationale_of(point.facts)


def reasoned(*points: tuple[tuple[int, ...], tuple[str, ...]], name: str = "h") -> Reasoned:
    found = tuple(InterestPoint(triggers=triggers, queries=queries) for triggers, queries in points)
    return Reasoned(history=name, points=found)


def relevance(proposals: list[Proposal], trigger: str, query: str) -> float:
    return next(one.relevance for one in proposals if (one.trigger, one.query) == (trigger, query))


def test_each_trigger_is_mapped_to_all_queries_of_its_point_and_pooled_over_shoppers() -> None:
    # The second history is one half-life older, so its points count half.
    old = history("tea", as_of_ms=UNTIL_MS - 90 * DAY_MS, name="old")
    found = pool(
        [history("tea", "bread"), old],
        [reasoned(((1, 2), ("honey", "lemons"))), reasoned(((1,), ("lemons",)), name="old")],
        "reader",
    )
    second = 1 / log2(3)
    assert relevance(found, "tea", "honey") == pytest.approx(1 / (PRIOR + 1.5), abs=1e-6)
    assert relevance(found, "tea", "lemons") == pytest.approx((second + 0.5) / (PRIOR + 1.5), abs=1e-6)
    assert relevance(found, "bread", "honey") == pytest.approx(1 / (PRIOR + 1), abs=1e-6)
    assert relevance(found, "tea shelf", "honey") == relevance(found, "tea", "honey")
    kinds = {one.trigger: one.kind for one in found}
    assert (kinds["tea"], kinds["tea shelf"]) == ("item", "category")
    assert all(one.makers == ("reader",) and one.evidence is None for one in found)


def test_lines_and_histories_that_are_not_there_count_for_nothing() -> None:
    found = pool([history("tea")], [reasoned(((9,), ("honey",))), reasoned(((1,), ("x",)), name="?")], "m")
    assert found == []


def test_no_text_leads_to_itself() -> None:
    found = pool([history("tea")], [reasoned(((1,), ("TEA", "honey")))], "m")
    assert {(one.trigger, one.query) for one in found} == {
        ("tea", "honey"),
        ("tea shelf", "TEA"),
        ("tea shelf", "honey"),
    }


def test_pooled_proposals_get_the_logs_evidence(association: Association) -> None:
    found = pool([history("taco shells")], [reasoned(((1,), ("salsa",)))], "m")
    (item, _) = with_evidence(found, association)
    assert item.evidence == association.evidence("taco shells", "salsa")
    assert item.category == "mexican"
