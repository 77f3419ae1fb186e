"""The session interest embedding: a decayed, commutative sum of behaviour embeddings.

    S_h(T) = Σ_i w(action_i) · 2^(−(T − t_i)/h) · e(text_i)        interest_h = S_h / |S_h|

The paper has no such embedding (its nearline module fires on "meaningful behavioral signals", §4.1);
this is ours. Two half-lives h: this visit, and this shopper. Scaling S by a constant leaves the interest
alone, so S is kept as of its newest behaviour and never rewritten because time went by. The sum is
commutative: a late event lands where an in-order stream would have put it, up to rounding.

S is kept as 16-bit steps of a scale: time makes the scale smaller and leaves the steps, so what only fades is
never rounded; when a sum outgrows its steps, the scale becomes twice as coarse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from streams.hint_request import Float, Int8, to_int8, to_unit
from streams.records import Action

Int16 = npt.NDArray[np.int16]
Float64 = npt.NDArray[np.float64]
Pair = tuple[float, float]

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
FADED: Final = 1e-12  # a sum of smaller numbers is no interest any more
LEAST_LEFT: Final = 1e-4  # of a sum; what a difference leaves below it is rounding
FULL: Final = 32_000  # steps: of 32,767
HALF_FULL: Final = FULL // 2
NOTHING_BESIDE: Final = 2.0**40  # steps: beside such a gain nothing is left of them


@dataclass(frozen=True, slots=True)
class InterestPolicy:
    """Half-lives in ms: minutes to hours for the visit, weeks for the shopper."""

    visit_half_life_ms: float = 2 * 3_600_000.0
    shopper_half_life_ms: float = 60 * 86_400_000.0


class Embedded(NamedTuple):
    """A text's embedding as sums take it: (D,) float32, and the size of its greatest number."""

    unit: Float
    peak: float

    @classmethod
    def of(cls, vector: Int8) -> Embedded:
        """From e(text), (D,) int8."""
        unit = to_unit(vector)
        return cls(unit, float(np.abs(unit).max(initial=0.0)))


