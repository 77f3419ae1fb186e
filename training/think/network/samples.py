"""What the Think network learns from: histories with the output that their reference points are.

Reference points that cannot be written whole (a query that is in no lexicon, say) lose what cannot be; an
output that breaks the grammar for all that is left out and counted, with its history's name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agents.session.step import TextEncoder
from streams.errors import DatasetError
from training.think.mining.mine import HISTORIES, REFERENCE
from training.think.network.grammar import Grammar
from training.think.network.inputs import Inputs, inputs_of
from training.think.network.serialise import WrittenPoint, read_tokens, tokens_of
from training.think.network.tokens import Lexicon
from training.think.points import History, Reasoned, read_lines


@dataclass(frozen=True, slots=True)
class ThinkSamples:
    """Of n histories: inputs, grammars and outputs. left_out: names of histories whose reference is no
    output."""

    histories: tuple[History, ...]
    inputs: Inputs
    grammars: tuple[Grammar, ...]
    outputs: tuple[tuple[int, ...], ...]
    left_out: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.outputs)

    def points(self, row: int, lexicon: Lexicon) -> list[WrittenPoint]:
        """The reference as a network could have written it."""
        return read_tokens(self.outputs[row], self.histories[row], lexicon)

    def some(self, rows: npt.NDArray[np.int64]) -> tuple[Inputs, list[Grammar], list[tuple[int, ...]]]:
        """Inputs, grammars and outputs of those."""
        numbers = rows.tolist()
        return self.inputs.at(rows), [self.grammars[n] for n in numbers], [self.outputs[n] for n in numbers]

    def name(self) -> str:
        """A digest of all outputs and histories: what a run says that it learnt from."""
        return sha256(repr([(h.name, o) for h, o in zip(self.histories, self.outputs, strict=True)]).encode()
                      ).hexdigest()[:16]  # fmt: skip


def samples_of(
    histories: Sequence[History],
    reference: Iterable[Reasoned],
    lexicon: Lexicon,
    encoder: TextEncoder,
    *,
    traced: bool,
) -> ThinkSamples:
    """Histories with the reference of the same name. Raises DatasetError when there is none to learn."""
    answers = _answers({history.name for history in histories}, reference)
    kept, grammars, outputs, left_out = [], [], [], []
    for history in histories:
        answer, grammar = answers.get(history.name), Grammar.of(history, lexicon, traced=traced)
        output = [] if answer is None else tokens_of(answer.points, history, lexicon, traced=traced)
        if grammar.accepts(output):
            kept.append(history)
            grammars.append(grammar)
            outputs.append(tuple(output))
        else:
            left_out.append(history.name)
    if not kept:
        raise DatasetError(
            "No history has a reference that can be learned.",
            action="Mine them again: aigq think mine --data DATA --out WORK",
        )
    inputs = inputs_of(kept, lexicon, encoder)
    return ThinkSamples(tuple(kept), inputs, tuple(grammars), tuple(outputs), tuple(left_out))


def mined_samples(
    work: Path, lexicon: Lexicon, encoder: TextEncoder, *, traced: bool, most: int | None = None
) -> ThinkSamples:
    """From a folder of `aigq think mine`; at `most` so many histories, the first, which are drawn at random.

    Raises DatasetError.
    """
    histories = list(islice(read_lines(work / HISTORIES, History), most))
    return samples_of(histories, read_lines(work / REFERENCE, Reasoned), lexicon, encoder, traced=traced)


def _answers(wanted: set[str], reference: Iterable[Reasoned]) -> dict[str, Reasoned]:
    """By history; read no further than needed."""
    found: dict[str, Reasoned] = {}
    for answer in reference:
        if answer.history in wanted:
            found[answer.history] = answer
        if len(found) == len(wanted):
            break
    return found
