"""``aigq think load|mine``."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from agents.think.mapping import LoadReport, load_mapping
from aigq.console import out, print_json
from streams.redis_client import connect_redis
from streams.settings import Settings, load_settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    think = typer.Typer(help="Trigger → queries mappings, made offline.", no_args_is_help=True)
    think.command(epilog="Example: aigq think load exported_models/think-complete-journey")(load)
    think.command(epilog="Example: aigq think mine exported_models/think-complete-journey")(mine)
    app.add_typer(think, name="think")


def load(
    folder: Annotated[Path | None, typer.Argument(help="Default: AIGQ_THINK_DIR.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Load the mapping version that FOLDER/current.json names into Redis, and serve it.

    Readers see the old version or the new one, whole. A faulty folder changes nothing. A running worker
    with the think role does the same by itself, every AIGQ_THINK_EVERY_S seconds.
    """
    settings = load_settings(think_dir=folder)
    report = asyncio.run(_load(settings))
    if json:
        print_json(asdict(report))
    else:
        out.print(
            f"Mapping [bold]{report.version}[/bold] {report.outcome}: {report.triggers} triggers; "
            f"before it: {report.previous or 'none'}; removed: {', '.join(report.removed) or 'none'}."
        )


async def _load(settings: Settings) -> LoadReport:
    client = connect_redis(settings)
    try:
        return await load_mapping(client, settings.think_dir)
    finally:
        await client.aclose()


def mine(
    out_dir: Annotated[Path, typer.Argument(help="A version folder is added; current.json names it.")],
) -> None:
    """Mine a mapping from what was bought together in the built-in data (needs the extra data)."""
    from training.think.mine import mine_to

    mine_to(out_dir)
