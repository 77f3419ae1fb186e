"""The training gate: what few people did, what finds nothing, what is denied or personal is not taught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from streams.deny_file import parse_deny_file, terms
from streams.deny_rule import NO_RESULTS
from streams.deny_rules import DenyRules
from tests.logs import write_jsonl
from tests.small_log import bought, searched
from tests.small_shop import shop
from tests.support import DAY_MS, NOON_MS, event_json
from training.datasets.build import build_dataset
from training.datasets.complete_journey import TRAIN, load_purchases
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import DatasetConfig
from training.datasets.teachable import Teachable, few_users, found_nothing, no_results_rules
from training.export import _k_anonymity
from training.think.mining.association import training_counts
from training.think.mining.histories import histories

GOODS = bought(
    [(household, 0, ["milk", "tea", "wine"]) for household in range(4)] + [(1, 1, ["rare", "salsa"])]
)


def test_a_text_needs_k_households_that_bought_or_searched_it() -> None:
    searches = searched([(2, 0, None, "salsa"), (3, 0, None, "typed"), (3, 0, None, "typed")])
    assert few_users(GOODS, None, 1) == frozenset()
    assert few_users(GOODS, None, 2) == {"rare", "salsa"}
    assert few_users(GOODS, searches, 2) == {"rare", "typed"}
    assert few_users(GOODS, searches, 5) == {"rare", "typed", "salsa", "milk", "tea", "wine"}


def test_each_text_that_is_left_out_has_its_reason() -> None:
    with_mail = bought(
        [(household, 0, ["milk", "wine", "jo@example.org", "ghost"]) for household in range(3)]
    )
    rule = Teachable(2, DenyRules(terms(["wine"])), frozenset({"ghost"}))
    untaught = rule.left_out(pl.concat([with_mail, bought([(1, 2, ["once"])])]))
    assert untaught.phrases == {
        "wine": "denied", "jo@example.org": "personal", "ghost": "no_results", "once": "few_users",
    }  # fmt: skip
    assert untaught.counts() == {"personal": 1, "denied": 1, "no_results": 1, "few_users": 1}
    assert set(untaught.taught(with_mail)["phrase"]) == {"milk"}


def test_the_name_of_a_category_of_few_people_is_not_learnt() -> None:
    by_one = (pl.col("household_id") == 3) & (pl.col("phrase") == "milk")
    named = pl.when(by_one).then(pl.lit("of my own")).otherwise("category_phrase").alias("category_phrase")
    goods = GOODS.with_columns(named)
    taught = Teachable(2).left_out(goods).taught(goods)
    assert set(taught["phrase"]) == {"milk", "tea", "wine"}
    assert set(taught["category_phrase"]) == set(GOODS["category_phrase"]) - {"mexican"}


def test_the_last_counted_search_says_whether_the_shop_has_something() -> None:
    counted = pl.DataFrame({"text": ["a", "a", "b", "c"], "at_ms": [2, 1, 3, 4], "results": [0, 9, 0, 5]})
    assert found_nothing(counted) == {"a": 2, "b": 3}
    assert found_nothing(counted, 3) == {"a": 2}
    assert [(rule.text, rule.reason) for rule in no_results_rules(counted)] == [
        ("a", NO_RESULTS),
        ("b", NO_RESULTS),
    ]


def _events() -> list[dict[str, Any]]:
    """The small shop, and a few who do what nobody else does."""
    own = [
        event_json("purchase", "jo@example.org", NOON_MS + DAY_MS, "u1"),
        event_json("purchase", "one of a kind", NOON_MS + 2 * DAY_MS, "u1"),
        event_json("search", "4111 1111 1111 1111", NOON_MS + 3 * DAY_MS, "u1"),
        event_json("search", "my own name", NOON_MS + 4 * DAY_MS, "u2"),
        *(
            event_json(
                "search", "unicorns", NOON_MS + 5 * DAY_MS, f"u{who}", event_attributes={"result_count": 0}
            )
            for who in range(6)
        ),
        event_json("search", "soap", NOON_MS + 6 * DAY_MS, "u1", event_attributes={"result_count": 0}),
    ]
    return [*shop(), *own]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("teachable")
    (folder / "deny.txt").write_text("beer\n")
    log = write_jsonl(folder / "log.jsonl", _events())
    return build_dataset(folder / "set", DatasetConfig(log=log, deny=folder / "deny.txt"))


def test_a_data_set_teaches_none_of_it_and_says_how_much_was_left_out(built: Dataset) -> None:
    assert built.about["k_anonymity"] == 5
    assert built.about["counts"]["lexicon"]["left_out"] == {
        "personal": 0, "denied": 1, "no_results": 1, "few_users": 1,
    }  # fmt: skip
    unused = built.about["counts"]["purchases"]["log"]["unused"]
    assert (unused["personal"], unused["search_without_results"]) == (2, 7)
    assert not {"beer", "soap", "one of a kind", "jo@example.org"} & set(built.queries)
    assert {"milk", "eggs"} <= set(built.queries)
    for word in (b"jo@example", b"4111", b"kind"):
        assert word not in built.tokenizer


def test_queries_that_find_nothing_become_rules_for_a_live_shop(built: Dataset) -> None:
    rules = parse_deny_file((built.folder / "no-results.jsonl").read_bytes())
    assert {rule.text: rule.reason for rule in rules} == {"unicorns": NO_RESULTS, "soap": NO_RESULTS}


def test_mining_and_histories_tell_nothing_of_few_people(built: Dataset) -> None:
    told = {line.text for history in histories(built, "train", 500, 0) for line in history.lines}
    assert "milk" in told
    assert not told & {"one of a kind", "my own name", "jo@example.org", "unicorns"}
    assert training_counts(built).rule.pair_households_min == 5


def test_another_k_teaches_anew(tmp_path: Path) -> None:
    log = write_jsonl(tmp_path / "log.jsonl", _events())
    loose = build_dataset(tmp_path / "set", DatasetConfig(log=log, k_anonymity=1))
    assert {"beer", "one of a kind"} <= set(loose.queries)
    strict = build_dataset(tmp_path / "set", DatasetConfig(log=log, k_anonymity=2))
    assert "one of a kind" not in strict.queries
    assert orjson.loads((tmp_path / "set" / "dataset.json").read_bytes())["k_anonymity"] == 2


def test_the_built_in_data_is_of_a_catalogue_and_three_of_its_phrases_have_one_household() -> None:
    assert DatasetConfig().k == 1
    learnt = load_purchases(TRAIN)
    counts = {k: len(few_users(learnt, None, k)) for k in (2, 5, 10)}
    assert counts == {2: 3, 5: 9, 10: 50}


def test_a_bundles_manifest_says_what_its_base_was_told() -> None:
    assert _k_anonymity({"method": "grpo", "start": {"method": "sft", "start": {"k_anonymity": 5}}}) == 5
    assert _k_anonymity({"method": "base"}) is None
