"""docs/results.md from an evaluation: the paper's tables beside ours as ratios, then all of our figures.

Tables are written anew each time. What a person wrote stays: the text between

    <!-- by hand: NAME -->   and   <!-- end -->

is taken from the page that was there, for every NAME of SLOTS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from training.datasets.whole_files import replaced
from training.evaluation.case_figures import COLD_START, OF_STRATA, UNSEEN_RECALL, WITH_UNSEEN
from training.evaluation.logged_hints import ESTIMATES
from training.evaluation.page_cells import interval_cell, percent_cell, table, words
from training.evaluation.paper_comparison import comparison
from training.evaluation.paper_tables import PAPER_UCTR_LIFT, TABLE_1, TABLE_2, TITLES
from training.evaluation.served_page import served_page
from training.evaluation.validity import VALIDITY

SLOTS: Final = ("summary", "table-1", "table-2", "ab-test", "ranker", "served", "all-figures")
GROUPS: Final = {
    "Lists of 10": ("recall@10", "hit_rate@10", "ndcg@10", "mrr@10"),
    "Lists of 3": ("recall@3", "hit_rate@3", "ndcg@3", "mrr@3", "uctr@3", "ctr@3"),
    "The paper's figures": tuple(TITLES),
    "New to the household, and products never seen in training": (
        *("new_recall@10", UNSEEN_RECALL, "new_hits@10", "new_hits@30"),
    ),
    "Cold starts: fewer than 5 purchases known": tuple(COLD_START + name for name in OF_STRATA),
    "Baskets with a product never seen in training": tuple(WITH_UNSEEN + name for name in OF_STRATA),
    "Variety": ("coverage@10", "gini@10", "novelty@10", "intra_list_diversity@10", "unique_categories@30"),
    "Invalid and filtered hints": VALIDITY,
}
_READ_TABLES: Final = (
    "Absolute figures do not compare (other data, another truth); ratios to the same row do. The last",
    "column says whether our ratio to SFT lies on the paper's side of 1: *agrees*, *differs*, or *open*",
    "where its interval holds 1. Think's rows are compared with Think's SFT. Unique categories are those of",
    "the first 10; the paper does not say of how many.",
    "",
)
_SLOT = re.compile(r"<!-- by hand: ([\w-]+) -->\n(.*?)<!-- end -->", re.DOTALL)

Results = Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]
Details = Mapping[str, Any]


def write_page(path: Path, results: Results, details: Details) -> None:
    """Write the page in one step; what stands between its marks is kept."""
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as unfinished:
        unfinished.write_text(results_page(results, details, kept_text(before)), encoding="utf-8")


def kept_text(page: str) -> dict[str, str]:
    """What a person wrote on a page, by slot."""
    return {match[1]: match[2] for match in _SLOT.finditer(page)}


def results_page(results: Results, details: Details, kept: Mapping[str, str]) -> str:
    """The page's Markdown. results, details: of training.evaluation.report.Evaluation; kept: by slot."""
    lines = [*_about(details), *_by_hand("summary", kept), *_beside_the_paper(results, details, kept)]
    if "ab_test" in details:
        lines += ["## Simulated A/B test", "", *_ab_test(details["ab_test"]), *_by_hand("ab-test", kept)]
    if "ranker" in details:
        lines += ["## The click ranker", "", *_ranker(details["ranker"]), *_by_hand("ranker", kept)]
    if "served" in details:
        lines += ["## Served together", "", *served_page(results, details), *_by_hand("served", kept)]
    lines += ["## All figures", "", *_by_hand("all-figures", kept), *_all_figures(results)]
    lines += [*_seeds(details["seeds"]), *_without_a_part(lines, kept)]
    return "\n".join(["# Results", "", *lines]).rstrip("\n") + "\n"


def _about(details: Details) -> Iterator[str]:
    about = details["about"]
    first, last = (datetime.fromtimestamp(ms / 1000, UTC) for ms in about["span_ms"])
    seeds = max(about["training_seeds"].values(), default=1)
    yield from (
        "Written by `aigq evaluate --page`, but for the text between its marks, which is kept.",
        f"Judged on {first:%d %B %Y} to {last:%d %B %Y} (end excluded), with a lexicon of",
        f"{about['lexicon']:,} queries. Intervals of 95 % from {about['draws']:,} draws of households; up to",
        f"{seeds} training seeds per arm. Simulated in this data: {', '.join(about['simulated'])}.",
        "So whatever counts clicks (UCTR, CTR, the ranker) is simulated.",
        "",
    )
    head = ("task", "cases", "households", "with something new", "cold starts", "with an unseen product")
    names = ("cases", "households", "with_new", "cold_start", "with_unseen")
    counts = about["cases"].items()
    yield from table(head, ([words(task), *(f"{some[name]:,}" for name in names)] for task, some in counts))


