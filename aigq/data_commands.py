"""``aigq data build|show``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from aigq.console import out, print_json
from aigq.extras import extras
from streams.errors import DatasetError
from streams.log_report import rfc3339

_DAY = "%Y-%m-%d"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    data = typer.Typer(help="Data sets: what training reads, split by time.", no_args_is_help=True)
    data.command(epilog="Example: aigq data build --out data/complete-journey --households 100")(build)
    data.command(epilog="Example: aigq data show data/complete-journey")(show)
    app.add_typer(data, name="data")


def build(
    out_dir: Annotated[Path, typer.Option("--out", help="Folder of the data set; a later build goes on.")],
    log: Annotated[
        Path | None, typer.Option(help="An event log, JSONL or Parquet. Default: The Complete Journey.")
    ] = None,
    households: Annotated[int, typer.Option(min=0, help="Only the first so many; 0: all.")] = 0,
    seed: Annotated[int, typer.Option(help="Of all that is simulated.")] = 0,
    validate_from: Annotated[
        datetime | None, typer.Option(formats=[_DAY], help="First day (UTC) of validation.")
    ] = None,
    test_from: Annotated[
        datetime | None, typer.Option(formats=[_DAY], help="First day (UTC) of the test.")
    ] = None,
    k_anonymity: Annotated[
        int | None,
        typer.Option(min=1, help="Shoppers that a text needs to be taught. Default: 5; built-in data: 1."),
    ] = None,
    deny: Annotated[Path | None, typer.Option(help="Deny rules: what is not taught.")] = None,
    erased: Annotated[
        Path | None, typer.Option(help="Receipts of deletions: those people's events are left out of a log.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Make every file anew.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Make purchases, hints with clicks, and samples for training, validation and test.

    Built-in data: real purchases, simulated searches and hints; split at November and December. A log: its
    own purchases, searches and hints, split 80/10/10 by time. Files that are there and up to date are kept.
    Needs the extra data.
    """
    with extras("A data set", "pip install 'aigq[data]'", DatasetError):
        from training.datasets.build import build_dataset
        from training.datasets.dataset_config import DatasetConfig

        config = DatasetConfig(
            log=log,
            households=households,
            seed=seed,
            validate_from_ms=_epoch_ms(validate_from),
            test_from_ms=_epoch_ms(test_from),
            k_anonymity=k_anonymity,
            deny=deny,
            erased=erased,
        )
        about = build_dataset(out_dir, config, fresh=fresh).about
    _print(out_dir, about, json=json)


def show(
    folder: Annotated[Path, typer.Argument(help="Folder of a data set.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show where a data set comes from, its spans, and how much it holds. Needs the extra data."""
    with extras("A data set", "pip install 'aigq[data]'", DatasetError):
        from training.datasets.dataset import read_about
    _print(folder, read_about(folder), json=json)


def _print(folder: Path, about: dict[str, Any], *, json: bool) -> None:
    if json:
        print_json({"folder": str(folder), **about})
        return
    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for name, value in _rows(about):
        table.add_row(name, Text(value))
    out.print(Text(str(folder), style="bold"), table)


def _rows(about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is shown of dataset.json."""
    source = about["source"]
    yield "source", f"{source['kind']} {source.get('name') or source.get('version')}"
    yield "seed", str(about["seed"])
    yield "simulated", "; ".join(about["simulated"]) or "nothing"
    for part, (start_ms, end_ms) in about["spans"].items():
        yield f"{part} span", f"{rfc3339(start_ms)} to {rfc3339(end_ms)}"
    for part, counts in about["counts"].items():
        numbers = {name: value for name, value in counts.items() if isinstance(value, int)}
        yield part, ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in numbers.items())
    yield "k-anonymity", str(about.get("k_anonymity", 1))
    for title, counts in (
        ("left out of the log", about["counts"]["purchases"].get("log", {}).get("unused", {})),
        ("left out of the lexicon", about["counts"]["lexicon"].get("left_out", {})),
    ):
        if counts:
            yield title, ", ".join(f"{reason} {count:,}" for reason, count in counts.items())


def _epoch_ms(day: datetime | None) -> int | None:
    return None if day is None else int(day.replace(tzinfo=UTC).timestamp() * 1000)
