"""An audit as other programs and documents take it."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any, Final

from training.evaluation.bootstrap import Interval
from training.think.audit.list_shifts import Shift
from training.think.audit.measure import ALL, Row
from training.think.audit.pools import Pool

COLUMNS: Final = ("acc_ori", "acc_inj", "robustness", "attack", "changed")
TITLES: Final = ("acc before", "acc after", "robustness", "attack", "changed")


def as_json(rows: Sequence[Row], pools: Sequence[Pool], shifts: Sequence[Shift] = ()) -> dict[str, Any]:
    """Rows, and what the pools are like: best, second: mean values of these options."""
    return {
        "pools": len(pools),
        "triggers": len({pool.trigger for pool in pools}),
        "best": _mean([pool.values[pool.best] for pool in pools]),
        "second": _mean([sorted(pool.values)[-2] for pool in pools]),
        "rows": [row.as_json() for row in rows],
        "lists": [shift.as_json() for shift in shifts],
    }


def as_markdown(rows: Sequence[Row], shifts: Sequence[Shift] = ()) -> str:
    """Tables for documents, figures in per cent."""
    lines = [f"| judge | dressed | bias | {' | '.join(TITLES)} |", "| --- | --- | --- |" + " ---: |" * 5]
    for row in rows:
        cells = " | ".join(shown(getattr(row, name)) for name in COLUMNS)
        lines.append(f"| {row.judge} | {row.place} | {row.bias} | {cells} |")
    if shifts:
        lines += ["", "| Direct's list | bias | hints kept | option enters |", "| --- | --- | ---: | ---: |"]
    lines += [f"| {one.reading} | {one.bias} | {shown(one.kept)} | {shown(one.entered)} |" for one in shifts]
    return "\n".join(lines)


def summary_rows(rows: Sequence[Row]) -> list[Row]:
    """Instructions, and all biases together, of each judge and place."""
    return [row for row in rows if row.bias in ("instruction", ALL)]


def shown(figure: Interval) -> str:
    """In per cent with its interval; - where there is none."""
    if isnan(figure.value):
        return "-"
    return f"{100 * figure.value:.1f} ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(len(values), 1)
