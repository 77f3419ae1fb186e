"""Which benchmarks there are, in the order in which they run, without importing any."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.errors import SettingsError

FOLDER: Final = Path(__file__).parent
# From a part to the whole; then what is computed from the figures.
ORDER: Final = (
    *("session_step", "roofline", "generation", "ingest", "reader", "freshness", "memory", "recovery"),
    *("event_cost", "scale_out", "mapping_load", "deny_sweep", "capacity"),
)
BY_NAME_ALONE: Final = ("decoders",)  # trains for a quarter of an hour, on a data set and runs


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A module that can be run. about: its docstring's first line. common: it takes --quick and --save."""

    name: str
    about: str
    common: bool


def known(folder: Path = FOLDER) -> list[Benchmark]:
    """In the order in which they run; one whose place nobody has said comes before `capacity`."""
    found = [one for path in sorted(folder.glob("*.py")) if (one := _benchmark(path))]
    ranks: dict[str, float] = {name: place for place, name in enumerate((*ORDER, *BY_NAME_ALONE))}
    return sorted(found, key=lambda one: ranks.get(one.name, ranks["capacity"] - 0.5))


def chosen(names: Sequence[str], benchmarks: Sequence[Benchmark], *, quick: bool) -> list[Benchmark]:
    """Those to run, in their order. Raises SettingsError for a name that is none."""
    by_name = {one.name: one for one in benchmarks}
    if unknown := [name for name in names if name not in by_name]:
        raise SettingsError(
            f"There is no benchmark {unknown[0]!r}.", action=f"Take some of: {', '.join(by_name)}."
        )
    if names:
        return [one for one in benchmarks if one.name in names]
    return [one for one in benchmarks if one.name not in BY_NAME_ALONE and (one.common or not quick)]


def _benchmark(path: Path) -> Benchmark | None:
    """None for a part of others: its docstring shows no command with options."""
    source = path.read_text(encoding="utf-8")
    doc = ast.get_docstring(ast.parse(source)) or ""
    if path.stem.startswith("_") or not re.search(rf"python -m benchmarks\.{path.stem} (\[|--)", doc):
        return None
    return Benchmark(path.stem, doc.splitlines()[0], "command_line(" in source)
