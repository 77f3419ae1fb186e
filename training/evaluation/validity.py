"""How much of a list could not be shown: hints out of the lexicon, and hints that the filters drop.

    invalid@10    of the first ten places, those without a lexicon query of their own: empty, unknown, twice
    filtered@10   of the hints on the first ten places, those that agents.hints.filters drops; also by reason

What is only held back for a while (just searched, just bought) is not dropped. The paper writes free text and
reports no such share (§5.1.2); ours writes lexicon queries only, so that `invalid` guards a rule that holds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from agents.hints.filters import DUPLICATE, LENGTH, NEAR_DUPLICATE, PERSONAL, filter_candidates
from agents.hints.generator import Candidate
from training.evaluation.metrics import LIST_LENGTH

Float64 = npt.NDArray[np.float64]

REASONS: Final = (LENGTH, PERSONAL, DUPLICATE, NEAR_DUPLICATE)
VALIDITY: Final = ("invalid@10", "filtered@10", *(f"filtered_{reason}@10" for reason in REASONS))


def validity(lists: Sequence[Sequence[str]], lexicon: Collection[str]) -> dict[str, Float64]:
    """Shares of each list, (C,) by the names in VALIDITY; an empty list has no filtered share: NaN.

    lists: as they were written, before any filter. lexicon: anything with a quick `in`.
    """
    columns = np.full((len(VALIDITY), len(lists)), np.nan)
    for case, queries in enumerate(lists):
        first = queries[:LIST_LENGTH]
        known = {query for query in first if query in lexicon}
        columns[0, case] = 1.0 - len(known) / LIST_LENGTH
        if first:
            _, dropped = filter_candidates([Candidate(query, 0.0) for query in first], held={})
            columns[1, case] = sum(dropped.values()) / len(first)
            columns[2:, case] = [dropped.get(reason, 0) / len(first) for reason in REASONS]
    return dict(zip(VALIDITY, columns, strict=True))
