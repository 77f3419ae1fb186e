"""Figures on the pages are those of benchmarks/results: nobody typed them, nobody changed them."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

from benchmarks import capacity, page
from benchmarks.harness import Bar, Figure, paired
from benchmarks.report import RESULTS, Report
from tests.docs.pages import text_of


def test_the_benchmarks_page_is_what_the_results_say() -> None:
    text = text_of("benchmarks/README.md")
    assert text == page.written(text), "run: python -m benchmarks.page"


def test_the_capacity_page_is_what_results_and_model_say() -> None:
    text = text_of("docs/capacity.md")
    assert text == capacity.written(text), "run: python -m benchmarks.capacity --save"


def test_what_is_written_by_hand_on_the_benchmarks_page_has_no_figures() -> None:
    by_hand = text_of("benchmarks/README.md").partition(page.BEGIN)[0]
    assert not re.search(r"\d", by_hand)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_saved_results_name_their_machine_and_commit_and_are_no_quick_runs(path: Path) -> None:
    found = orjson.loads(path.read_bytes())
    assert not found["quick"]
    assert found["name"] == path.stem
    assert found["machine"]["cpu"]
    assert found["machine"]["commit"] != "unknown"


def test_a_figure_its_spread_its_bar_and_its_machine_stand_on_the_page(tmp_path: Path) -> None:
    ours = Figure.of("ours", "events/s", [1200, 1000, 1100])
    theirs = Figure.of("theirs", "events/s", [100] * 3)
    ratio = paired("ours to theirs", ours, theirs, Bar.at_least(12))
    report = Report("memory", "What.", [ours, theirs], [ratio])
    (tmp_path / "memory.json").write_bytes(orjson.dumps(report.as_dict(quick=False)))
    shown = page.written(f"by hand\n{page.BEGIN}\nwhat stood here\n{page.END}\n", tmp_path)
    assert shown.startswith("by hand\n")
    assert "| ours | 1,100 | 1,000 | 1,200 | events/s |  |" in shown
    assert "| ours to theirs | 11 | 10 | 12 | times | ≥ 12 **missed** |" in shown
    assert report.machine.line in shown
    assert "what stood here" not in shown


def test_a_quick_run_is_not_shown(tmp_path: Path) -> None:
    report = Report("memory", "What.", [Figure.of("ours", "MB", [12345])])
    (tmp_path / "memory.json").write_bytes(orjson.dumps(report.as_dict(quick=True)))
    assert "12,345" not in page.written(f"{page.BEGIN}\n{page.END}", tmp_path)


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no marks"):
        page.written("a page")
