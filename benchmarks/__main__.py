"""All benchmarks in a sensible order, each in a process of its own.

    python -m benchmarks [NAME ...] [--quick] [--json] [--save] [--list] [OPTION ...]

Without names: all but those that are asked for by name. What stands behind a single NAME and is not known
here goes to that benchmark: `python -m benchmarks capacity --users 1e8`. `aigq bench` is the same. --save
writes benchmarks/README.md, too (`benchmarks.page`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from aigq.console import err, explained, out, print_json
from benchmarks import page
from benchmarks.catalogue import FOLDER, Benchmark, chosen, known
from streams.errors import SettingsError


def run(benchmarks: Sequence[Benchmark], flags: Sequence[str], more: Sequence[str]) -> int:
    """One after another; how many failed."""
    failed = 0
    for place, one in enumerate(benchmarks, 1):
        err.print(Text(f"\n{place}/{len(benchmarks)}  {one.name}: {one.about}", "bold"))
        own = flags if one.common else [flag for flag in flags if flag == "--json"]
        began_s = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{one.name}", *own, *more]
        code = subprocess.run(command, cwd=FOLDER.parent, check=False).returncode  # noqa: S603 - our own module
        failed += code != 0
        ended = f"left with {code}" if code else "done"
        err.print(Text(f"{one.name} {ended} after {time.monotonic() - began_s:.0f} s", "dim"))
    return failed


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: does it run?")
    parser.add_argument("--json", action="store_true", help="one object a benchmark")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/NAME.json and pictures")
    parser.add_argument("--list", action="store_true", help="what there is")
    words = sys.argv[1:]
    first = next((place for place, word in enumerate(words) if _is_foreign(word)), len(words))
    given = parser.parse_args(words[:first])
    if given.list:
        _list(known(), as_json=given.json)
        return
    benchmarks = chosen(given.names, known(), quick=given.quick)
    if words[first:] and len(given.names) != 1:
        raise SettingsError(f"There is no option {words[first]}.", action="Name one benchmark that has it.")
    flags = [f"--{name}" for name in ("quick", "json", "save") if getattr(given, name)]
    failed = run(benchmarks, flags, words[first:])
    if given.save:
        page.write()
    if failed:
        raise SystemExit(1)


def _is_foreign(word: str) -> bool:
    return word.startswith("-") and word not in ("--quick", "--json", "--save", "--list", "--help", "-h")


def _list(benchmarks: Sequence[Benchmark], *, as_json: bool) -> None:
    if as_json:
        print_json([{"name": one.name, "about": one.about} for one in benchmarks])
        return
    table = Table("benchmark", "what is measured", box=box.SIMPLE_HEAD, pad_edge=False)
    for one in benchmarks:
        table.add_row(Text(one.name, "bold"), Text(one.about))
    out.print(table)


if __name__ == "__main__":
    sys.exit(explained(main))
