"""What every command shares: where it prints, and how an error leaves the program."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape

from streams.errors import AigqError

out = Console()
err = Console(stderr=True)

EXIT_CODES = """[bold]Exit codes[/bold]: 0 done · 1 unexpected, or a check said FAIL · 2 wrong usage or
settings · 3 bundle or mapping · 4 Redis · 5 Kafka or an embedded server · 6 dataset, log or replay ·
7 training or export · 130 stopped by Ctrl-C"""


def print_json(value: Any) -> None:
    """One JSON object on one line of standard output."""
    sys.stdout.write(orjson.dumps(value, default=str).decode() + "\n")
    sys.stdout.flush()


def explained(run: Callable[[], Any]) -> int:
    """Run the program; an AigqError is told in two sentences, not in a traceback. Returns the exit code."""
    try:
        run()
    except AigqError as error:
        err.print(f"[bold red]{escape(error.message)}[/bold red]")
        err.print(f"[bold]What to do:[/bold] {escape(error.action)}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    return 0
