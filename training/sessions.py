"""Training and evaluation samples: a household's state at a basket, and what the basket then held.

The states are made with the functions that live sessions use (window, interest, context arrays), from the
baskets of training.baskets. Two tasks, one sample each a basket:

- NEXT: before the basket's first event. Either as of the basket's time, when the shopper opens the shop,
  or as of the event before it, when they left; training draws one, an evaluation says which (`opened`);
- REST: after a part of the basket was bought. For half of the baskets its own simulated searches were seen
  too; with `honest`, as in every evaluation, never, since they are made from what is being predicted.
  Of a log's own searches those are seen that came before.

The paper's sessions are exposures with a click (§3.3.1) and days; training.label_blocks has both kinds.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, product
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from agents.hints.context import Contexts, QueryIndex, context_arrays
from agents.session.habit import NO_HABIT, with_all
from agents.session.interest import Interest, InterestPolicy
from agents.session.step import TextEncoder
from agents.session.window import Window
from streams.hint_request import Behaviour, HintRequest, Version
from training.baskets import Basket, household_baskets, logged_baskets
from training.datasets.complete_journey import HABIT_HALF_LIFE_MS, WHOLE_YEAR, Span

NEXT: Final = 0
REST: Final = 1
REST_TYPES_MIN: Final = 4  # a rest-of-basket sample needs a basket of so many phrases
CHUNK: Final = 2_048


@dataclass(frozen=True, slots=True)
class Sample:
    """One context's truth. `items`: lexicon numbers still to come; `habit`: the household's decayed count
    of each. `texts`: all phrases still to come, also those that the lexicon lacks."""

    task: int
    household_id: int
    basket_id: int
    time_ms: int
    items: tuple[int, ...]
    habit: tuple[float, ...]
    texts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Samples:
    """B samples and their contexts, row by row."""

    samples: list[Sample]
    contexts: Contexts

    def __len__(self) -> int:
        return len(self.samples)

    def at(self, rows: npt.NDArray[np.int64]) -> Samples:
        """The named rows, in that order."""
        return Samples([self.samples[row] for row in rows], taken(self.contexts, rows))


@dataclass(slots=True)
class _State:
    """What a live session keeps, as far as generation depends on it."""

    interest: Interest
    window: Window = field(default_factory=Window)
    older: bytes = NO_HABIT
    habit: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def after(self, behaviours: list[Behaviour], encoder: TextEncoder) -> _State:
        """The state with more behaviours; what is too late for a live session is left out. Shares `habit`."""
        interest, window, older = self.interest, self.window, self.older
        for behaviour in behaviours:
            grown = window.with_behaviour(behaviour)
            if grown is None:
                continue
            window, left = grown
            older = with_all(older, left)
            vector = encoder.embed(behaviour.text)
            interest = interest.add(vector, behaviour.action, behaviour.at_ms, InterestPolicy())
        return _State(interest, window, older, self.habit)


@dataclass(frozen=True, slots=True)
class SampleMaker:
    """Makes the samples of baskets in `span`; `honest` for evaluation (see the module)."""

    encoder: TextEncoder
    number: dict[str, int]
    span: Span
    tasks: tuple[int, ...] = (NEXT, REST)
    honest: bool = False
    opened: bool | None = None
    seed: int = 0

    def make(self, purchases: pl.DataFrame, behaviours: pl.DataFrame | None = None) -> Samples:
        """Samples of all households and their arrays, in order of household, basket time, task."""
        samples: list[Sample] = []
        parts: list[Contexts] = []
        waiting: list[HintRequest] = []
        index = QueryIndex(list(self.number))
        for sample, request in self.pairs(purchases, behaviours):
            samples.append(sample)
            waiting.append(request)
            if len(waiting) == CHUNK:
                parts.append(context_arrays(waiting, index))
                waiting = []
        if waiting:
            parts.append(context_arrays(waiting, index))
        return Samples(samples, joined(parts))

    def pairs(
        self, purchases: pl.DataFrame, behaviours: pl.DataFrame | None = None
    ) -> Iterator[tuple[Sample, HintRequest]]:
        """Each sample with the request that a live session would have sent.

        behaviours: of the same households at least, as a log has them (training.datasets.shop_frames); None:
        searches and the order within a basket are simulated.
        """
        households = household_baskets(purchases, self.seed)
        if behaviours is not None:
            chosen = pl.col("household_id").is_in(purchases["household_id"].unique().to_list())
            households = logged_baskets(behaviours.filter(chosen, pl.col("time_ms") < self.span.end_ms))
        for household_id, baskets in households:
            yield from self._household(household_id, baskets)

    def _household(self, household_id: int, baskets: list[Basket]) -> Iterator[tuple[Sample, HintRequest]]:
        state = _State(Interest.empty(self.encoder.dim))
        logged: list[Behaviour] = []  # not yet in the state
        # Baskets of the same second are no history of each other.
        for time_ms, moment in groupby(baskets, key=lambda basket: basket.time_ms):
            together = list(moment)
            past = sorted((one for one in logged if one.at_ms < time_ms), key=lambda one: one.at_ms)
            logged = [one for one in logged if one.at_ms >= time_ms]
            state = state.after(past, self.encoder)
            if self.span.start_ms <= time_ms < self.span.end_ms:
                for basket, task in product(together, self.tasks):
                    made = self._sample(task, household_id, basket, state)
                    if made is not None:
                        yield made
            for basket in together:
                if basket.logged:
                    logged += [*basket.searches, *basket.purchases]
                else:
                    state = state.after([*basket.searches, *basket.purchases], self.encoder)
                self._remember(state.habit, basket)

    def _sample(
        self, task: int, household_id: int, basket: Basket, state: _State
    ) -> tuple[Sample, HintRequest] | None:
        if not basket.purchases:
            return None
        seen: list[Behaviour] = []
        if task == REST:
            seen = self._part(basket)
            state = state.after(seen, self.encoder)
        done = {behaviour.text for behaviour in seen}
        items = sorted(self._numbers([basket]) - {self.number.get(text, -1) for text in done})
        if (task == REST and not (seen and items)) or not (items or self.honest):
            return None
        habit = tuple(state.habit.get(item, 0.0) / self._growth(basket.time_ms) for item in items)
        texts = frozenset(behaviour.text for behaviour in basket.purchases) - done
        sample = Sample(task, household_id, basket.basket_id, basket.time_ms, tuple(items), habit, texts)
        as_of_ms = state.interest.at_ms
        if task == NEXT and self._opened(basket):
            as_of_ms = basket.time_ms
        return sample, self._request(household_id, state, as_of_ms or basket.time_ms)

    def _opened(self, basket: Basket) -> bool:
        if self.opened is not None:
            return self.opened
        chance = random.Random(f"{self.seed}:opened:{basket.basket_id}")  # noqa: S311 - a simulation, no secret
        return chance.random() < 0.5

    def _part(self, basket: Basket) -> list[Behaviour]:
        """The part of a basket that was seen, half of it when honest; [] when the basket is too small."""
        count = len(basket.purchases)
        if count < REST_TYPES_MIN:
            return []
        chance = random.Random(f"{self.seed}:rest:{basket.basket_id}")  # noqa: S311 - a simulation, no secret
        bought = basket.purchases[: count // 2 if self.honest else chance.randrange(count)]
        if basket.logged:
            now_ms = bought[-1].at_ms if bought else basket.time_ms
            searched = [search for search in basket.searches if search.at_ms <= now_ms]
        else:
            searched = basket.searches if not self.honest and chance.random() < 0.5 else []
        return [*searched, *bought]

    def _numbers(self, baskets: list[Basket]) -> set[int]:
        texts = {behaviour.text for basket in baskets for behaviour in basket.purchases}
        return {self.number[text] for text in texts if text in self.number}

    def _remember(self, habit: defaultdict[int, float], basket: Basket) -> None:
        for number in self._numbers([basket]):
            habit[number] += self._growth(basket.time_ms)

    @staticmethod
    def _growth(time_ms: int) -> float:
        return float(2.0 ** ((time_ms - WHOLE_YEAR.start_ms) / HABIT_HALF_LIFE_MS))

    def _request(self, household_id: int, state: _State, as_of_ms: int) -> HintRequest:
        """As the session agent would have asked then."""
        behaviours = state.window.behaviours()
        vectors = [self.encoder.embed(behaviour.text) for behaviour in behaviours]
        empty = np.zeros((0, self.encoder.dim), np.int8)
        return HintRequest(
            user=f"hh-{household_id}",
            version=Version(as_of_ms, 0),
            reason="first",
            drift=1.0,
            encoder=self.encoder.name,
            behaviours=behaviours,
            vectors=np.stack(vectors) if vectors else empty,
            interests=state.interest.unit(),
            habit=state.older,
        )


def joined(parts: list[Contexts]) -> Contexts:
    """Contexts one after the other; at least one."""
    arrays = [part.inputs() for part in parts]
    return Contexts(**{name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]})


def taken(contexts: Contexts, rows: npt.NDArray[np.int64]) -> Contexts:
    """The named rows, in that order."""
    return Contexts(
        contexts.events[rows],
        contexts.actions[rows],
        contexts.ages[rows],
        contexts.repeats[rows],
        contexts.interests[rows],
        contexts.habits[rows],
    )
