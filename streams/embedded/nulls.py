"""Nulls where Kafka's schema allows none: kafka-python's decoders let them through, Kafka's own do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def forbidden_null(request: Any, version: int) -> str:
    """The first field of a decoded request that is null and must not be; empty: there is none."""
    return _null_in(request, request._struct._fields, version)


def _null_in(value: Any, fields: Iterable[Any], version: int) -> str:
    for field in fields:
        part = getattr(value, field.name, None)
        if (
            part is None
            and _is_in(field._versions, version)
            and not _is_in(field._nullable_versions, version)
        ):
            return str(field.name)
        if isinstance(part, list | tuple) and field._fields:
            found = next(filter(None, (_null_in(item, field._fields, version) for item in part)), "")
            if found:
                return found
    return ""


def _is_in(versions: tuple[int, int] | None, version: int) -> bool:
    return versions is not None and versions[0] <= version <= versions[1]
