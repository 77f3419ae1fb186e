"""One thing that `aigq doctor` found."""

from __future__ import annotations

from typing import Literal, NamedTuple

Level = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """`level` ok, warning or problem; `action` is empty when all is well."""

    part: str
    level: Level
    found: str
    action: str = ""
