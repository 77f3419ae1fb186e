"""The evaluation: arms × tasks × figures, each with an interval over households.

The result is one object, task → arm → figure → {value, low, high} (training.evaluation.case_figures). All
arms answer the same cases, and all intervals draw the same households. What does not fit in is in `details`:

    about      part, span, draws, seeds per arm, cases of each task and stratum, what is simulated
    lifts      task → "arm/baseline" → figure → {value, low, high}: mean(arm) / mean(baseline) − 1, paired
    seeds      task → arm → figure → the value of each training seed, for arms of several
    ab_test    the simulated A/B test, and off-policy estimates of every arm beside its true click-through
    ranker     AUC, log loss and calibration on the part's hints
    served     with a Think mapping: its version, the reader's settings, and how fresh the first hint is
               (training.evaluation.first_hint)

Several seeds are averaged per case before households are drawn: intervals are those of the mean arm. A figure
that no case has is left out. The paper has neither intervals nor several seeds (§5.1): ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from streams.think_merge import THINK_PLACES
from training.datasets.dataset import Dataset
from training.evaluation.ab_test import UCTR, Draws, ab_test, click_model_of
from training.evaluation.arms import TRADITIONAL, Arm, Arms
from training.evaluation.bootstrap import Interval
from training.evaluation.case_figures import Judge, Written
from training.evaluation.cases import TASK_NAMES, Cases, cases_of, cold_starts, with_unseen_products
from training.evaluation.click_scores import ClickScores, ClickTable, base_rate_table
from training.evaluation.lifts import lifts
from training.evaluation.logged_hints import LoggedHints, logged_chances, logged_hints, off_policy
from training.evaluation.ranker_report import ranker_report
from training.evaluation.served_page import served_details
from training.progress import progress
from training.ranker import RANKER_NAME, load_ranker
from training.sessions import NEXT, Samples
from training.vocabulary import Vocabulary, vocabulary_of

Float64 = npt.NDArray[np.float64]
Figures = dict[str, dict[str, float | None]]
Results = dict[str, dict[str, Figures]]

TASKS: Final = tuple(TASK_NAMES.values())
DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """part: "test" or "validate". tasks: of TASKS. arms: names, () for all. think_places: a reader's."""

    part: str = "test"
    tasks: tuple[str, ...] = TASKS
    arms: tuple[str, ...] = ()
    draws: Draws = Draws()  # noqa: RUF009 - frozen
    think_places: int = THINK_PLACES


@dataclass(frozen=True, slots=True)
class Evaluation:
    """See the module; both are ready for JSON."""

    results: Results
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Judged:
    """One arm on one task. values: (C,) by figure. seeds: means by figure. tops: each seed's shown hints."""

    values: dict[str, Float64]
    seeds: list[dict[str, float]]
    over_all: dict[str, Interval]
    tops: list[list[list[str]]]


def evaluate(
    data: Dataset,
    runs: Path,
    config: EvaluationConfig = EvaluationConfig(),
    bundle: Path | None = None,
    mapping: Path | None = None,
) -> Evaluation:
    """Judge the arms in `runs` on a part of the data set; `bundle`, `mapping`: folders, to judge what these
    serve, too.

    Raises TrainingError for an arm that is not there, before anything is computed.
    """
    return _Run(data, runs, config, bundle, mapping).evaluation()


