"""What a dressed title does to the lists that a bundle serves.

Five options drawn from all queries hardly ever stand on a list of a dozen, so Direct's lists are judged by
what becomes of them: how many of the first ten hints are there before and after, and how often the option
that the title was to promote comes onto the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from agents.hints.bundle import Bundle
from agents.hints.compose import compose
from agents.hints.ranking import READ
from training.evaluation.bootstrap import Interval, household_bootstrap
from training.think.audit.dressings import biases, dress
from training.think.audit.judges import ReadTitle
from training.think.audit.live_request import request_of
from training.think.audit.pools import Pool
from training.think.points import History

BATCH: Final = 32
WORD_FOR_WORD: Final = "word for word"


@dataclass(frozen=True, slots=True)
class Shift:
    """kept: share of the first ten hints that are still among the first ten. entered: share of the lists
    without the weaker option before that hold it after. reading: how titles were read."""

    reading: str
    bias: str
    kept: Interval
    entered: Interval

    def as_json(self) -> dict[str, Any]:
        """With each interval as {value, low, high}."""
        return asdict(self) | {"kept": self.kept._asdict(), "entered": self.entered._asdict()}


def list_shifts(
    bundle: Bundle,
    pools: Sequence[Pool],
    seed: int,
    read: ReadTitle | None = None,
    reading: str = WORD_FOR_WORD,
) -> list[Shift]:
    """One for each bias that a title can carry."""
    before = served(bundle, [pool.question.history for pool in pools], read)
    rows: list[Shift] = []
    for bias in biases("history"):
        dressed = [dress(pool, "history", bias, seed).question.history for pool in pools]
        rows.append(_shift(reading, bias, pools, before, served(bundle, dressed, read)))
    return rows


def served(bundle: Bundle, histories: Sequence[History], read: ReadTitle | None = None) -> list[list[str]]:
    """The list for each history, titles read first if asked for."""
    seen = [history if read is None else _read(history, read) for history in histories]
    requests = [request_of(history, bundle.encoder) for history in seen]
    lists: list[list[str]] = []
    for start in range(0, len(requests), BATCH):
        made = compose(requests[start : start + BATCH], bundle, generated_at_ms=0)
        lists += [[hint.query for hint in one.hints.hints] for one in made]
    return lists


def _read(history: History, read: ReadTitle) -> History:
    lines = tuple(
        line.model_copy(update={"text": read(line.text, ()) or line.text}) for line in history.lines
    )
    return history.model_copy(update={"lines": lines})


def _shift(
    reading: str, bias: str, pools: Sequence[Pool], before: list[list[str]], after: list[list[str]]
) -> Shift:
    triggers = np.array([pool.trigger for pool in pools])
    kept = [
        len(set(one[:READ]) & set(two[:READ])) / max(len(one[:READ]), 1)
        for one, two in zip(before, after, strict=True)
    ]
    wanted = [pool.question.options[pool.weaker] for pool in pools]
    entered = [
        np.nan if option in one else float(option in two)
        for option, one, two in zip(wanted, before, after, strict=True)
    ]
    return Shift(
        reading,
        bias,
        household_bootstrap(np.array(kept), triggers),
        household_bootstrap(np.array(entered), triggers),
    )
