"""How far training is: a bar on a terminal, a plain line now and then elsewhere; on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

EVERY_S: Final = 20.0

Report = Callable[[int, str], None]


@contextmanager
def progress(title: str, total: int) -> Iterator[Report]:
    """Gives a function to be told how many of `total` steps are done, and a word about it."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(title, total=total, note="")
            yield lambda done, note: bar.update(task, completed=done, note=note)
    else:
        yield _lines(console, title, total)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[note]}"), console=console)


def _lines(console: Console, title: str, total: int) -> Report:
    started = said = time.monotonic()

    def report(done: int, note: str) -> None:
        nonlocal said
        now = time.monotonic()
        if done < total and now - said < EVERY_S:
            return
        said = now
        console.print(
            f"{title}: {done}/{total} {note} {now - started:.0f} s", highlight=False, soft_wrap=True
        )

    return report
