"""Logs are events with values: readable on a terminal, JSON lines elsewhere. No personal data, no secrets."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

from streams.harmless_text import harmless
from streams.redaction import without_secrets

# Chatty at INFO, and at DEBUG costly even when nothing is printed (9 % of a worker's time, measured).
QUIET_LIBRARIES = ("faust", "aiokafka", "kafka", "mode", "asyncio", "aiohttp")


def configure_logs(level: str = "info", stream: TextIO | None = None) -> None:
    """Send structlog's and the libraries' logs to `stream` (default: standard error)."""
    out = stream or sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ends: list[Any] = [structlog.processors.format_exc_info, *_rendered(on_terminal=out.isatty())]
    structlog.configure(
        processors=[*shared, *ends],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(_is_ours)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[_library_name, *shared, _drop_meta, *ends])
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def _is_ours(record: logging.LogRecord) -> bool:
    """Not what a stranger's malformed request to the endpoint brings about: a traceback with its text."""
    error = record.exc_info[1] if record.exc_info else None
    return not (record.name == "aiohttp.server" and type(error).__module__ == "aiohttp.http_exceptions")


def _rendered(*, on_terminal: bool) -> list[Any]:
    if on_terminal:
        return [_shown, structlog.dev.ConsoleRenderer(), _without_secrets]
    # ASCII: all that could act is escaped.
    return [structlog.processors.JSONRenderer(sort_keys=False), _without_secrets]


def _without_secrets(_logger: Any, _method: str, line: Any) -> str:
    """Of the finished line, traceback and all: nothing can be overlooked in it."""
    return without_secrets(str(line))


def _shown(_logger: Any, _method: str, event: Any) -> Any:
    """A value in a log line must not move the cursor, turn the line or begin another one.

    The renderer shows what is no text by its `repr`.
    """
    return {harmless(name): _shown_value(name, value) for name, value in event.items()}


def _shown_value(name: str, value: Any) -> Any:
    return harmless(value, keep="\n\t" if name == "exception" else "") if isinstance(value, str) else value


def _library_name(_logger: Any, _method: str, event: Any) -> Any:
    record = event.get("_record")
    event["library"] = record.name if record is not None else ""
    return event


def _drop_meta(_logger: Any, _method: str, event: Any) -> Any:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event
