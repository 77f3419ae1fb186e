"""The daily loop: ranker and policy learn from yesterday every morning, and are judged on the new day.

    φ_{T+1} ← Train(φ_T, D_T)                      training.daily_ranker
    π_{T+1} ← RL(π_T, r_CTR with φ_{T+1})          [P Eq 15, Figure 3]

On the morning of a day (midnight, UTC) the ranker goes on with the hints of the day before, and IL-GRPO goes
on from the last policy, not from SFT, with the contexts of the day before and what was then bought. A log's
basket is history when it is known to be over, a pause after its last purchase: around midnight that is a
morning later. (A log does not keep when a hint was clicked: of its own hints a click may be known that came
after midnight, and after its basket.) The day is judged with what its morning made, and beside it with the
start, which is never updated (training.evaluation.daily_figures).

    OUT/2017-12-01/ranker/     state.pt, curve.jsonl, ranker.pt
    OUT/2017-12-01/policy/     state.pt, curve.jsonl, generator.pt       …
    OUT/daily.json daily.png   the result

Each day's training is a run of training.loop: what was stopped goes on, what is complete is left as it is.
How many steps a day, how the ranker is refreshed and that each day begins with a fresh optimizer is ours; so
is that the hints of the log come from the data set's logging policy, not from what the policy would have
shown. Days before the first one and after the training span are new to nobody: neither arm has seen them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from agents.session.interest import ACTION_CODES
from streams.errors import TrainingError
from streams.records import Action
from training.base import DAY_MS
from training.checkpoint import Checkpoint, digest, load_run
from training.daily_ranker import RefreshConfig, joined_hints, refresh_ranker, replay_pool
from training.datasets.complete_journey import Span
from training.datasets.dataset import Dataset
from training.datasets.dataset_config import PARTS
from training.datasets.shop_frames import PAUSE_MS
from training.datasets.whole_files import replaced
from training.evaluation.ab_test import Draws
from training.evaluation.daily_figures import Judged, Served, daily_entry, joined_days, judged_day
from training.evaluation.daily_picture import draw_days
from training.evaluation.report import plain
from training.grpo import run_grpo
from training.grpo_config import GrpoConfig
from training.ranker import ClickRanker, HintFeatures
from training.ranker_run import Shown, with_features
from training.sessions import NEXT, Samples, joined

Int64 = npt.NDArray[np.int64]

RESULT_NAME: Final = "daily.json"
PICTURE_NAME: Final = "daily.png"
SEEDS_APART: Final = 1_000  # days that a seed has for itself


@dataclass(frozen=True, slots=True)
class DailyConfig:
    """days: at most so many; fewer when `part` ends before. grpo: of one morning; its seed is set by `seed`
    and the day. part: "test" or "validate", the days that are judged. draws: of households."""

    days: int = 10
    seed: int = 0
    threads: int = 1
    refresh: RefreshConfig = field(default_factory=RefreshConfig)
    grpo: GrpoConfig = field(default_factory=lambda: GrpoConfig(steps=8))
    part: str = "test"
    draws: Draws = Draws()  # noqa: RUF009 - frozen


SMALL: Final = DailyConfig(refresh=RefreshConfig(steps=20, pool=2_000), grpo=GrpoConfig(steps=2, batch=16))


def run_daily(
    out: Path, start: Checkpoint, ranker: ClickRanker, data: Dataset, config: DailyConfig = DailyConfig()
) -> Path:
    """Live through the days, or go on where they were stopped; returns `out`/daily.json, beside it a picture.

    Raises TrainingError: no day begins in the part, or what training.loop raises.
    """
    days = days_of(getattr(data.split, config.part), config.days)
    mornings = _Mornings(out, data, DayLog.of(data, days), config)
    frozen = Served(start, ranker)
    judged: list[Judged] = []
    entries: list[dict[str, Any]] = []
    for day_ms, served, learnt in mornings.of(days, frozen):
        judged.append(judged_day(mornings.log.next_baskets(day_ms), data, served, frozen))
        entries.append({"day": day_name(day_ms), "learnt": learnt, **daily_entry(judged[-1], config.draws)})
    together = daily_entry(joined_days(judged), config.draws)
    result = plain({"about": _about(data, start, ranker, config), "days": entries, "together": together})
    with replaced(out / RESULT_NAME) as unfinished:
        unfinished.write_bytes(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    draw_days(result["days"], out / PICTURE_NAME)
    return out / RESULT_NAME


def days_of(span: Span, count: int) -> list[int]:
    """The first `count` midnights, UTC, epoch ms, at which a day of the span begins. Raises TrainingError."""
    first_ms = -(-span.start_ms // DAY_MS) * DAY_MS
    days = list(range(first_ms, span.end_ms, DAY_MS))[:count]
    if not days:
        raise TrainingError(
            "No day begins in the span that was to be lived through.",
            action="Ask for one day at least, and take a data set with a longer test span.",
        )
    return days


def day_name(day_ms: int) -> str:
    """As 2017-12-01."""
    return datetime.fromtimestamp(day_ms / 1000, UTC).date().isoformat()


@dataclass(frozen=True, slots=True)
class DayLog:
    """Samples around the days, and when the basket of each was known to be over, (B,) epoch ms."""

    data: Dataset
    samples: Samples
    over_ms: Int64

    @classmethod
    def of(cls, data: Dataset, days: list[int]) -> DayLog:
        """From the day before the first one on."""
        begin_ms, end_ms = days[0] - DAY_MS, days[-1] + DAY_MS
        spans = dict(zip(PARTS, data.split, strict=True))
        # One more: what was begun the day before that may be over in it.
        near = [
            part for part, span in spans.items() if span.end_ms > begin_ms - DAY_MS and span.start_ms < end_ms
        ]
        parts = [data.samples(part) for part in near]
        whole = Samples(
            [one for part in parts for one in part.samples], joined([part.contexts for part in parts])
        )
        return cls(data, whole, over_ms(data, whole))

    def history(self, start_ms: int, end_ms: int) -> Samples:
        """Samples whose basket was known to be over from `start_ms` on and before `end_ms`."""
        return self.samples.at(np.flatnonzero((self.over_ms >= start_ms) & (self.over_ms < end_ms)))

    def hints(self, history: Samples, features: HintFeatures) -> Shown:
        """What was shown at these baskets."""
        baskets = {one.basket_id for one in history.samples}
        rows = self.data.impressions.filter(pl.col("basket_id").is_in(list(baskets)))
        return with_features(rows, history, features)

    def next_baskets(self, day_ms: int) -> Samples:
        """The day's samples before a basket."""
        wanted = [
            row
            for row, one in enumerate(self.samples.samples)
            if one.task == NEXT and day_ms <= one.time_ms < day_ms + DAY_MS
        ]
        return self.samples.at(np.array(wanted, np.int64))


