"""Ways to read a title before anybody judges it; each is one function, to be compared in one audit.

    names      the known name in it (training.think.mining.known_names); what the built-in reasoner uses
    lone       the same where it names one thing alone; else it is not read
    words      only the words that stand in some known name
    cut        what stands before the first mark between words: . , ; : ( [ / or a dash
    phrases    without what training.think.review.steering finds, and what follows it

`words` is what an embedding would do that left out every word it was not trained on. All ours.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

from streams.query_text import normalise_query
from training.think.audit.judges import ReadTitle
from training.think.mining.known_names import KnownNames
from training.think.review.steering import first_steering

_MARK: Final = re.compile(r"[.,;:(\[/]|\s[-–—]\s")
_WORDS: Final = re.compile(r"\w+")


def defences(names: Iterable[str]) -> dict[str, ReadTitle]:
    """All of them, by name. names: what the shop knows."""
    known = tuple(names)
    return {
        "names": KnownNames(known).read,
        "lone": _Lone(known),
        "words": _Words(known),
        "cut": _cut,
        "phrases": _without_phrases,
    }


class _Lone:
    def __init__(self, names: Iterable[str]) -> None:
        self._names = KnownNames(names)

    def __call__(self, text: str, apart: Collection[str]) -> str:
        read = self._names.read(text, apart)
        return read if len(set(self._names.named(text)) - set(apart)) < 2 or read == text else ""


class _Words:
    def __init__(self, names: Iterable[str]) -> None:
        normal = {normalise_query(name) for name in names}
        self._exact = normal
        self._known = {word for name in normal for word in _WORDS.findall(name)}

    def __call__(self, text: str, apart: Collection[str]) -> str:
        del apart  # a word belongs to no option
        if normalise_query(text) in self._exact:
            return text
        return " ".join(word for word in _WORDS.findall(normalise_query(text)) if word in self._known)


def _cut(text: str, apart: Collection[str]) -> str:
    del apart
    return _MARK.split(text, maxsplit=1)[0].strip()


def _without_phrases(text: str, apart: Collection[str]) -> str:
    del apart
    return normalise_query(text)[: first_steering(text)].strip(" .,;:-[(/")