@dataclass
class _Run:
    data: Dataset
    runs: Path
    config: EvaluationConfig
    bundle: Path | None
    mapping: Path | None = None

    def evaluation(self) -> Evaluation:
        data, samples = self.data, self.data.samples(self.config.part)
        vocabulary = vocabulary_of(data.lexicon, data.purchases, data.encoder())
        clicks = self._click_scores(samples, vocabulary)
        places = self.config.think_places
        arms = Arms(data, self.config.part, samples, self.runs, clicks, self.bundle, self.mapping, places)
        names = list(dict.fromkeys(self.config.arms or arms.names()))
        arms.check(names)
        judge = Judge(vocabulary, frozenset(data.queries), click_model_of(data.about))
        tasks = {name: task for task, name in TASK_NAMES.items() if name in self.config.tasks}
        cases = {name: cases_of(samples, data.purchases, task) for name, task in tasks.items()}
        judged = self._judged(arms, names, cases, judge)
        details = self._about(cases, judged) | self._compared(cases, judged)
        if self.mapping:
            details |= {"served": served_details(data, self.config.part, arms.served.entries, places)}
        next_basket = TASK_NAMES[NEXT]
        if next_basket in judged:
            details |= self._clicked(judged[next_basket], cases[next_basket], judge, clicks)
        results = {
            task: {arm: self._figures(one, cases[task]) for arm, one in by_arm.items()}
            for task, by_arm in judged.items()
        }
        return Evaluation(plain(results), plain(details))

    def _compared(
        self, cases: dict[str, Cases], judged: dict[str, dict[str, _Judged]]
    ) -> dict[str, dict[str, Any]]:
        """Lifts of arms over each other, and the values of single seeds."""
        found: dict[str, dict[str, Any]] = {"lifts": {}, "seeds": {}}
        for task, by_arm in judged.items():
            values = {arm: one.values for arm, one in by_arm.items()}
            found["lifts"][task] = lifts(values, cases[task].households, self.config.draws)
            found["seeds"][task] = {arm: one.seeds for arm, one in by_arm.items() if len(one.seeds) > 1}
        return found

    def _click_scores(self, samples: Samples, vocabulary: Vocabulary) -> ClickScores | None:
        path = self.runs / "ranker" / RANKER_NAME
        return ClickScores(load_ranker(path), samples, vocabulary) if path.is_file() else None

    def _judged(
        self, arms: Arms, names: Sequence[str], cases: dict[str, Cases], judge: Judge
    ) -> dict[str, dict[str, _Judged]]:
        judged: dict[str, dict[str, _Judged]] = {task: {} for task in cases}
        with progress("evaluate", len(names) * len(cases)) as report:
            for place, name in enumerate(names):
                arm = arms.arm(name)
                for turn, (task, some) in enumerate(cases.items()):
                    judged[task][name] = _judge(arm, some, judge)
                    report(place * len(cases) + turn + 1, f"{name}, {task}")
        return judged

    def _figures(self, judged: _Judged, cases: Cases) -> Figures:
        draws = self.config.draws
        found = {name: draws.of(values, cases.households) for name, values in judged.values.items()}
        return {
            name: _entry(one) for name, one in (found | judged.over_all).items() if not np.isnan(one.value)
        }

    def _clicked(
        self, judged: dict[str, _Judged], cases: Cases, judge: Judge, clicks: ClickScores | None
    ) -> dict[str, Any]:
        """A/B test; estimates where the log has propensities; the ranker where there is one."""
        views = {name: one.values[UCTR] for name, one in judged.items()}
        test = ab_test(views, cases.households, TRADITIONAL, self.config.draws)
        found: dict[str, Any] = {"ab_test": {"simulated": True, **test}}
        log = self._log(cases, judge.vocabulary)
        table = self._table(cases, judge.vocabulary, clicks) if len(log) else None
        if table and log.has_propensities:
            found["ab_test"]["off_policy"] = {
                name: off_policy(log, one.tops, cases, table, judge.clicks, self.config.draws)
                for name, one in judged.items()
            }
        if table and clicks and 0 < log.clicked.sum() < len(log):
            p, draws = logged_chances(log, table), self.config.draws
            found["ranker"] = ranker_report(
                p, log.clicked, log.households, draws=draws.count, seed=draws.seed
            )
        return found

    def _log(self, cases: Cases, vocabulary: Vocabulary) -> LoggedHints:
        span = getattr(self.data.split, self.config.part)
        return logged_hints(self.data.impressions, span, cases, list(vocabulary.number))

    def _table(self, cases: Cases, vocabulary: Vocabulary, clicks: ClickScores | None) -> ClickTable:
        if clicks:
            return clicks.of(cases)
        until = pl.col("time_ms") < self.data.split.train.end_ms
        learnt = self.data.impressions.filter(until, pl.col("task") == NEXT)
        return base_rate_table(learnt, len(cases), vocabulary)

    def _about(self, cases: dict[str, Cases], judged: dict[str, dict[str, _Judged]]) -> dict[str, Any]:
        data, part = self.data, self.config.part
        about = {
            "part": part,
            "span_ms": list(getattr(data.split, part)),
            "source": data.about["source"],
            "simulated": data.about["simulated"],
            "lexicon": len(data.queries),
            "draws": self.config.draws.count,
            "cases": {task: _counts(some, data.queries) for task, some in cases.items()},
            "training_seeds": {
                name: len(one.seeds) for by_arm in judged.values() for name, one in by_arm.items()
            },
        }
        return {"about": about}


def _judge(arm: Arm, cases: Cases, judge: Judge) -> _Judged:
    seeds = []
    for recommend in arm.recommenders:
        lists = recommend(cases, False)
        unfiltered = arm.written(cases) if arm.written else lists
        seeds.append(Written(lists, recommend(cases, True), unfiltered))
    values, means = judge.of_seeds(seeds, cases)
    # Twice the slots: an estimate from a log reads on where the log has taken a hint away.
    read = 2 * len(judge.clicks.examine)
    tops = [[list(queries[:read]) for queries in one.lists] for one in seeds]
    return _Judged(values, means, judge.over_all(seeds, cases), tops)


def _counts(cases: Cases, lexicon: Sequence[str]) -> dict[str, int]:
    return {
        "cases": len(cases),
        "households": len(np.unique(cases.households)),
        "cold_start": int(cold_starts(cases).sum()),
        "with_unseen": int(with_unseen_products(cases, lexicon).sum()),
        "with_new": sum(bool(truth) for truth in cases.new_truths),
    }


def _entry(found: Interval) -> dict[str, float | None]:
    return {name: plain(value) for name, value in found._asdict().items()}


def plain(value: Any) -> Any:
    """What JSON can hold: intervals as objects, numbers rounded, and null for what is no number."""
    if isinstance(value, Interval):
        return _entry(value)
    if isinstance(value, dict):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return round(value, DIGITS) if np.isfinite(value) else None
    return value
