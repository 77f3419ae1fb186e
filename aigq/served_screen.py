"""Served together, on the screen of ``aigq evaluate``: Direct, Think and both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich import box
from rich.table import Table

COLUMNS: Final = {
    "recall@3": "recall\n@3",
    "recall@10": "recall\n@10",
    "new_hits@10": "new hits\n@10",
    "new_hits@30": "new hits\n@30",
    "cate_hr@30": "Cate\nHR@30",
    "unique_categories@30": "categories\n@30",
}
ARMS: Final = ("bundle", "think", "direct_think", "direct_popular")


def served_table(task: str, arms: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row for each arm of what is served."""
    title = f"Served together, {task.replace('_', ' ')}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", no_wrap=True)
    for head in COLUMNS.values():
        table.add_column(head, justify="right", no_wrap=True)
    for name in ARMS:
        if name in arms:
            table.add_row(name, *(_cell(arms[name].get(figure)) for figure in COLUMNS))
    return table


def first_hint_line(found: Mapping[str, Any]) -> str:
    """How many behaviours have a hint at once, without and with Think."""
    alone, both = (found[name]["at_once"] for name in ("lists_alone", "with_think"))
    if alone is None or both is None:
        return "First hint after a behaviour: no behaviours."
    return (
        f"First hint after a behaviour, in event time, {found['behaviours']:,} behaviours:"
        f" at once for {alone:.1%} with lists alone, {both:.1%} with Think."
    )


def _cell(found: Mapping[str, Any] | None) -> str:
    if found is None or found["value"] is None:
        return "–"
    return f"{found['value']:.2f}" if found["value"] >= 2 else f"{found['value']:.4f}"
