"""The daily loop as a picture: each day's CTR with and without updates, and the lift with its interval."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from streams.errors import TrainingError
from training.curves import COLOURS, DPI, GREY, replace_file
from training.evaluation.ab_test import CTR

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float64 = npt.NDArray[np.float64]

INCHES: Final = (7.2, 5.2)
LINES: Final = (("with", "with daily updates", "-"), ("without", "without", "--"))


def draw_days(days: Sequence[Mapping[str, Any]], out: Path) -> Path:
    """`days` as daily.json has them; returns `out`, a PNG. Raises TrainingError without matplotlib."""
    try:
        from matplotlib.figure import Figure  # slow to import, and serving does without it
    except ImportError as error:
        raise TrainingError(
            "The picture of the days needs matplotlib, which is not installed; the figures are written.",
            action="Install it: pip install matplotlib.",
        ) from error
    drawing = Figure(figsize=INCHES)
    drawing.set_layout_engine("constrained")
    upper, lower = drawing.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    names = [str(day["day"])[5:] for day in days]
    _draw_rates(upper, names, days)
    _draw_lifts(lower, names, days)
    picture = io.BytesIO()
    drawing.savefig(picture, format="png", dpi=DPI)
    replace_file(out, picture.getvalue())
    return out


def _draw_rates(panel: Axes, names: Sequence[str], days: Sequence[Mapping[str, Any]]) -> None:
    for colour, (arm, label, dashes) in zip(COLOURS, LINES, strict=False):
        rates = _percent([day[arm][CTR] for day in days], "value")
        panel.plot(names, rates, dashes, color=colour, marker="o", markersize=4, label=label)
    panel.legend(frameon=False, fontsize=9)
    _frame(panel, "CTR of three hints, %, simulated clicks")


def _draw_lifts(panel: Axes, names: Sequence[str], days: Sequence[Mapping[str, Any]]) -> None:
    lifts = [day["lift"][CTR] for day in days]
    values, lows, highs = (_percent(lifts, name) for name in ("value", "low", "high"))
    reach = np.maximum(0.0, [values - lows, highs - values])
    panel.axhline(0.0, color=GREY, linewidth=0.8)
    panel.errorbar(names, values, yerr=reach, fmt="o", markersize=4, capsize=3, color=COLOURS[0])
    _frame(panel, "lift, %, with the 95 % interval over households")


def _percent(entries: Sequence[Mapping[str, float | None]], name: str) -> Float64:
    """(days,); NaN, which is not drawn, where a day has no figure."""
    return 100 * np.array([entry[name] for entry in entries], np.float64)


def _frame(panel: Axes, title: str) -> None:
    panel.set_title(title, loc="left", fontsize=10, fontweight="bold")
    panel.tick_params(labelsize=9, colors=GREY, length=0)
    panel.grid(axis="y", color="#dddddd", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color("#999999")