def _beside_the_paper(results: Results, details: Details, kept: Mapping[str, str]) -> Iterator[str]:
    for number, rows in ((1, TABLE_1), (2, TABLE_2)):
        yield from (f"## The paper's Table {number} and ours", "", *(_READ_TABLES if number == 1 else ()))
        for task in results:
            for figure in rows[0].figures:
                yield from (f"**{TITLES[figure]}, {words(task)}**", "")
                yield from comparison(rows, figure, results[task], details["lifts"][task])
        yield from _by_hand(f"table-{number}", kept)


def _ab_test(test: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "UCTR: share of page views (one before each basket, three hints) with at least one click. Clicks",
        "are SIMULATED from what the real basket then held. All arms are asked about all baskets; `split`",
        "deals the households out to the arms, as a shop would. Best traditional arm:",
        f"`{test['best_traditional']}`. The paper's lift of UCTR online is {PAPER_UCTR_LIFT:+.2%}, over a",
        "control that it does not describe.",
        "",
    )
    rows = (
        [f"`{name}`", interval_cell(one["uctr"]), percent_cell(one["lift"]), interval_cell(one["split_uctr"])]
        for name, one in test["arms"].items()
    )
    yield from table(("arm", "UCTR", "over the best traditional arm", "UCTR, split"), rows)
    if "off_policy" in test:
        yield from (
            "Clicks per place, estimated from the logged hints alone, beside the true value; bold: the",
            "interval misses it. A mean weight of 1 says that the log covers the arm.",
            "",
        )
        head = ("arm", "true", *(name.upper() for name in ESTIMATES), "effective hints", "mean weight")
        yield from table(head, (_estimated(name, one) for name, one in test["off_policy"].items()))


def _estimated(name: str, one: Mapping[str, Any]) -> list[str]:
    marks = {True: "", False: "**"}
    cells = (
        f"{marks[one['agrees'][estimate]]}{interval_cell(one[estimate])}{marks[one['agrees'][estimate]]}"
        for estimate in ESTIMATES
    )
    weights = (f"{one['effective_samples']:,.0f} of {one['impressions']:,}", f"{one['mean_weight']:.3f}")
    return [f"`{name}`", interval_cell(one["true"]), *cells, *weights]


def _ranker(report: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        f"{report['impressions']:,} hints with {report['clicks']:,} simulated clicks.",
        f"AUC {interval_cell(report['auc'])}; log loss {interval_cell(report['log_loss'])} nats, and",
        f"{report['constant_log_loss']:.4f} for the constant click rate; expected calibration error",
        f"{report['ece']:.4f}.",
        "",
    )
    rows = (
        [str(place), f"{one['hints']:,}", f"{one['predicted']:.4f}", interval_cell(one["clicked"])]
        for place, one in enumerate(report["calibration"], 1)
    )
    yield from table(("tenth", "hints", "predicted", "clicked"), rows)


def _all_figures(results: Results) -> Iterator[str]:
    for task, arms in results.items():
        yield from (f"### {words(task).capitalize()}", "")
        for title, figures in GROUPS.items():
            yield from _group(title, figures, arms)


def _group(title: str, figures: Sequence[str], arms: Mapping[str, Any]) -> Iterator[str]:
    there = [figure for figure in figures if any(figure in one for one in arms.values())]
    if there:
        yield from (f"**{title}**", "")
        rows = (
            [f"`{arm}`", *(interval_cell(one.get(figure)) for figure in there)] for arm, one in arms.items()
        )
        yield from table(("arm", *there), rows)


def _seeds(seeds: Mapping[str, Any]) -> Iterator[str]:
    shown = ("recall@10", "new_recall@10", *TITLES)
    rows = [
        [words(task), f"`{arm}`", *(" ".join(f"{one[figure]:.4f}" for one in each) for figure in shown)]
        for task, arms in seeds.items()
        for arm, each in arms.items()
    ]
    if rows:
        yield from ("### Each training seed", "", *table(("task", "arm", *shown), rows))


def _without_a_part(lines: Sequence[str], kept: Mapping[str, str]) -> Iterator[str]:
    """Text of slots that this evaluation has no part for: nobody's words are lost by a shorter run."""
    for slot, text in kept.items():
        if text and not any(line.startswith(_mark(slot)) for line in lines):
            yield from _by_hand(slot, kept)


def _mark(slot: str) -> str:
    return f"<!-- by hand: {slot} -->"


def _by_hand(slot: str, kept: Mapping[str, str]) -> list[str]:
    return [f"{_mark(slot)}\n{kept.get(slot, '')}<!-- end -->", ""]
