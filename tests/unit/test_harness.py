"""Works take turns, ratios are of rounds side by side, and a bar says whether it was met."""

from __future__ import annotations

from functools import partial

import orjson
import pytest

from benchmarks.harness import Bar, Figure, alternated, paired, percentile
from benchmarks.report import Report, number


def test_works_take_turns_in_an_order_that_moves_on_and_the_warm_round_does_not_count() -> None:
    turns: list[str] = []

    found = alternated({name: partial(_noted, turns, name) for name in "abc"}, 3, warm=1)
    assert "".join(turns) == "abc" + "bca" + "cab" + "abc"
    assert {name: len(values) for name, values in found.items()} == {"a": 3, "b": 3, "c": 3}
    assert found["b"] == (4.0, 9.0, 11.0)


def _noted(turns: list[str], name: str) -> float:
    turns.append(name)
    return float(len(turns))


def test_a_ratio_is_the_median_of_the_rounds_not_the_ratio_of_the_medians() -> None:
    ours = Figure.of("ours", "events/s", [10, 40, 30])
    theirs = Figure.of("theirs", "events/s", [1, 10, 2])
    ratio = paired("ours to theirs", ours, theirs, Bar.at_least(11))
    assert ratio.values == (10, 4, 15)
    assert (ratio.median, ratio.low, ratio.high, ratio.is_met) == (10, 4, 15, False)


def test_rounds_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        paired("r", Figure.of("a", "", [1, 2]), Figure.of("b", "", [1]))


@pytest.mark.parametrize(
    ("bar", "median", "met"),
    [
        (Bar.at_least(2), 2, True),
        (Bar.at_least(2), 1.9, False),
        (Bar.at_most(2), 2, True),
        (Bar.at_most(2), 2.1, False),
    ],
)
def test_a_bar_itself_passes(bar: Bar, median: float, met: bool) -> None:
    assert bar.is_met(median) is met


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (0.991, 100), (0.999, 100), (1.0, 100)]
)
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile(range(100, 0, -1), share) == value


def test_a_saved_report_says_what_was_measured_where_and_whether_it_bears_weight() -> None:
    figure = Figure.of("p50", "ms", [3, 1, 2], Bar.at_most(2))
    found = orjson.loads(orjson.dumps(Report("r", "\nWhat it is.\n\nMore.\n", [figure]).as_dict(quick=True)))
    assert (found["measured"], found["quick"]) == ("What it is.", True)
    assert found["figures"][0]["bar"] == {"side": "most", "value": 2, "met": True}
    assert {"cpu", "cores", "memory_gb", "os", "python", "packages", "commit", "date"} <= set(
        found["machine"]
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234567.8, "1,234,568"), (99.94, "99.9"), (9.987, "9.99"), (0.01234, "0.0123"), (7.0, "7")],
)
def test_numbers_are_shown_with_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown
