"""Texts of others on a terminal: what would move its cursor, hide or turn text is shown instead of done."""

from __future__ import annotations

import unicodedata
from typing import Final

ACTIVE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})  # control, format, surrogates, line ends


def harmless(text: str) -> str:
    r"""On one line; each active character as Python writes it.

    >>> print(harmless("salsa\x1b[2J\u202e!"))
    salsa\x1b[2J\u202e!
    """
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    active = unicodedata.category(character) in ACTIVE
    return character.encode("unicode_escape").decode() if active else character
