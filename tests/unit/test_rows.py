"""A row is found where it begins, not where its bytes happen to stand."""

from __future__ import annotations

import pytest

from agents.session.rows import place_of_row


@pytest.mark.parametrize(
    ("rows", "begins", "place"),
    [
        (b"", b"ab", -1),
        (b"abcdabcx", b"abcx", 4),
        (b"abcdabcx", b"ab", 0),
        (b"xabcabxx", b"ab", 4),  # within a row before it
        (b"xxxabxxxab..", b"ab", 8),  # across the border of two before it
        (b"xabcxxab", b"ab", -1),  # in no row's beginning
    ],
)
def test_a_row_is_found_by_what_it_begins_with(rows: bytes, begins: bytes, place: int) -> None:
    assert place_of_row(rows, begins, 4) == place
