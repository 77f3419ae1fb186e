"""Numbers that others send us, bounded, and what is wrong with what they send, without repeating it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

LAST_MS: Final = 253_402_300_799_999  # the end of the year 9999: what calendars, and 15 digits, can say
INT64_MAX: Final = 2**63 - 1

Moment = Annotated[int, Field(ge=0, le=LAST_MS)]
"""Epoch ms."""
Int64 = Annotated[int, Field(ge=-INT64_MAX - 1, le=INT64_MAX)]
"""What JSON writers of most languages, and a struct's eight bytes, can hold."""


def first_problem(error: ValidationError, whole: str = "value") -> str:
    """The first thing that is wrong, with its place, and never the value itself: it may be personal.

    whole: what to call the value if the fault is in no part of it.
    """
    first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc']) or whole}: {first['msg']}"
