"""`aigq think reason`: a reasoner's answers, whoever it is, become files that a review takes in.

    WORK/histories.jsonl ──reasoner──► WORK/reasoned-<maker>.jsonl    Reasoned, in the order of the histories
                         ──pool, evidence──► WORK/proposals-<maker>.jsonl    Proposal

What got no answer stands with its reason in WORK/unanswered-<maker>.jsonl, as Reasoned, and is asked by the
next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from streams.errors import DatasetError
from training.datasets.dataset import Dataset
from training.think.mining.mine import HISTORIES
from training.think.mining.pool import pool, with_evidence
from training.think.points import History, Proposal, Reasoned, read_lines, write_lines
from training.think.review.review_grounds import counted

REASONED: Final = "reasoned-{maker}.jsonl"
UNANSWERED: Final = "unanswered-{maker}.jsonl"
PROPOSALS: Final = "proposals-{maker}.jsonl"


def read_histories(work: Path, limit: int | None = None) -> list[History]:
    """The first `limit`, else all. Raises DatasetError, also where two have one name."""
    found = list(islice(read_lines(work / HISTORIES, History), limit))
    if len({history.name for history in found}) < len(found):
        raise DatasetError(
            f"{work / HISTORIES} holds a history twice.", action="Run `aigq think mine` again."
        )
    return found


def write_reasoned(
    work: Path, maker: str, histories: Sequence[History], reasoned: Iterable[Reasoned]
) -> list[Reasoned]:
    """Write the answers in the order of the histories, in one step, and return them.

    Of several answers for one history the first with points counts; answers of others count for nothing.
    """
    found: dict[str, Reasoned] = {}
    for answer in reasoned:
        if answer.history not in found or (answer.points and not found[answer.history].points):
            found[answer.history] = answer
    kept = [found[history.name] for history in histories if history.name in found]
    write_lines(work / REASONED.format(maker=maker), kept)
    return kept


def write_unanswered(work: Path, maker: str, reasoned: Sequence[Reasoned]) -> None:
    """Write why these histories have no answer; no file when there are none."""
    path = work / UNANSWERED.format(maker=maker)
    if reasoned:
        write_lines(path, reasoned)
    else:
        path.unlink(missing_ok=True)


def read_reasoned(work: Path, maker: str) -> list[Reasoned]:
    """What an earlier run wrote; [] before the first. Raises DatasetError."""
    path = work / REASONED.format(maker=maker)
    return list(read_lines(path, Reasoned)) if path.exists() else []


def write_proposals(
    work: Path, maker: str, histories: Sequence[History], reasoned: Sequence[Reasoned], data: Dataset
) -> list[Proposal]:
    """Pool the points per trigger, count each pair in the training span, write and return the proposals."""
    log = counted(data, 0, data.split.train.end_ms)
    proposals = with_evidence(pool(histories, reasoned, maker), log)
    write_lines(work / PROPOSALS.format(maker=maker), proposals)
    return proposals
