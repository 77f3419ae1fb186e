"""Training and evaluation samples: a household's state at a basket, and what the basket then held.

The states are made with the functions that live sessions use (window, interest, context arrays), from real
purchases and the simulated searches of training.datasets.events. Two tasks, one sample each a basket:

- NEXT: before the basket's first event. Either as of the basket's time, when the shopper opens the shop,
  or as of the event before it, when they left; training draws one, an evaluation says which (`opened`);
- REST: after a part of the basket was bought. For half of the baskets its own simulated searches were seen
  too; with `honest`, as in every evaluation, never, since they are made from what is being predicted.

The paper's sessions are exposures with a click (§3.3.1); exposures come with a later data set of ours.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, product
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from agents.hints.context import Contexts, context_arrays
from agents.session.interest import ACTION_CODES, Interest, InterestPolicy
from agents.session.step import TextEncoder
from agents.session.window import clip_text, insert
from streams.hint_request import Behaviour, HintRequest, Version
from streams.records import Action
from training.baselines import HABIT_HALF_LIFE_MS
from training.datasets.complete_journey import WHOLE_YEAR, Span
from training.datasets.events import Bought, basket_events

NEXT: Final = 0
REST: Final = 1
REST_TYPES_MIN: Final = 4  # a rest-of-basket sample needs a basket of so many phrases
CHUNK: Final = 2_048


class Basket(NamedTuple):
    """One basket of one household with its events' behaviours in event-time order."""

    basket_id: int
    time_ms: int
    searches: list[Behaviour]
    purchases: list[Behaviour]


