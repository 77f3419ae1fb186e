"""Texts as deny rules see them: in normal form, without what nobody sees, and what a whole word is.

Characters without a face (zero-width space, soft hyphen, controls) would hide a word from a rule and not
from a reader's eye. A second form has single spaces for all punctuation: "rat-poison" holds the words "rat
poison".
"""

from __future__ import annotations

import unicodedata
from typing import Final

from streams.query_text import normalise_query

UNSEEN: Final = frozenset({"Cc", "Cf", "Cs"})  # control, format, halves of surrogate pairs


def judged(text: str) -> str:
    r"""Normal form without unseen characters.

    >>> judged("  Be\u200ber "), judged("CRÈME")
    ('beer', 'crème')
    """
    plain = normalise_query(text)
    if plain.isascii() and plain.isprintable():
        return plain
    seen = "".join(one for one in plain if unicodedata.category(one) not in UNSEEN)
    return normalise_query(seen)


def forms_of(plain: str) -> tuple[str, ...]:
    """A judged text and, if that is another one, its words alone.

    >>> forms_of("rat-poison, cheap"), forms_of("milk")
    (('rat-poison, cheap', 'rat poison cheap'), ('milk',))
    """
    words = " ".join("".join(one if is_word(one) else " " for one in plain).split())
    return (plain,) if words in (plain, "") else (plain, words)


def is_whole(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] cuts no word in two at either end."""
    cut_before = start > 0 and is_word(text[start - 1]) and is_word(text[start])
    cut_after = end < len(text) and is_word(text[end - 1]) and is_word(text[end])
    return not cut_before and not cut_after


def is_word(character: str) -> bool:
    """A letter, a digit, an underscore, or a mark that stands on one."""
    return character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"
