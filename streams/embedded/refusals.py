"""How the broker says no: an error code for the client, and a sentence for people."""

from __future__ import annotations

from collections.abc import Callable

from streams.embedded.codes import Code
from streams.embedded.protocol import Fields


class RefusedError(Exception):
    """The broker refuses what a client asked; `code` goes into the response."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def code_of(action: Callable[[], object]) -> Code:
    """The error code of an action, for the response."""
    try:
        action()
    except RefusedError as refused:
        return refused.code
    return Code.NONE


def outcome(action: Callable[[], None]) -> Fields:
    """Error code and message of an action, for the response."""
    try:
        action()
    except RefusedError as refused:
        return {"error_code": refused.code, "error_message": refused.message}
    return {"error_code": Code.NONE, "error_message": None}
