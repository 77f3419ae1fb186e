"""``aigq bench``: the benchmarks of a checkout, each in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Final

import typer

from streams.errors import SettingsError

PACKAGES: Final = ("torch", "polars", "confluent_kafka", "ctranslate2", "matplotlib", "transformers")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        epilog="Examples: aigq bench --list · aigq bench reader freshness --quick · aigq bench reader --json",
        context_settings={"ignore_unknown_options": True},
    )(bench)


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Some; default: all. Behind a single one: its own options."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few and short rounds: do they run? Bears no weight.")
    ] = False,
    save: Annotated[
        bool, typer.Option("--save", help="Write benchmarks/results/NAME.json and the pictures in docs/.")
    ] = False,
    list_them: Annotated[bool, typer.Option("--list", help="What there is, and what each measures.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a benchmark, one a line.")] = False,
) -> None:
    """Measure on this machine: events, lists and requests per second, freshness, recovery, machines needed.

    Each runs beside its alternatives on the same work and takes turns with them; a ratio is the median of
    rounds side by side. Servers are embedded: nothing else needs to run, and nothing should run beside it.
    Needs a checkout, and the extras cpu,data,train,bench.
    """
    root = _checkout()
    if not list_them:
        _look_for_packages()
    words = names or []
    own = list(takewhile(lambda word: not word.startswith("-"), words))
    flags = {"--quick": quick, "--save": save, "--list": list_them, "--json": json}
    given = [flag for flag, is_given in flags.items() if is_given]
    command = [sys.executable, "-m", "benchmarks", *own, *given, *words[len(own) :]]
    done = subprocess.run(command, cwd=root, check=False)  # noqa: S603 - our own module
    raise typer.Exit(done.returncode)


def _checkout() -> Path:
    """The folder that holds benchmarks/. Raises SettingsError: a wheel has none."""
    found = importlib.util.find_spec("benchmarks")
    places = list(found.submodule_search_locations or ()) if found else []
    if not places or not (Path(places[0]) / "harness.py").exists():
        raise SettingsError(
            "The benchmarks are not installed: they are no part of the package.",
            action="Run this in a checkout of the sources: make bench.",
        )
    return Path(places[0]).parent


def _look_for_packages() -> None:
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            f"The benchmarks need packages that are not installed: {', '.join(missing)}.",
            action="make bench, or: pip install -c constraints.txt -e '.[cpu,data,train,bench]'",
        )