@dataclass(frozen=True, slots=True)
class Sample:
    """One context's truth. `items`: lexicon numbers still to come; `habit`: the household's decayed count
    of each; `later`: lexicon numbers of its following baskets in time order, without `items`. `texts`: all
    phrases still to come, also those that the lexicon lacks."""

    task: int
    household_id: int
    time_ms: int
    items: tuple[int, ...]
    habit: tuple[float, ...]
    later: tuple[int, ...]
    texts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Samples:
    """B samples and their contexts, row by row."""

    samples: list[Sample]
    contexts: Contexts

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(slots=True)
class _State:
    """What a live session keeps, as far as generation depends on it."""

    interest: Interest
    window: tuple[Behaviour, ...] = ()
    habit: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))

    def after(self, behaviours: list[Behaviour], encoder: TextEncoder) -> _State:
        """The state with more behaviours; `habit` is shared."""
        interest, window = self.interest, self.window
        for behaviour in behaviours:
            vector = encoder.embed(behaviour.text)
            interest = interest.add(vector, behaviour.action, behaviour.at_ms, InterestPolicy())
            window = insert(window, behaviour)
        return _State(interest, window, self.habit)


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
    later_max: int = 24

    def make(self, purchases: pl.DataFrame) -> Samples:
        """Samples of all households and their arrays, in order of household, basket time, task."""
        samples: list[Sample] = []
        parts: list[Contexts] = []
        waiting: list[HintRequest] = []
        for sample, request in self.pairs(purchases):
            samples.append(sample)
            waiting.append(request)
            if len(waiting) == CHUNK:
                parts.append(context_arrays(waiting))
                waiting = []
        if waiting:
            parts.append(context_arrays(waiting))
        return Samples(samples, joined(parts))

    def pairs(self, purchases: pl.DataFrame) -> Iterator[tuple[Sample, HintRequest]]:
        """Each sample with the request that a live session would have sent."""
        for household_id, baskets in household_baskets(purchases, self.seed):
            yield from self._household(household_id, baskets)

    def _household(self, household_id: int, baskets: list[Basket]) -> Iterator[tuple[Sample, HintRequest]]:
        state = _State(Interest.empty(self.encoder.dim))
        # Baskets of the same second are no history of each other.
        for time_ms, moment in groupby(enumerate(baskets), key=lambda entry: entry[1].time_ms):
            together = list(moment)
            if self.span.start_ms <= time_ms < self.span.end_ms:
                for (place, _), task in product(together, self.tasks):
                    made = self._sample(task, household_id, baskets, place, state)
                    if made is not None:
                        yield made
            for _, basket in together:
                state = state.after([*basket.searches, *basket.purchases], self.encoder)
                self._remember(state.habit, basket)

    def _sample(
        self, task: int, household_id: int, baskets: list[Basket], place: int, state: _State
    ) -> tuple[Sample, HintRequest] | None:
        basket = baskets[place]
        seen: list[Behaviour] = []
        if task == REST:
            seen = self._part(basket)
            state = state.after(seen, self.encoder)
        done = {behaviour.text for behaviour in seen}
        items = sorted(self._numbers([basket]) - {self.number.get(text, -1) for text in done})
        if (task == REST and not (seen and items)) or not (items or self.honest):
            return None
        later = [number for number in self._later(baskets[place + 1 :]) if number not in items]
        habit = tuple(state.habit.get(item, 0.0) / self._growth(basket.time_ms) for item in items)
        texts = frozenset(behaviour.text for behaviour in basket.purchases) - done
        sample = Sample(
            task, household_id, basket.time_ms, tuple(items), habit, tuple(later[: self.later_max]), texts
        )
        as_of_ms = state.interest.at_ms
        if task == NEXT and self._opened(basket):
            as_of_ms = basket.time_ms
        return sample, self._request(household_id, state, as_of_ms or basket.time_ms)

    def _opened(self, basket: Basket) -> bool:
        if self.opened is not None:
            return self.opened
        chance = random.Random(f"{self.seed}:opened:{basket.basket_id}")  # noqa: S311 - a simulation
        return chance.random() < 0.5

    def _part(self, basket: Basket) -> list[Behaviour]:
        """The part of a basket that was seen, half of it when honest; [] when the basket is too small."""
        if len(basket.purchases) < REST_TYPES_MIN:
            return []
        if self.honest:
            return basket.purchases[: len(basket.purchases) // 2]
        chance = random.Random(f"{self.seed}:rest:{basket.basket_id}")  # noqa: S311 - a simulation
        bought = basket.purchases[: chance.randrange(len(basket.purchases))]
        searched = basket.searches if chance.random() < 0.5 else []
        return [*searched, *bought]

    def _later(self, baskets: list[Basket]) -> list[int]:
        """Phrases of the following baskets in time order, each once."""
        found: dict[int, None] = {}
        for basket in baskets:
            found.update(dict.fromkeys(sorted(self._numbers([basket]))))
            if len(found) >= 2 * self.later_max:
                break
        return list(found)

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
        vectors = [self.encoder.embed(behaviour.text) for behaviour in state.window]
        empty = np.zeros((0, self.encoder.dim), np.int8)
        return HintRequest(
            user=f"hh-{household_id}",
            version=Version(as_of_ms, 0),
            reason="first",
            drift=1.0,
            encoder=self.encoder.name,
            behaviours=state.window,
            vectors=np.stack(vectors) if vectors else empty,
            interests=state.interest.unit(),
        )


def household_baskets(purchases: pl.DataFrame, seed: int) -> Iterator[tuple[int, list[Basket]]]:
    """Each household's baskets in time order, with the events that training.datasets.events makes."""
    columns = ("household_id", "time_ms", "basket_id")
    rows = purchases.sort(*columns, "type_id").select(
        *columns, "type_id", "phrase", "category_phrase", "quantity", "sales_value"
    )
    for household_id, lines in groupby(rows.iter_rows(), key=lambda row: int(row[0])):
        baskets = []
        for (time_ms, basket_id), bought in groupby(lines, key=lambda row: (int(row[1]), int(row[2]))):
            things = [Bought(place, *row[3:]) for place, row in enumerate(bought)]
            baskets.append(_basket(household_id, basket_id, time_ms, things, seed))
        yield household_id, baskets


def _basket(household_id: int, basket_id: int, time_ms: int, bought: list[Bought], seed: int) -> Basket:
    searches, purchases = [], []
    for event in basket_events(household_id, basket_id, time_ms, bought, seed=seed):
        if event["action_name"] == Action.SEARCH:
            text = clip_text(event["user_query"])
            searches.append(Behaviour(ACTION_CODES[Action.SEARCH], event["timestamp"], text))
        else:
            text = clip_text(event["event_attributes"]["object"]["title"])
            purchases.append(Behaviour(ACTION_CODES[Action.PURCHASE], event["timestamp"], text))
    searches.sort(key=lambda behaviour: behaviour.at_ms)
    purchases.sort(key=lambda behaviour: behaviour.at_ms)
    return Basket(basket_id, time_ms, searches, purchases)


def joined(parts: list[Contexts]) -> Contexts:
    """Contexts one after the other."""
    return Contexts(
        np.concatenate([part.events for part in parts]),
        np.concatenate([part.actions for part in parts]),
        np.concatenate([part.ages for part in parts]),
        np.concatenate([part.repeats for part in parts]),
        np.concatenate([part.interests for part in parts]),
    )


def taken(contexts: Contexts, rows: npt.NDArray[np.int64]) -> Contexts:
    """The named rows, in that order."""
    return Contexts(
        contexts.events[rows],
        contexts.actions[rows],
        contexts.ages[rows],
        contexts.repeats[rows],
        contexts.interests[rows],
    )
