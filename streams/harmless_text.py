"""Texts of others on a terminal: what would move its cursor, hide or turn text is shown instead of done."""

from __future__ import annotations

import unicodedata
from typing import Final

ACTIVE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})  # control, format, surrogates, line ends


def harmless(text: str, keep: str = "") -> str:
    r"""On one line; each active character as Python writes it. keep: control characters that may stay.

    >>> print(harmless("salsa\x1b[2J\u202e!"))
    salsa\x1b[2J\u202e!
    """
    if text.isprintable():
        return text
    active = active_in(text) - set(keep)
    return text.translate({ord(one): one.encode("unicode_escape").decode() for one in active})


def harmless_json(text: str) -> str:
    r"""JSON that means the same, with active characters as JSON's own escapes.

    Control characters up to U+001F are escaped already; DEL, the C1 controls (U+009B begins an escape
    sequence as ESC [ does) and marks of direction are not.

    >>> print(harmless_json('{"query":"a' + chr(0x202E) + '"}'))
    {"query":"a\u202e"}
    """
    if text.isprintable():
        return text
    return text.translate({ord(one): _json_escape(one) for one in active_in(text) - set("\n")})


def active_in(text: str) -> set[str]:
    """The active characters of `text`."""
    return {one for one in set(text) if unicodedata.category(one) in ACTIVE}


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
