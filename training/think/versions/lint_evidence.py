"""Whether each served entry has its evidence, with numbers that fit together (no evidence, no mapping)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from streams.errors import DatasetError
from streams.think_entry import Suggestion, ThinkEntry
from training.think.points import read_lines
from training.think.versions.findings import Findings
from training.think.versions.mapping_version import EVIDENCE_FILE
from training.think.versions.served import Served

LIFT_TOLERANCE: Final = 0.01
SCORE_TOLERANCE: Final = 0.001


def lint_evidence(
    folder: Path, manifest: dict[str, Any], entries: Iterable[ThinkEntry], found: Findings
) -> None:
    """Each served entry has its line, in the same order, and no line is idle."""
    if EVIDENCE_FILE not in manifest["files"]:
        found.add("warning", "no_evidence", folder.name, f"it has no {EVIDENCE_FILE}: mined, not reviewed")
        return
    alpha = (manifest.get("settings") or {}).get("alpha")
    pairs = ((entry.trigger, one) for entry in entries for one in entry.queries)
    try:
        both = zip_longest(pairs, read_lines(folder / EVIDENCE_FILE, Served))
        for number, (pair, line) in enumerate(both, 1):
            where = f"{folder.name}/{EVIDENCE_FILE} line {number}"
            if pair is None or line is None or _pair(pair) != (line.trigger, line.query):
                proved = line and (line.trigger, line.query)
                told = f"served is {pair and _pair(pair)}, proved {proved}"
                found.add("problem", "evidence_other", where, told)
                return
            _counts(where, line, found)
            _score(where, line, pair[1].score, alpha, found)
    except DatasetError as error:
        found.add("problem", "evidence_line", folder.name, error.message)


def _pair(served: tuple[str, Suggestion]) -> tuple[str, str]:
    return served[0], served[1].query


def _counts(where: str, line: Served, found: Findings) -> None:
    one = line.evidence
    rules: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("baskets or households are 0", lambda: min(one.baskets + one.after, one.households) > 0),
        (
            "more baskets with both than with either",
            lambda: one.baskets <= min(one.trigger_baskets, one.query_baskets),
        ),
        (
            "more baskets than there are",
            lambda: max(one.trigger_baskets, one.query_baskets) <= one.all_baskets,
        ),
        ("the lift is not that of its counts", lambda: _lift_fits(line)),
    )
    for what, holds in rules:
        if not holds():
            found.add("problem", "evidence_counts", where, f"{line.trigger!r} → {line.query!r}: {what}")
            return


def _lift_fits(line: Served) -> bool:
    one = line.evidence
    if not (one.trigger_baskets and one.query_baskets and one.all_baskets):
        return False
    lift = (one.baskets / one.trigger_baskets) / (one.query_baskets / one.all_baskets)
    return math.isclose(lift, one.lift, rel_tol=LIFT_TOLERANCE, abs_tol=LIFT_TOLERANCE)


def _score(where: str, line: Served, score: float, alpha: float | None, found: Findings) -> None:
    if alpha is None:
        return
    expected = alpha * line.relevance + (1 - alpha) * line.efficiency
    if abs(expected - score) > SCORE_TOLERANCE:
        found.add(
            "problem", "evidence_score", where, f"{line.query!r} has {score}, its parts give {expected:.3f}"
        )
