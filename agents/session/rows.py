"""Rows of equal width in one run of bytes: how a state keeps what is looked for by its first bytes."""

from __future__ import annotations


def place_of_row(rows: bytes, begins: bytes, width: int) -> int:
    """Where the row of `width` bytes stands that begins so; -1: there is none."""
    place = rows.find(begins)
    while place >= 0 and place % width:  # found within a row, or across the border of two
        place = rows.find(begins, place + 1)
    return place
