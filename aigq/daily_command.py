"""``aigq train daily``: ten days of December with and without the morning's training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from aigq.console import out
from aigq.extras import extras

CTR: Final = "ctr@3"
HEADINGS: Final = (
    *("day", "baskets", "CTR\nwithout", "CTR\nwith", "CTR\nlift", "95 % interval"),
    "recall\nlift",
)
EXAMPLE: Final = (
    "Example: aigq train daily --data data/complete-journey --start runs/il_grpo --ranker runs/ranker"
    " --out runs/daily"
)


def register(train: typer.Typer) -> None:
    """Add the command to `aigq train`."""
    train.command(epilog=EXAMPLE)(daily)


def daily(
    data: Annotated[Path, typer.Option(help="Folder of a data set; see `aigq data build`.")],
    start: Annotated[Path, typer.Option(help="Run or checkpoint of the policy to start from.")],
    ranker_run: Annotated[Path, typer.Option("--ranker", help="The click ranker's run.")],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder of the days. Unfinished days go on.")],
    days: Annotated[int, typer.Option(min=1, help="Of the test span, from its first midnight (UTC).")] = 10,
    seed: Annotated[int, typer.Option(help="Same seed, same data: same weights.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads.")] = 1,
    small: Annotated[bool, typer.Option("--small", help="A few steps a day, to see it work.")] = False,
) -> None:
    """Refresh ranker and policy every morning with yesterday's log, and judge each day with and without.

    Clicks are SIMULATED. Writes OUT/daily.json, OUT/daily.png and a run for each day. Needs the extras
    cpu,train,data and matplotlib.
    """
    with extras("Training"):
        from training.checkpoint import load_run
        from training.daily import SMALL, DailyConfig, run_daily
        from training.datasets.dataset import load_dataset
        from training.ranker import load_ranker
    config = replace(SMALL if small else DailyConfig(), days=days, seed=seed, threads=threads)
    written = run_daily(out_dir, load_run(start), load_ranker(ranker_run), load_dataset(data), config)
    out.print(days_table(orjson.loads(written.read_bytes())))
    out.print(f"Written: {escape(str(written))}")


def days_table(result: Mapping[str, Any]) -> Table:
    """A row per day and one for all, of what daily.json holds."""
    title = "With and without daily updates, simulated clicks"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(HEADINGS):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    rows = [*((str(day["day"]), day) for day in result["days"]), ("together", result["together"])]
    for name, day in rows:
        rates = [_number(day[arm][CTR]["value"], ".4f") for arm in ("without", "with")]
        lift, low, high = (_number(day["lift"][CTR][edge], "+.1%") for edge in ("value", "low", "high"))
        recall = _number(day["lift"]["recall@10"]["value"], "+.1%")
        table.add_row(name, f"{day['baskets']:,}", *rates, lift, f"{low} {high}", recall)
    return table


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
