"""What every command shares: where it prints, and how an error leaves the program.

All that is printed for people goes through `HarmlessConsole`. Titles, queries and ids are other people's
texts: a terminal must show them and never do what they say.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from io import TextIOWrapper
from itertools import accumulate
from types import TracebackType
from typing import Any, Final

import orjson
from rich.console import Console, ConsoleOptions, RenderableType
from rich.errors import MarkupError
from rich.markup import escape
from rich.segment import Segment
from rich.text import Span, Text

from streams.errors import AigqError
from streams.harmless_text import harmless, harmless_json
from streams.redaction import without_secrets

LAYOUT: Final = "\n\t"  # our own tables and summaries have lines


class HarmlessConsole(Console):
    """A rich Console that shows control, format and direction characters instead of obeying them.

    Colours are ours alone: markup that does not parse is text, and links are left out. Other people's texts
    still need `escape` in a string with markup, or a `Text`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich's, before anything is measured."""
        try:
            made = super().render_str(text, **options)
        except MarkupError:
            made = super().render_str(text, **{**options, "markup": False})
        return _harmless_text(made)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich's. Every text that is printed, however deep in a table, comes through here."""
        shown = _harmless_text(renderable) if isinstance(renderable, Text) else renderable
        for segment in super().render(shown, options):
            yield segment if segment.control else _harmless_segment(segment)


out = HarmlessConsole()
err = HarmlessConsole(stderr=True)

EXIT_CODES = """[bold]Exit codes[/bold]: 0 done · 1 unexpected, or a check said FAIL · 2 wrong usage or
settings · 3 bundle or mapping · 4 Redis · 5 Kafka or an embedded server · 6 dataset, log or replay ·
7 training or export · 8 local state · 130 stopped by Ctrl-C"""


def print_json(value: Any) -> None:
    """One JSON object on one line of standard output; harmless on a terminal, too."""
    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:  # half a surrogate pair, which an argument can hold; a number of more than 64 bits
        text = json.dumps(value, default=str)
    sys.stdout.write(harmless_json(text) + "\n")
    sys.stdout.flush()


def explained(run: Callable[[], Any]) -> int:
    """Run the program; an AigqError is told in two sentences, not in a traceback. Returns the exit code."""
    _write_whatever_comes()
    _log_without_secrets()
    try:
        run()
    except AigqError as error:
        return _tell(error.message, error.action, error.exit_code)
    except BrokenPipeError:  # whoever read our output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename is not None else ""
        return _tell(f"{error.strerror or error}{where}.", "Check path, rights and space.", 1)
    except KeyboardInterrupt:
        return 130
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except Exception as error:  # the last resort: a fault of ours, told in full but for secrets
        _write_traceback(type(error), error, error.__traceback__)
        return 1
    return 0


def _tell(message: str, action: str, exit_code: int) -> int:
    err.print(f"[bold red]{escape(message)}[/bold red]")
    err.print(f"[bold]What to do:[/bold] {escape(action)}")
    return exit_code


class _Redacted(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


def _log_without_secrets() -> None:
    """What libraries log in commands that configure no logs, and what a thread or a task dies of."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_Redacted())
    threading.excepthook = lambda died: _write_traceback(died.exc_type, died.exc_value, died.exc_traceback)
    sys.excepthook = _write_traceback


def _write_traceback(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    sys.stderr.write(harmless(without_secrets(text), keep=LAYOUT))


def _write_whatever_comes() -> None:
    """A terminal without UTF-8 gets escapes, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _harmless_text(text: Text) -> Text:
    shown = [harmless(one, keep=LAYOUT) for one in text.plain] if not text.plain.isprintable() else []
    if len(text.plain) == sum(map(len, shown)) or not shown:
        return text
    places = [0, *accumulate(map(len, shown))]
    made = text.blank_copy("".join(shown))
    ends = len(shown)
    made.spans = [Span(places[one.start], places[min(one.end, ends)], one.style) for one in text.spans]
    return made


def _harmless_segment(segment: Segment) -> Segment:
    text, style = segment.text, segment.style
    if style is not None and style.link:
        style = style.update_link(None)
    elif text.isprintable():
        return segment
    return Segment(harmless(text, keep=LAYOUT), style)
