"""A user's hint lists, read only as far as an answer looks at them.

Three lists of twelve hints take longer to read than Redis takes to give them, and most pages end within the
newest. An older one is read when the page gets there, or when Think suggests something that it may hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import Any

from streams.errors import CodecError
from streams.hint_list import Hint, HintList
from streams.personal_data import CACHE_SIZE, is_personal
from streams.query_text import normalise_query


class OwnLists:
    """LRANGE's reply, newest first; to be iterated over as often as one likes.

    newest: None without any. malformed: values met so far that are no lists.
    """

    def __init__(self, values: Any) -> None:
        is_list = isinstance(values, list)
        self.malformed = 0 if is_list else 1
        self._unread: list[bytes] = values[::-1] if is_list else []
        self._read: list[HintList] = []
        self._asked: tuple[str, int] = ("", 0)
        self._held: set[str] = set()
        self.newest = self._next()

    def __iter__(self) -> Iterator[HintList]:
        place = 0
        while place < len(self._read) or self._next():
            yield self._read[place]
            place += 1

    def hold(self, query: str, mapping: str) -> bool:
        """Whether one has a hint of this normal form that counts for users of `mapping`."""
        if query in self._normal_forms(mapping):
            return True
        if not any(may_hold(value, query) for value in self._unread):
            return False
        self._read_all()
        return query in self._normal_forms(mapping)

    def _normal_forms(self, mapping: str) -> set[str]:
        """Of the hints in the lists that were read."""
        if self._asked != (mapping, len(self._read)):
            self._asked = (mapping, len(self._read))
            hints = chain.from_iterable([hints_for(one, mapping) for one in self._read])
            self._held = {looked_at(hint.query)[0] for hint in hints}
        return self._held

    def _read_all(self) -> None:
        while self._next():
            pass

    def _next(self) -> HintList | None:
        while self._unread:
            try:
                one = HintList.from_json(self._unread.pop())
            except CodecError:
                self.malformed += 1
            else:
                self._read.append(one)
                return one
        return None


@lru_cache(CACHE_SIZE)
def looked_at(query: str) -> tuple[str, bool]:
    """A query's normal form, and whether it holds personal data: the same ones come again and again."""
    normal = normalise_query(query)
    return normal, is_personal(normal)


def hints_for(one: HintList, mapping: str) -> list[Hint]:
    """The list's hints that count for users of `mapping`: Think's do while that is their version."""
    return [hint for hint in one.hints if hint.source != "think" or hint.mapping in ("", mapping)]


def may_hold(value: bytes, query: str) -> bool:
    r"""False only if no text in this JSON has the normal form `query`.

    In ASCII without a backslash each text stands as it is, and its normal form is its words in small letters.

    >>> may_hold(b'{"query":"Red  Wine"}', "red wine"), may_hold(b'{"query":"wine"}', "red wine")
    (True, False)
    >>> may_hold(b'{"query":"\\u0041le"}', "pils")
    True
    """
    if not value.isascii() or b"\\" in value:
        return True
    small = value.lower()
    return all(word.encode("utf-8", "surrogatepass") in small for word in query.split())
