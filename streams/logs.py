"""Logs are events with values: readable on a terminal, JSON lines elsewhere. Never personal data."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

import structlog

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
    renderer: Any = (
        structlog.dev.ConsoleRenderer()
        if out.isatty()
        else structlog.processors.JSONRenderer(sort_keys=False)
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=[_library_name, *shared, _drop_meta, renderer])
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def _library_name(_logger: Any, _method: str, event: Any) -> Any:
    record = event.get("_record")
    event["library"] = record.name if record is not None else ""
    return event


def _drop_meta(_logger: Any, _method: str, event: Any) -> Any:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event
