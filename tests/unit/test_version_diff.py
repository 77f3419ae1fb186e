"""What another version would change, counted by hand on small versions."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import MappingError
from tests.mapping_folders import write_version
from training.think.versions.version_diff import change, diff_versions

OLD = {"Milk": ["oats", "honey"], "eggs": ["bacon"], "beer": ["chips"], "bread": ["butter", "jam", "ham"]}
NEW = {"milk": ["honey", "oats"], "eggs": ["bacon"], "tea": ["cake"], "bread": ["butter", "jam", "cheese"]}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_version(tmp_path, OLD, ["beer", "milk"], version="old")
    write_version(tmp_path, NEW, ["beer", "tea"], version="new")
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (["a", "b"], ["a", "b"], 0.0),
        (["a", "b"], ["b", "a"], 1 - (0 + 1) / 2),  # first: nothing in common; both: all
        (["a", "b", "c"], ["a", "b", "d"], 1 - (1 + 1 + 2 / 3) / 3),
        (["d", "b", "c"], ["a", "b", "c"], 1 - (0 + 1 / 2 + 2 / 3) / 3),  # the first place weighs more
        (["a"], ["a", "b"], 1 - (1 + 1 / 2) / 2),
        (["a"], ["b"], 1.0),
        (["a"], [], 1.0),
        ([], [], 0.0),
    ],
)
def test_change_is_one_minus_the_average_overlap(
    before: list[str], after: list[str], expected: float
) -> None:
    assert change(before, after) == pytest.approx(expected)
    assert change(after, before) == pytest.approx(expected)


def test_new_gone_and_changed_are_counted(root: Path) -> None:
    found = diff_versions(root, "old", "new")
    assert (found.new, found.gone) == (("tea",), ("beer",))
    assert (found.new_triggers, found.gone_triggers, found.kept_triggers) == (1, 1, 3)
    assert found.unchanged_triggers == 1
    assert [(one.trigger, one.change) for one in found.changed_most] == [("milk", 0.5), ("bread", 0.1111)]
    assert found.changed_most[0].before == ("oats", "honey")
    assert found.mean_change == pytest.approx((0.5 + 0.1111) / 3, abs=1e-4)
    assert (found.new_entries, found.gone_entries) == (2, 2)  # tea → cake, bread → cheese; beer, ham
    assert (found.new_queries, found.gone_queries) == (2, 2)
    assert (found.new_popular, found.gone_popular) == (("tea",), ("milk",))


def test_coverage_of_both_is_told(root: Path) -> None:
    found = diff_versions(root, "old", "new")
    assert (found.before.version, found.before.triggers, found.before.entries) == ("old", 4, 7)
    assert (found.after.triggers, found.after.queries, found.after.popular) == (4, 7, 2)


def test_a_version_does_not_differ_from_itself(root: Path) -> None:
    found = diff_versions(root, "old", "old")
    assert (found.mean_change, found.new_entries, found.gone_entries) == (0.0, 0, 0)
    assert found.unchanged_triggers == 4
    assert found.changed_most == ()


def test_lists_are_cut_and_counts_are_not(root: Path) -> None:
    found = diff_versions(root, "old", "new", limit=1)
    assert len(found.changed_most) == 1
    assert diff_versions(root, "old", "new", limit=0).new == ()
    assert diff_versions(root, "old", "new", limit=0).new_triggers == 1


def test_a_torn_version_is_no_side_of_a_diff(root: Path) -> None:
    (root / "new" / "mapping.jsonl").write_bytes(b"{")
    with pytest.raises(MappingError, match="not the file"):
        diff_versions(root, "old", "new")
    with pytest.raises(MappingError, match=r"no version none in .* it has new, old"):
        diff_versions(root, "old", "none")
