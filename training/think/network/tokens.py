"""The words that the Think network writes with: structure, lines of the history, values of facts, queries.

    PAD  BEGIN  ANSWER  POINT  ARROW  END | <1> … <32> | what is said of a fact | the lexicon's V queries

A value token says the kind of a fact and the bucket its value is in, so a fact takes one token once its
subjects are named: "<3> times:1 days:4" is two facts about line 3. Buckets are what a network of this size
can be right about; the sentence that people read has the log's true value (training.think.network.told).
The paper writes free text (§3.2); each of its queries is one token of ours, as in Direct.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Final, Literal

from streams.query_text import normalise_query
from training.think.mining.histories import LINES
from training.think.points import History

Kind = Literal["times", "days", "baskets", "households", "later"]

PAD, BEGIN, ANSWER, POINT, ARROW, END = range(6)
FIRST_LINE: Final = 6
FIRST_VALUE: Final = FIRST_LINE + LINES
LINE_KINDS: Final[tuple[Kind, ...]] = ("times", "days")
PAIR_KINDS: Final[tuple[Kind, ...]] = ("baskets", "households", "later")
KINDS: Final = LINE_KINDS + PAIR_KINDS
DAY_EDGES: Final = (0, 1, 2, 3, 4, 5, 7, 10, 14, 21)
BUCKETS: Final = {"times": 8, "days": len(DAY_EDGES), "baskets": 15, "households": 13, "later": 10}
STARTS: Final = dict(
    zip(KINDS, accumulate((BUCKETS[kind] for kind in KINDS), initial=FIRST_VALUE), strict=False)
)
FIRST_QUERY: Final = FIRST_VALUE + sum(BUCKETS.values())


def bucket(kind: Kind, value: int) -> int:
    """The bucket of a fact's value, from 0; the last one has no upper end.

    times: 1, 2, 3 … 8. days: from DAY_EDGES. baskets, households: powers of two. later: tens of per cent.

    >>> bucket("times", 1), bucket("days", 6), bucket("baskets", 0), bucket("baskets", 5), bucket("later", 54)
    (0, 5, 0, 3, 5)
    """
    match kind:
        case "times":
            place = value - 1
        case "days":
            place = sum(edge <= value for edge in DAY_EDGES) - 1
        case "baskets" | "households":
            place = max(value, 0).bit_length()
        case "later":
            place = value // 10
    return min(max(place, 0), BUCKETS[kind] - 1)


def value_token(kind: Kind, value: int) -> int:
    """The token that says this value."""
    return STARTS[kind] + bucket(kind, value)


def line_token(index: int) -> int:
    """Of a line of the history, by its index from 1."""
    return FIRST_LINE + index - 1


def line_of(token: int) -> int | None:
    """The index that a token points at; None for another token."""
    return token - FIRST_LINE + 1 if FIRST_LINE <= token < FIRST_VALUE else None


def value_of(token: int) -> tuple[Kind, int] | None:
    """Kind and bucket; None for another token.

    >>> value_of(value_token("later", 54)), value_of(POINT)
    (('later', 5), None)
    """
    if not FIRST_VALUE <= token < FIRST_QUERY:
        return None
    kind = max((kind for kind in KINDS if STARTS[kind] <= token), key=STARTS.__getitem__)
    return kind, token - STARTS[kind]


def query_of(token: int) -> int | None:
    """The query's number in the lexicon; None for another token."""
    return token - FIRST_QUERY if token >= FIRST_QUERY else None


@dataclass(frozen=True)
class Lexicon:
    """The queries that can be written, most popular first; a query's place is its number."""

    queries: Sequence[str]
    numbers: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        numbers = {normalise_query(query): number for number, query in enumerate(self.queries)}
        object.__setattr__(self, "numbers", numbers)

    @cached_property
    def tokens(self) -> int:
        """How many tokens there are in all."""
        return FIRST_QUERY + len(self.queries)

    def number(self, text: str) -> int | None:
        """Of a query with the same normal form; None when there is none."""
        return self.numbers.get(normalise_query(text))

    def token(self, text: str) -> int | None:
        """The query's token."""
        number = self.number(text)
        return None if number is None else FIRST_QUERY + number

    def known(self, history: History) -> frozenset[int]:
        """Numbers of the queries that stand in a history: no point leads to what is there already."""
        numbers = (self.number(line.text) for line in history.lines[:LINES])
        return frozenset(number for number in numbers if number is not None)
