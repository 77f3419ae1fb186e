"""Histories as arrays: what the network reads of each line, and nothing else.

Text and category come as e(text) of the data set's encoder; a text that is also a query of the lexicon brings
that query's own row. The rest is copied from the history: where a line stands, how long ago, which action,
how often its text stands there. An empty place is marked as such. Text is never read as anything but a
vector, so no wording can steer what is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from agents.session.step import TextEncoder
from streams.hint_request import to_unit
from streams.query_text import normalise_query
from training.think.mining.histories import LINES
from training.think.network.tokens import Lexicon, bucket
from training.think.points import History

ACTIONS: Final = ("", "search", "purchase", "view", "click", "add_to_cart")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Of B histories, L = 32 lines. texts, categories: (B, L, D) float32, unit length or 0. queries: (B, L)
    number in the lexicon + 1, 0 for none. actions, days, times: (B, L) codes; action 0 is an empty place."""

    texts: Tensor
    categories: Tensor
    queries: Tensor
    actions: Tensor
    days: Tensor
    times: Tensor

    def at(self, rows: npt.NDArray[np.int64]) -> Inputs:
        """Those histories, in that order."""
        chosen = torch.from_numpy(rows)
        return Inputs(*(getattr(self, name)[chosen] for name in self.__slots__))

    def to(self, device: torch.device) -> Inputs:
        """On a device."""
        return Inputs(*(getattr(self, name).to(device) for name in self.__slots__))

    def __len__(self) -> int:
        return len(self.actions)


def inputs_of(histories: Sequence[History], lexicon: Lexicon, encoder: TextEncoder) -> Inputs:
    """What the network reads of them."""
    shape = (len(histories), LINES)
    texts, categories = (np.zeros((*shape, encoder.dim), np.int8) for _ in range(2))
    codes = np.zeros((4, *shape), np.int64)
    for row, history in enumerate(histories):
        lines = history.lines[:LINES]
        times = Counter(normalise_query(line.text) for line in lines)
        for place, line in enumerate(lines):
            texts[row, place] = encoder.embed(line.text)
            if line.category:
                categories[row, place] = encoder.embed(line.category)
            number = lexicon.number(line.text)
            codes[:, row, place] = (
                0 if number is None else number + 1,
                ACTIONS.index(line.action),
                bucket("days", line.days_ago),
                bucket("times", times[normalise_query(line.text)]),
            )
    queries, actions, days, often = (torch.from_numpy(code) for code in codes)
    units, kinds = (torch.from_numpy(to_unit(array)) for array in (texts, categories))
    return Inputs(units, kinds, queries, actions, days, often)
