"""The session interest embedding: a decayed, commutative sum of behaviour embeddings.

    S_h(T) = Σ_i w(action_i) · 2^(−(T − t_i)/h) · e(text_i)        interest_h = S_h / |S_h|

The paper has no such embedding (its nearline module fires on "meaningful behavioral signals", §4.1);
this is ours. Two half-lives h: this visit, and this shopper. Scaling S by a constant leaves the interest
alone, so S is kept as of its newest behaviour and never rewritten because time went by. The sum is
commutative: a late event lands where an in-order stream would have put it, up to float rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from streams.hint_request import Float, Int8, to_int8, to_unit
from streams.records import Action

VISIT: Final = 0
SHOPPER: Final = 1

# Codes are stored in session states and trained into models: never renumber. 0 is padding.
ACTION_CODES: Final = {
    Action.VIEW: 1,
    Action.CLICK: 2,
    Action.SEARCH: 3,
    Action.ADD_TO_CART: 4,
    Action.PURCHASE: 5,
}
# Ours: how much one behaviour says about interest, by action code.
ACTION_WEIGHTS: Final = (0.0, 0.5, 1.0, 2.0, 2.0, 2.0)
FADED: Final = 1e-12  # a sum that is shorter is no interest any more


@dataclass(frozen=True, slots=True)
class InterestPolicy:
    """Half-lives in ms: minutes to hours for the visit, weeks for the shopper."""

    visit_half_life_ms: float = 2 * 3_600_000.0
    shopper_half_life_ms: float = 60 * 86_400_000.0


class Interest(NamedTuple):
    """The two decayed sums, (2, D) float32, as of `at_ms`, the newest behaviour's event time."""

    sums: Float
    at_ms: int

    @classmethod
    def empty(cls, dim: int) -> Interest:
        """No behaviour yet."""
        return cls(np.zeros((2, dim), np.float32), 0)

    def add(self, vector: Int8, action: int, at_ms: int, policy: InterestPolicy) -> Interest:
        """The sums with one more behaviour; `vector` is e(text), (D,) int8."""
        return self.with_gain(gain_of(vector, action), at_ms, policy)

    def with_gain(self, gain: Float, at_ms: int, policy: InterestPolicy) -> Interest:
        """The sums with one more behaviour, of which `gain_of` is known."""
        if at_ms == self.at_ms:
            return Interest(self.sums + gain, at_ms)
        decay = _decay(abs(at_ms - self.at_ms), policy)
        if at_ms > self.at_ms:
            return Interest(self.sums * decay + gain, at_ms)
        return Interest(self.sums + decay * gain, self.at_ms)

    def plus(self, other: Interest, policy: InterestPolicy) -> Interest:
        """Both histories' sums, as of the newer of the two."""
        at_ms = max(self.at_ms, other.at_ms)
        return Interest(self._sums_at(at_ms, policy) + other._sums_at(at_ms, policy), at_ms)

    def without(self, other: Interest, policy: InterestPolicy) -> Interest:
        """What is left of the sums, as of the newer of the two, without `other`'s part."""
        return self.plus(Interest(-other.sums, other.at_ms), policy)

    def _sums_at(self, at_ms: int, policy: InterestPolicy) -> Float:
        return self.sums * _decay(at_ms - self.at_ms, policy)

    def unit(self) -> Int8:
        """Visit and shopper interest as (2, D) int8 unit vectors; zeros where there is none."""
        squares = np.add.reduce(self.sums * self.sums, axis=1).tolist()
        lengths = [(math.sqrt(square) if square > FADED**2 else math.inf,) for square in squares]
        divisor: Float = np.array(lengths, np.float32)
        return to_int8(self.sums / divisor)


def gain_of(vector: Int8, action: int) -> Float:
    """What one behaviour adds to a sum when it happens, (D,) float32; `vector` is e(text), (D,) int8."""
    return ACTION_WEIGHTS[action] * to_unit(vector)


def _decay(age_ms: int, policy: InterestPolicy) -> Float:
    """(2, 1): what is left of a sum's two halves after so long."""
    visit = math.exp2(-age_ms / policy.visit_half_life_ms)
    shopper = math.exp2(-age_ms / policy.shopper_half_life_ms)
    return np.array(((visit,), (shopper,)), np.float32)


def drift(now: Int8, listed: Int8) -> float:
    """1 − cos(visit's unit interest now, at the last list), both (D,), 0 to 2; 1 when either is empty."""
    a, b = to_unit(now), to_unit(listed)
    norm = float(np.sqrt(a.dot(a)) * np.sqrt(b.dot(b)))
    return min(2.0, max(0.0, 1.0 - float(a.dot(b)) / norm)) if norm > 0 else 1.0  # rounding can pass the ends
