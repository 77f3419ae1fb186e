"""The page of results: ratios, verdicts, and that what a person wrote on it stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.evaluation.page_cells import interval_cell, percent_cell, ratio_cell, table
from training.evaluation.paper_comparison import comparison, verdict
from training.evaluation.paper_tables import CATE, QUERY, TABLE_1, TABLE_2, paper_reference
from training.evaluation.results_page import SLOTS, kept_text, results_page, write_page


def entry(value: float, reach: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - reach, "high": value + reach}


ARMS = {
    "ebr": {QUERY: entry(0.5), CATE: entry(0.6), "recall@10": entry(0.3)},
    "sft": {QUERY: entry(0.55), CATE: entry(0.6), "recall@10": entry(0.35)},
    "il_sft": {QUERY: entry(0.6), CATE: entry(0.6), "recall@10": entry(0.36), "uctr@3": entry(0.2)},
}
LIFTS = {
    "sft/ebr": {QUERY: entry(0.1), CATE: entry(0.0)},
    "ebr/sft": {QUERY: entry(-0.091), CATE: entry(0.0)},
    "il_sft/ebr": {QUERY: entry(0.2), CATE: entry(0.0)},
    "il_sft/sft": {QUERY: entry(0.09), CATE: entry(-0.05)},
}


def evaluation() -> tuple[dict[str, Any], dict[str, Any]]:
    estimates = {name: entry(0.1) for name in ("true", "ips", "snips", "dr", "dm", "logged")}
    counts = {"cases": 13086, "households": 2000, "with_new": 8000, "cold_start": 12, "with_unseen": 7}
    return {"next_basket": ARMS}, {
        "about": {
            "span_ms": [1_512_086_400_000, 1_514_851_200_000],
            "lexicon": 1644,
            "draws": 1000,
            "training_seeds": {"ebr": 1, "sft": 3, "il_sft": 3},
            "simulated": ["searches", "hints and clicks"],
            "cases": {"next_basket": counts},
        },
        "lifts": {"next_basket": LIFTS},
        "seeds": {"next_basket": {"sft": [{"recall@10": 0.34, "new_recall@10": 0.05, **_paper(0.5)}] * 3}},
        "ab_test": {
            "simulated": True,
            "best_traditional": "ebr",
            "arms": {"sft": {"uctr": entry(0.25), "split_uctr": entry(0.24), "lift": entry(0.061)}},
            "off_policy": {
                "sft": {
                    **estimates,
                    "agrees": {"ips": False, "snips": True, "dr": True},
                    "effective_samples": 1234.5,
                    "impressions": 39258,
                    "mean_weight": 0.998,
                }
            },
        },
        "ranker": {
            "impressions": 39258,
            "clicks": 1900,
            "auc": entry(0.8),
            "log_loss": entry(0.17),
            "constant_log_loss": 0.195,
            "ece": 0.004,
            "calibration": [{"hints": 3926, "predicted": 0.01, "clicked": entry(0.011)}],
        },
        "served": {
            "mapping": "v7",
            "triggers_read": 5,
            "own_first": 3,
            "think_places": 1,
            "first_hint": {
                "behaviours": 1_234,
                "answered_by_mapping": 0.75,
                "lists_alone": delays(0.25, 30.0, None),
                "with_think": delays(0.875, 0.0, 30.0),
            },
        },
    }


def delays(at_once: float, half: float, most: float | None) -> dict[str, Any]:
    """How fresh the first hint is."""
    shares = {"at_once": at_once, "after_cooldown": 0.125, "later": 0.0, "never": None}
    return {**shares, "quantiles_s": {"0.5": half, "0.9": most}}


def _paper(value: float) -> dict[str, float]:
    return dict.fromkeys(TABLE_1[0].figures, value)


def row_of(lines: list[str], name: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_rows_stand_beside_the_papers_as_ratios() -> None:
    lines = comparison(TABLE_1, QUERY, ARMS, LIFTS)
    assert len(lines) == 2 + len(TABLE_1) + 1
    ours = row_of(lines, "Think, IL-SFT")
    # The paper: 0.0559 / 0.0100 and 0.0559 / 0.0549.
    assert ours[1:3] == ["`il_sft`", "0.0559"]
    assert ours[3] == "0.6000 (0.5900 to 0.6100)"
    assert ours[4:] == ["5.59", "1.200 (1.190 to 1.210)", "1.02", "1.090 (1.080 to 1.100)", "agrees"]
    assert row_of(lines, "EBR")[4:6] == ["1", "1"]
    assert row_of(lines, "Think, SFT")[6:] == ["1", "1", "–"]
    assert row_of(lines, "Direct, IL-SFT")[1] == "–"
    assert row_of(lines, "Direct, IL-SFT + IL-GRPO")[3:] == ["–", "6.79", "–", "1.59", "–", "–"]


def test_think_is_compared_with_its_own_sft() -> None:
    assert paper_reference("sft", QUERY, think=True) == 0.0549
    lines = comparison(TABLE_2, QUERY, ARMS, LIFTS)
    assert row_of(lines, "+ reasoning augmentation")[6] == "1.02"  # 0.0559 / 0.0549


@pytest.mark.parametrize(
    ("paper", "lift", "expected"),
    [
        (1.2, entry(0.1), "agrees"),
        (1.2, entry(-0.1), "differs"),
        (0.9, entry(-0.1), "agrees"),
        (0.9, entry(0.1), "differs"),
        (1.2, entry(0.005), "open"),
        (1.2, None, "–"),
        (1.0, entry(0.1), "–"),
        (1.2, {"value": None, "low": None, "high": None}, "–"),
    ],
)
def test_a_verdict_needs_an_interval_on_one_side(paper: float, lift: Any, expected: str) -> None:
    assert verdict(paper, lift) == expected


def test_a_page_has_all_parts_and_says_what_is_simulated() -> None:
    page = results_page(*evaluation(), {})
    for heading in ("Table 1", "Table 2", "Simulated A/B test", "The click ranker", "All figures"):
        assert heading in page
    assert "01 December 2017" in page
    assert "+6.1% (+5.1% to +7.1%)" in page
    assert "| 1,234 of 39,258 | 0.998 |" in page
    assert "**0.1000 (0.0900 to 0.1100)**" in page  # an estimate that misses the true value
    assert "SIMULATED" in page
    assert "| lists alone | 25.0% | 12.5% | 0.0% | – | 30.0 | never |" in page
    assert "| with Think | 87.5% | 12.5% | 0.0% | – | 0.0 | 30.0 |" in page
    assert "answers 75.0% of them at once" in page
    assert all(f"<!-- by hand: {slot} -->" in page for slot in SLOTS)
    widths = [line.count("|") for line in page.split("\n") if line.startswith("| arm")]
    assert widths
    assert " nan" not in page


def test_without_an_ab_test_and_a_ranker_these_parts_are_left_out() -> None:
    results, details = evaluation()
    del details["ab_test"], details["ranker"]
    page = results_page(results, details, {})
    assert "A/B test" not in page
    assert "click ranker" not in page


def test_text_by_hand_survives_a_run_without_its_part() -> None:
    results, details = evaluation()
    kept = {"ranker": "It is calibrated.\n", "ab-test": "", "older": "Of a former page.\n"}
    with_part = results_page(results, details, kept)
    assert with_part.count("It is calibrated.") == 1
    del details["ranker"], details["ab_test"]
    without = results_page(results, details, kept)
    assert kept_text(without)["ranker"] == "It is calibrated.\n"
    assert kept_text(without)["older"] == "Of a former page.\n"
    assert "ab-test" not in kept_text(without)


def test_text_by_hand_survives(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    write_page(path, *evaluation())
    text = path.read_text()
    mark = "<!-- by hand: table-1 -->\n"
    written = text.replace(mark, mark + "IL-SFT agrees.\n\nHere is *why*:\n\n| a | b |\n")
    path.write_text(written)
    write_page(path, *evaluation())
    assert path.read_text() == written
    assert kept_text(written)["table-1"].startswith("IL-SFT agrees.")
    assert kept_text(written)["summary"] == ""
    assert [one.name for one in tmp_path.iterdir()] == ["results.md"]


def test_a_table_is_markdown() -> None:
    assert table(("a", "b"), [("1", "2")]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |", ""]


def test_cells_of_nothing_and_of_no_width() -> None:
    nothing = {"value": None, "low": None, "high": None}
    assert {cell(one) for cell in (interval_cell, ratio_cell, percent_cell) for one in (None, nothing)} == {
        "–"
    }
    assert interval_cell({"value": 0.25, "low": 0.25, "high": 0.25}) == "0.2500"
    assert interval_cell({"value": 0.25, "low": None, "high": None}) == "0.2500 (– to –)"
