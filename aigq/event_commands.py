"""``aigq events validate|schema|sample``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from aigq.console import out, print_json
from aigq.reports import render_log_report
from streams.log_report import validate_log
from streams.record_log import local_log
from streams.schema import event_schema


def register(app: typer.Typer) -> None:
    """Add the commands."""
    events = typer.Typer(help="Event logs: check them, describe them, make one.", no_args_is_help=True)
    events.command(epilog="Example: aigq events validate shop.jsonl.zst")(validate)
    events.command(epilog="Example: aigq events schema > behavior-event.schema.json")(schema)
    events.command(epilog="Example: aigq events sample --out sample.jsonl --purchases 2000")(sample)
    app.add_typer(events, name="events")


def validate(
    log: Annotated[Path, typer.Argument(help="JSONL or Parquet, plain or zstd; - reads standard input.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Count what a log holds and say PASS or FAIL (exit code 1), with the first ten offenders by line."""
    with local_log(log) as path:
        report = validate_log(path)
    if json:
        print_json(report.as_dict())
    else:
        out.print(render_log_report(report))
    if not report.passed:
        raise typer.Exit(1)


def schema() -> None:
    """Print the JSON Schema of an event."""
    print_json(event_schema())


def sample(
    out_file: Annotated[Path, typer.Option("--out", help="A name that ends in .zst is compressed.")],
    purchases: Annotated[int, typer.Option(min=1, help="At least so many real purchases.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the simulated searches between them.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Write a log of real purchases (December of the built-in data) with simulated searches between them.

    Needs the extra data.
    """
    from training.datasets.events import demo_purchases, write_event_log

    counts = write_event_log(out_file, demo_purchases(purchases_min=purchases, households_min=1), seed=seed)
    if json:
        print_json({"file": str(out_file), **counts._asdict()})
    else:
        out.print(
            f"{escape(str(out_file))}: {counts.purchases} real purchases and {counts.searches} simulated "
            f"searches of {counts.households} households."
        )