def over_ms(data: Dataset, samples: Samples) -> Int64:
    """(B,) when each sample's basket was known to be over, epoch ms: in a log after the pause that ends one,
    else at the basket's time, which is all that is known of it."""
    last: dict[int, int] = {}
    if data.behaviours is not None:
        bought = data.behaviours.filter(pl.col("action") == ACTION_CODES[Action.PURCHASE])
        last = dict(bought.group_by("basket_id").agg(pl.col("at_ms").max() + PAUSE_MS).iter_rows())
    return np.array([last.get(one.basket_id, one.time_ms) for one in samples.samples], np.int64)


@dataclass(frozen=True, slots=True)
class _Mornings:
    out: Path
    data: Dataset
    log: DayLog
    config: DailyConfig

    def of(self, days: list[int], start: Served) -> Iterator[tuple[int, Served, dict[str, int]]]:
        """Each day with what its morning made, and how much that was learnt from."""
        served, refresh = start, self.config.refresh
        older = replay_pool(self.data, refresh.pool, self.config.seed, start.ranker.features)
        for number, day_ms in enumerate(days):
            history = self.log.history(day_ms - DAY_MS, day_ms)
            hints = self.log.hints(history, start.ranker.features)
            lists = _with_items(history)
            served = self._morning(day_ms, number, served, hints, older, lists)
            older = joined_hints([older, hints])
            yield day_ms, served, {"hints": len(hints), "contexts": len(lists)}

    def _morning(
        self, day_ms: int, number: int, before: Served, hints: Shown, older: Shown, lists: Samples
    ) -> Served:
        """Yesterday's ranker and policy gone on with; as they were when there was no yesterday."""
        folder, seed = self.out / day_name(day_ms), self.config.seed * SEEDS_APART + number
        ranker, policy = before.ranker, before.policy
        if len(hints):
            named = {"day": day_name(day_ms), "data": self.data.about["files"]}
            options: dict[str, Any] = {"seed": seed, "threads": self.config.threads, "identity": named}
            ranker = refresh_ranker(folder / "ranker", ranker, hints, older, self.config.refresh, **options)
        if len(lists):
            settings = replace(self.config.grpo, seed=seed)
            # Categories are read off purchases: none of later days may say what a query is.
            known = replace(self.data, purchases=self._known())
            threads = self.config.threads
            policy = load_run(
                run_grpo(folder / "policy", policy, ranker, known, settings, samples=lists, threads=threads)
            )
        return Served(policy, ranker)

    def _known(self) -> pl.DataFrame:
        return self.data.purchases.filter(pl.col("time_ms") < self.data.split.train.end_ms)


def _with_items(samples: Samples) -> Samples:
    return samples.at(np.array([row for row, one in enumerate(samples.samples) if one.items], np.int64))


def _about(data: Dataset, start: Checkpoint, ranker: ClickRanker, config: DailyConfig) -> dict[str, Any]:
    return {
        "config": asdict(replace(config, threads=1)),
        "start": digest(start.weights),
        "ranker": digest(ranker.state_dict()),
        "source": data.about["source"],
        "simulated": data.about["simulated"],
    }
