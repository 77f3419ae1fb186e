"""Evidence of a pair: a worked example, counts that agree however they are made, nothing of the future."""

from __future__ import annotations

import random
from math import sqrt

import numpy as np
import polars as pl
import pytest

from streams.errors import DatasetError
from streams.query_text import normalise_query
from tests.small_log import NO_FLOORS, TACO_NIGHTS, bought, drawn_log, searched
from tests.support import DAY_MS, DigestEncoder
from training.think.mining.association import Association, associations
from training.think.mining.occasions import occasions_of
from training.think.mining.pair_log import PairLog, example_of
from training.think.points import Evidence
from training.think.review.evidence import recount

UNTIL_MS = 30 * DAY_MS
SEEDS = range(12)


def of(purchases: pl.DataFrame, behaviours: pl.DataFrame | None = None, until_ms: int = UNTIL_MS) -> PairLog:
    return PairLog(log=occasions_of(purchases, until_ms, behaviours), until_ms=until_ms)


def counted(purchases: pl.DataFrame, behaviours: pl.DataFrame | None = None) -> Association:
    return associations(purchases, UNTIL_MS, behaviours=behaviours, rule=NO_FLOORS)


def texts_of(log: PairLog) -> tuple[list[str], list[str]]:
    return [*log.log.triggers, "nobody knows"], [*log.log.queries, "nobody knows"]


def test_each_number_of_a_worked_example() -> None:
    centre, spread = 2 / 3 + 1.96**2 / 6, 1.96 * sqrt(2 / 9 / 3 + 1.96**2 / 36)
    assert of(bought(TACO_NIGHTS)).evidence("Taco Shells", "salsa") == Evidence(
        until_ms=UNTIL_MS,
        days=7,
        baskets=2,  # household 1 on day 0, household 2 on day 1
        after=1,  # of household 1: day 3 follows day 0; nothing follows day 20, and day 20 is too late
        households=2,
        trigger_baskets=3,
        query_baskets=4,
        all_baskets=7,
        decayed=round(2 ** (-30 / 90) + 2 ** (-29 / 90), 3),
        low=round((centre - spread) / (1 + 1.96**2 / 3), 6),
        lift=round((2 / 3) / (4 / 7), 4),
        later=0,  # both met salsa first in the same basket
        newest_days=29,
        similarity=0.0,
        examples=(example_of(103), example_of(100)),  # the newest first
    )


def test_later_tells_in_how_many_households_the_query_came_after_the_trigger() -> None:
    # Household 2 met both in one basket, household 3 bread two days before salsa.
    assert of(bought(TACO_NIGHTS)).evidence("bread", "salsa").later == 50


def test_a_category_leads_to_a_query_through_its_other_goods_alone() -> None:
    log = of(bought(TACO_NIGHTS))
    found = log.evidence("mexican", "salsa")
    assert (found.trigger_baskets, found.baskets, found.after) == (3, 2, 1)  # the baskets with taco shells
    other = log.evidence("mexican", "bread")
    assert (other.trigger_baskets, other.baskets, other.after) == (5, 1, 1)
    assert log.kind("mexican") == "category"


def test_a_query_is_no_evidence_for_itself() -> None:
    found = of(bought(TACO_NIGHTS)).evidence("salsa", "Salsa")
    assert (found.trigger_baskets, found.baskets, found.after, found.lift) == (0, 0, 0, 0.0)


def test_a_search_is_a_trigger_with_its_basket_and_without_one() -> None:
    searches = searched([(1, 3, 101, "party"), (2, 4, None, "party")])
    log = of(bought(TACO_NIGHTS), searches)
    found = log.evidence("party", "salsa")
    assert (log.kind("party"), found.trigger_baskets, found.baskets) == ("query", 2, 1)
    assert log.evidence("party", "bread").after == 1  # searched on day 4, bought on day 5
    assert found.all_baskets == 7  # a search alone is no basket


def test_what_was_searched_and_bought_is_an_item() -> None:
    assert of(bought(TACO_NIGHTS), searched([(1, 3, None, "Salsa")])).kind("SALSA") == "item"