class Interest(NamedTuple):
    """The two decayed sums as of `at_ms`, the newest behaviour's event time.

    steps: (2, D) int16, S_h / scale_h. scales: what a step of either sum is worth. bounds: no step is
    greater. Steps are rounded with every behaviour, so that it makes no difference which came in one batch.
    """

    steps: Int16
    scales: Pair
    bounds: tuple[int, int]
    at_ms: int

    @classmethod
    def empty(cls, dim: int) -> Interest:
        """No behaviour yet."""
        return cls(np.zeros((2, dim), np.int16), (0.0, 0.0), (0, 0), 0)

    @classmethod
    def of(cls, sums: Float64, at_ms: int, rounding: Float64) -> Interest:
        """Sums (2, D) in steps; one of no number greater than its `rounding`, (2,), is none."""
        lengths = np.abs(sums).max(axis=1, initial=0.0)
        lengths[lengths <= FADED + rounding] = 0.0
        visit, shopper = (lengths / HALF_FULL).tolist()
        steps = np.rint(sums / _column(visit or math.inf, shopper or math.inf)).astype(np.int16)
        return cls(steps, (visit, shopper), (HALF_FULL, HALF_FULL), at_ms)

    @property
    def dim(self) -> int:
        """D."""
        return int(self.steps.shape[1])

    def add(self, vector: Int8, action: int, at_ms: int, policy: InterestPolicy) -> Interest:
        """The sums with one more behaviour; `vector` is e(text), (D,) int8."""
        return self.with_embedded(Embedded.of(vector), ACTION_WEIGHTS[action], at_ms, policy)

    def with_embedded(self, text: Embedded, weight: float, at_ms: int, policy: InterestPolicy) -> Interest:
        """The sums with one more behaviour of that weight."""
        if at_ms >= self.at_ms:
            return self._as_of(at_ms, policy)._with_gains(text, (weight, weight))
        visit, shopper = _decayed((weight, weight), self.at_ms - at_ms, policy)
        return self._with_gains(text, (visit if visit > FADED else 0.0, shopper if shopper > FADED else 0.0))

    def _as_of(self, at_ms: int, policy: InterestPolicy) -> Interest:
        """A later time: the steps stay."""
        if at_ms == self.at_ms:
            return self
        return Interest(self.steps, _decayed(self.scales, at_ms - self.at_ms, policy), self.bounds, at_ms)

    def _with_gains(self, text: Embedded, gains: Pair) -> Interest:
        if not text.peak:
            return self
        (visit, shopper), (visit_gain, shopper_gain) = self.scales, gains
        visit_bound = _grown(self.bounds[VISIT], visit, visit_gain * text.peak)
        shopper_bound = _grown(self.bounds[SHOPPER], shopper, shopper_gain * text.peak)
        if max(visit_bound, shopper_bound) > FULL:
            return self._with_room(text.peak, gains)._with_gains(text, gains)
        worth = _column(visit_gain / visit if visit else 0.0, shopper_gain / shopper if shopper else 0.0)
        steps = self.steps + np.rint(text.unit * worth).astype(np.int16)
        return Interest(steps, self.scales, (visit_bound, shopper_bound), self.at_ms)

    def _with_room(self, peak: float, gains: Pair) -> Interest:
        """The same sums, in steps so coarse that gains of numbers up to `peak` fit 16 bits."""
        visit, shopper = np.abs(self.steps.astype(np.int32)).max(axis=1, initial=0).tolist()
        visit_scale, visit_kept = _room_for(gains[VISIT] * peak, self.scales[VISIT], visit)
        shopper_scale, shopper_kept = _room_for(gains[SHOPPER] * peak, self.scales[SHOPPER], shopper)
        steps = np.rint(self.steps * _column(visit_kept, shopper_kept)).astype(np.int16)
        bounds = math.ceil(visit * visit_kept + 0.5), math.ceil(shopper * shopper_kept + 0.5)
        return Interest(steps, (visit_scale, shopper_scale), bounds, self.at_ms)

    def plus(self, other: Interest, policy: InterestPolicy) -> Interest:
        """Both histories' sums, as of the newer of the two."""
        return self._combined(other, 1, policy)

    def without(self, other: Interest, policy: InterestPolicy) -> Interest:
        """What is left of the sums, as of the newer of the two, without `other`'s part."""
        return self._combined(other, -1, policy)

    def _combined(self, other: Interest, sign: int, policy: InterestPolicy) -> Interest:
        at_ms = max(self.at_ms, other.at_ms)
        mine, theirs = self._as_of(at_ms, policy).sums(), other._as_of(at_ms, policy).sums()
        rounding = LEAST_LEFT * np.abs(mine).max(axis=1, initial=0.0)
        return Interest.of(mine + sign * theirs, at_ms, rounding)

    def sums(self) -> Float64:
        """S_h as of `at_ms`, (2, D)."""
        return self.steps * _column(*self.scales)

    def unit(self) -> Int8:
        """Visit and shopper interest as (2, D) int8 unit vectors; zeros where there is none."""
        return np.stack((self.unit_of(VISIT), self.unit_of(SHOPPER)))

    def unit_of(self, which: int) -> Int8:
        """One of them, (D,)."""
        steps = self.steps[which].astype(np.float32)
        length = math.sqrt(steps.dot(steps)) if self.scales[which] * FULL > FADED else 0.0
        return to_int8(steps / np.float32(length or math.inf))


def _grown(bound: int, scale: float, peak: float) -> int:
    """The bound of a sum to which numbers up to `peak` were added; above FULL: they may not fit."""
    if peak > scale * FULL:
        return FULL + 1
    return bound + math.ceil(peak / scale + 0.5) if scale else bound


def _room_for(peak: float, scale: float, length: int) -> tuple[float, float]:
    """A scale for steps up to `length` and numbers up to `peak`, and the old scale as a part of it."""
    if peak > scale * NOTHING_BESIDE:
        return peak / HALF_FULL, 0.0
    needed = (length + peak / scale) / HALF_FULL if scale else 1.0
    coarser = 2.0 ** max(0, math.ceil(math.log2(needed or 1.0)))
    return scale * coarser, 1 / coarser


def _column(visit: float, shopper: float) -> Float64:
    """(2, 1)."""
    return np.array(((visit,), (shopper,)))


def _decayed(values: Pair, age_ms: int, policy: InterestPolicy) -> Pair:
    """The visit's and the shopper's value after so long."""
    visit, shopper = values
    visit *= math.exp2(-age_ms / policy.visit_half_life_ms)
    return visit, shopper * math.exp2(-age_ms / policy.shopper_half_life_ms)


def drift(now: Int8, listed: Int8) -> float:
    """1 − cos(visit's unit interest now, at the last list), both (D,), 0 to 2; 1 when either is empty."""
    a, b = to_unit(now), to_unit(listed)
    norm = float(np.sqrt(a.dot(a)) * np.sqrt(b.dot(b)))
    return min(2.0, max(0.0, 1.0 - float(a.dot(b)) / norm)) if norm > 0 else 1.0  # rounding can pass the ends
