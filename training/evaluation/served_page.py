"""Served together: Direct, Think and both, in an evaluation's details and on its page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from agents.think.folder_entries import FolderEntries
from streams.think_merge import OWN_FIRST, TRIGGERS_READ
from training.datasets.dataset import Dataset
from training.evaluation.first_hint import first_hint
from training.evaluation.page_cells import NONE, interval_cell, percent_cell, table, words
from training.evaluation.served_arms import BUNDLE, DIRECT_POPULAR, DIRECT_THINK, SERVED

FIGURES: Final = (
    *("recall@3", "recall@10", "new_hits@10", "new_hits@30", "cate_hr@30"),
    *("unique_categories", "unique_categories@30"),
)
LIFTS: Final = (
    (DIRECT_THINK, BUNDLE),
    (DIRECT_POPULAR, BUNDLE),
    (DIRECT_THINK, DIRECT_POPULAR),
)


def served_details(data: Dataset, part: str, entries: FolderEntries, think_places: int) -> dict[str, Any]:
    """What was served with, and how fresh the first hint is."""
    return {
        "mapping": entries.mapping,
        "triggers_read": TRIGGERS_READ,
        "own_first": OWN_FIRST,
        "think_places": think_places,
        "first_hint": first_hint(data, part, entries),
    }


def served_page(results: Mapping[str, Any], details: Mapping[str, Any]) -> Iterator[str]:
    """The page's part; figures by task and arm, lifts, and the first hint after a behaviour."""
    served = details["served"]
    yield from (
        f"Direct: the bundle's list of K hints. Think: mapping `{served['mapping']}` by the latest",
        f"{served['triggers_read']} triggers. Both: as a reader merges them, {served['think_places']} of",
        f"places {served['own_first'] + 1} to 10 is Think's; beside it, popular queries instead of Think.",
        "New hits are those on phrases the household buys for the first time, in the list as it is served.",
        "",
    )
    for task, arms in results.items():
        there = [name for name in SERVED if name in arms]
        yield from (f"**{words(task).capitalize()}**", "")
        rows = ([f"`{name}`", *(interval_cell(arms[name].get(one)) for one in FIGURES)] for name in there)
        yield from table(("arm", *FIGURES), rows)
        lifts = {f"{arm}/{other}": details["lifts"][task].get(f"{arm}/{other}") for arm, other in LIFTS}
        yield from table(
            ("relative", *FIGURES),
            (
                [f"`{pair}`", *(percent_cell(found.get(one)) for one in FIGURES)]
                for pair, found in lifts.items()
                if found
            ),
        )
    yield from _first_hint(served["first_hint"])


def _first_hint(found: Mapping[str, Any]) -> Iterator[str]:
    answered = found["answered_by_mapping"]
    yield from (
        "**The first hint after a behaviour**",
        "",
        f"{found['behaviours']:,} behaviours, in event time: when a list that includes one is asked for. The",
        f"mapping answers {NONE if answered is None else f'{answered:.1%}'} of them at once.",
        "",
    )
    levels = list(found["lists_alone"]["quantiles_s"])
    head = ("", "at once", "after the cooldown", "later", "never", *(f"q{level}, s" for level in levels))
    names = {"lists_alone": "lists alone", "with_think": "with Think"}
    yield from table(head, ([title, *_cells(found[name])] for name, title in names.items()))


def _cells(one: Mapping[str, Any]) -> Iterator[str]:
    for name in ("at_once", "after_cooldown", "later", "never"):
        yield NONE if one[name] is None else f"{one[name]:.1%}"
    for value in one["quantiles_s"].values():
        yield "never" if value is None else f"{value:,.1f}"
