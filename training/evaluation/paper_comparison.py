"""The paper's tables beside ours, row by row, as ratios to EBR's row and to SFT's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from training.evaluation.page_cells import NONE, Entry, interval_cell, ratio_cell, table
from training.evaluation.paper_tables import EBR_ARM, PaperRow, paper_reference

HEAD: Final = (
    *("row", "our arm", "paper", "ours", "paper ÷ EBR", "ours ÷ EBR"),
    *("paper ÷ SFT", "ours ÷ SFT", "to SFT"),
)


def comparison(
    rows: Sequence[PaperRow], figure: str, arms: Mapping[str, Any], lifts: Mapping[str, Any]
) -> list[str]:
    """One figure of the paper's rows beside ours. arms, lifts: of one task of an evaluation."""
    return table(HEAD, (_compared(row, figure, arms, lifts) for row in rows))


def verdict(paper: float, lift: Entry | None) -> str:
    """Whether our ratio lies on the paper's side of 1: agrees, differs; open where its interval holds 1."""
    if lift is None or lift["low"] is None or paper == 1.0:
        return NONE
    if lift["low"] <= 0.0 <= lift["high"]:
        return "open"
    return "agrees" if (paper > 1.0) == (lift["value"] > 0.0) else "differs"


def _compared(row: PaperRow, figure: str, arms: Mapping[str, Any], lifts: Mapping[str, Any]) -> list[str]:
    paper, there = row.figures[figure], row.arm in arms
    cells = [row.name, f"`{row.arm}`" if there else NONE, f"{paper:g}"]
    cells.append(interval_cell(arms.get(row.arm, {}).get(figure)))
    for reference in (EBR_ARM, row.sft_arm):
        ratio = paper / paper_reference(reference, figure, think=row.think)
        lift = lifts.get(f"{row.arm}/{reference}", {}).get(figure)
        cells += [f"{ratio:.3g}", "1" if there and row.arm == reference else ratio_cell(lift)]
    return [*cells, verdict(ratio, lift)]