@pytest.mark.parametrize("seed", SEEDS)
def test_evidence_is_what_a_plain_recount_of_the_log_gives(seed: int) -> None:
    purchases, searches = drawn_log(seed)
    log = of(purchases, searches)
    triggers, queries = texts_of(log)
    for trigger in triggers:
        for query in queries:
            plain = recount(trigger, query, purchases, until_ms=UNTIL_MS, days=7, behaviours=searches)
            assert log.evidence(trigger, query) == plain, (trigger, query)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_counts_of_all_pairs_are_the_evidence_of_each(seed: int) -> None:
    found = counted(*drawn_log(seed))
    counts = found.counts
    for row, trigger in enumerate(found.log.triggers[number] for number in counts.triggers):
        for column, query in enumerate(found.log.queries[number] for number in counts.queries):
            one = found.evidence(trigger, query)
            cell = (row, column)
            assert (counts.baskets[cell], counts.after[cell], counts.near[cell]) == (
                one.baskets,
                one.after,
                one.households,
            )
            assert counts.households[cell] == found.together(trigger, query)
            assert counts.trigger_baskets[cell] == one.trigger_baskets
            assert counts.query_baskets[column] == one.query_baskets
            assert counts.decayed[cell] == pytest.approx(one.decayed, abs=1e-3)


def test_windows_count_the_baskets_that_could_have_followed() -> None:
    found = counted(bought(TACO_NIGHTS))
    rows = dict(
        zip([found.log.triggers[at] for at in found.counts.triggers], found.counts.windows, strict=True)
    )
    # Day 0 sees day 3 (household 1), day 1 sees day 5 (household 2); nothing follows day 20.
    assert rows["taco shells"] == 2
    columns = dict(
        zip([found.log.queries[at] for at in found.counts.queries], found.counts.query_windows, strict=True)
    )
    # Salsa on day 3 follows day 0, on day 4 (household 3) it follows day 2.
    assert (columns["salsa"], found.counts.all_windows) == (2, 3)


def test_counting_in_small_chunks_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = counted(*drawn_log(3)).counts
    monkeypatch.setattr("training.think.mining.pair_counts.CHUNK_PAIRS", 1)
    pieces = counted(*drawn_log(3)).counts
    assert np.array_equal(whole.near, pieces.near)
    assert np.array_equal(whole.after, pieces.after)
    assert np.allclose(whole.decayed, pieces.decayed)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_from_until_ms_on_changes_anything(seed: int) -> None:
    purchases, searches = drawn_log(seed)
    until_ms = int(purchases["time_ms"].median() or 0)
    before = [log.filter(pl.col("time_ms") < until_ms) for log in (purchases, searches)]
    past = associations(before[0], until_ms, behaviours=before[1], rule=NO_FLOORS)
    all_of_it = associations(purchases, until_ms, behaviours=searches, rule=NO_FLOORS)
    triggers, queries = texts_of(past)
    assert past.triggers == all_of_it.triggers
    for trigger in triggers:
        assert past.candidates(trigger) == all_of_it.candidates(trigger)
        for query in queries:
            assert past.evidence(trigger, query) == all_of_it.evidence(trigger, query)


def test_similarity_is_the_cosine_and_clicks_stand_by_normal_form() -> None:
    log = PairLog(
        log=occasions_of(bought(TACO_NIGHTS), UNTIL_MS),
        until_ms=UNTIL_MS,
        encoder=DigestEncoder(),
        clicks={("taco shells", "salsa"): 0.25},
    )
    assert log.evidence("salsa", "salsa").similarity == 1.0
    assert log.evidence("TACO SHELLS", "Salsa").click == 0.25
    assert log.evidence("bread", "salsa").click is None


def test_evidence_names_baskets_without_telling_whose_they_are() -> None:
    names = of(bought(TACO_NIGHTS)).evidence("taco shells", "salsa").examples
    assert all(len(name) == 16 and set(name) <= set("0123456789abcdef") for name in names)


def test_an_empty_log_is_refused() -> None:
    with pytest.raises(DatasetError, match="Nothing was bought"):
        of(bought([(1, 40, ["salsa"])]))


def test_titles_of_any_length_and_writing_are_counted() -> None:
    long = "ＳＡＬＳＡ " + "very " * 60 + "hot"
    purchases = bought([(1, 0, [long, "bread"]), (2, 1, [long, "bread"])])
    log = of(purchases)
    (shown,) = [text for text in log.log.queries if text != "bread"]
    assert (len(shown), normalise_query(shown)[:10]) == (200, "salsa very")
    plain = recount("bread", shown, purchases, until_ms=UNTIL_MS, days=7)
    assert log.evidence("bread", shown) == plain
    assert plain.baskets == 2


def test_a_random_sample_of_pairs_agrees_with_the_recount_on_a_larger_log() -> None:
    chance = random.Random(1)
    goods = [f"good {number}" for number in range(30)]
    purchases = bought(
        (chance.randrange(20), chance.random() * 60, chance.sample(goods, chance.randint(1, 6)))
        for _ in range(400)
    )
    log = of(purchases, until_ms=50 * DAY_MS)
    for _ in range(25):
        trigger, query = chance.choice([*goods, "other"]), chance.choice(goods)
        plain = recount(trigger, query, purchases, until_ms=50 * DAY_MS, days=7)
        assert log.evidence(trigger, query) == plain
