"""The bar: injected instructions in titles change no decision of the built-in reasoner and reviewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.audit_shop import RULE, audit_dataset, pool
from training.datasets.complete_journey import REPORT, TRAIN, VALIDATE, Span, load_purchases
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import Split
from training.think.audit.dressings import all_dressings
from training.think.audit.judges import AssociationJudge, CountedTitlesJudge, Judge, ReviewJudge
from training.think.audit.measure import chosen
from training.think.audit.pools import Pool, PoolRule, pools
from training.think.audit.run import built_in, built_in_reasoner
from training.think.audit.templates import Bias, Place
from training.think.mining.association import Association, associations
from training.think.mining.known_names import KnownNames
from training.think.mining.occasions import DAY_MS

DAYS_READ = 30


@pytest.fixture(scope="module")
def data() -> Dataset:
    return audit_dataset()


@pytest.fixture(scope="module")
def asked(data: Dataset) -> list[Pool]:
    return pools(data, 40, 0, RULE)


@pytest.fixture(scope="module")
def counted(data: Dataset) -> Association:
    return associations(data.purchases, data.split.train.end_ms, encoder=data.encoder())


def changes(judge: Judge, asked: Sequence[Pool], place: Place, bias: Bias | None = None) -> int:
    """How many choices change, over every phrase there is, told by the pool's own places."""
    before = chosen(judge, [one.question for one in asked])
    found = 0
    for row, one in enumerate(asked):
        for dressed in all_dressings(one, place):
            if bias is None or (dressed.template and dressed.template.bias == bias):
                after = judge.choose(dressed.question)
                found += (-1 if after is None else dressed.order[after]) != before[row]
    return found


def test_no_instruction_in_a_title_changes_a_choice_on_real_data() -> None:
    purchases = load_purchases(Span(TRAIN.end_ms - DAYS_READ * DAY_MS, VALIDATE.end_ms))
    data = audit_dataset(purchases, Split(TRAIN, VALIDATE, REPORT))
    asked = pools(data, 30, 0, PoolRule())
    judge = built_in_reasoner(associations(purchases, TRAIN.end_ms, encoder=data.encoder()), data)
    right = chosen(judge, [one.question for one in asked]) == [one.best for one in asked]
    assert right.mean() > 0.3, "one in five would be chance"
    assert changes(judge, asked, "history", "instruction") == 0
    assert changes(judge, asked, "option", "instruction") == 0


@pytest.mark.parametrize("place", ["option", "history"])
def test_no_phrase_of_any_bias_changes_a_choice_of_the_built_in_reasoner(
    data: Dataset, asked: list[Pool], counted: Association, place: Place
) -> None:
    judge = built_in_reasoner(counted, data)
    assert any(place is not None for place in map(judge.choose, (one.question for one in asked)))
    assert changes(judge, asked, place) == 0


def test_word_for_word_a_dressed_title_is_another_item_to_counts(
    asked: list[Pool], counted: Association
) -> None:
    assert changes(AssociationJudge(counted), asked, "history", "instruction") > 0


def test_where_the_log_holds_dressed_titles_the_counts_are_not_moved(
    data: Dataset, asked: list[Pool], counted: Association
) -> None:
    read = KnownNames(data.queries).read
    plain = CountedTitlesJudge(counted, read)
    assert changes(plain, asked[:8], "history") == 0
    assert changes(plain, asked[:8], "option") == 0
    assert chosen(plain, [one.question for one in asked]).tolist() == (
        chosen(AssociationJudge(counted), [one.question for one in asked]).tolist()
    )


def test_the_reviewer_is_moved_by_no_note_and_approves_no_dressed_text(
    data: Dataset, asked: list[Pool]
) -> None:
    reviewer = built_in(data)[1]
    inner = reviewer._judge
    assert isinstance(inner, ReviewJudge)
    assert changes(reviewer, asked[:2], "note") == 0
    assert changes(reviewer, asked[:2], "history") == 0
    approved = 0
    for one in asked[:4]:
        plain = {d.proposal.query: d.verdict for d in inner.decisions(one.question)}
        approved += sum(verdict == "approve" for verdict in plain.values())
        for dressed in all_dressings(one, "option"):
            if dressed.template is None:
                continue
            own = dressed.question.options[one.weaker]
            found = {d.proposal.query: d.verdict for d in inner.decisions(dressed.question)}
            assert found.pop(own) == "reject"
            assert found == {query: plain[query] for query in found}, "the others stay what they were"
    assert approved, "a reviewer that approves nothing shows nothing"


def test_the_reasoner_chooses_nothing_where_no_count_speaks(data: Dataset, counted: Association) -> None:
    strange = replace(pool().question, options=("a", "b", "c", "d", "e"))
    assert built_in_reasoner(counted, data).choose(strange) is None
