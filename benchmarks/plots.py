"""Pictures of figures, as PNG: bars beside each other, and lines over a quantity."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.harness import Measured
from benchmarks.report import number
from streams.errors import TrainingError
from training.curves import COLOURS, GREY, replace_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI: Final = 150
BAR_INCHES: Final = 0.42
WIDTH_INCHES: Final = 7.5


def bars(out: Path, title: str, unit: str, figures: Sequence[Measured], *, ours: str = "") -> Path:
    """A horizontal bar a figure, with its spread and number; those whose name begins with `ours` stand out.

    Returns `out`. Raises TrainingError when matplotlib is missing.
    """
    drawing, panel = _blank((WIDTH_INCHES, 1.0 + BAR_INCHES * len(figures)))
    places = range(len(figures))[::-1]
    colours = [COLOURS[0] if ours and one.name.startswith(ours) else "#b8c4cc" for one in figures]
    medians = [one.median for one in figures]
    spread = [[one.median - one.low for one in figures], [one.high - one.median for one in figures]]
    panel.barh(list(places), medians, color=colours, height=0.66)
    panel.errorbar(medians, list(places), xerr=spread, fmt="none", ecolor="#444444", elinewidth=1, capsize=2)
    panel.set_yticks(list(places), [one.name for one in figures])
    for place, one in zip(places, figures, strict=True):
        panel.annotate(number(one.median), (one.high, place), (5, -3), textcoords="offset points", fontsize=9)
    panel.set_xlim(0, 1.15 * max(one.high for one in figures))
    _frame(panel, title, unit, "x")
    return _written(drawing, out)


def lines(
    out: Path,
    title: str,
    axes: tuple[str, str],
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    logarithmic: str = "",
    bar: float | None = None,
    ends: Sequence[float] = (),
) -> Path:
    """A line a name through its (x, y); axes: names of x and y; logarithmic: "x", "y" or "xy".

    bar: a dashed line at this y. ends: faint upright lines at these x. Returns `out`. Raises TrainingError
    when matplotlib is missing.
    """
    drawing, panel = _blank((WIDTH_INCHES, 3.6))
    for place, (name, points) in enumerate(series.items()):
        colour = COLOURS[place % len(COLOURS)]
        panel.plot(*zip(*points, strict=True), "o-", color=colour, label=name, linewidth=1.8, markersize=4)
    if bar is not None:
        panel.axhline(bar, color="#444444", linewidth=1, linestyle="--", label="bar")
    for end in ends:
        panel.axvline(end, color="#bbbbbb", linewidth=1)
    if "x" in logarithmic:
        panel.set_xscale("log")
    if "y" in logarithmic:
        panel.set_yscale("log")
    else:
        panel.set_ylim(bottom=0)
    panel.set_ylabel(axes[1], fontsize=9, color=GREY)
    if len(series) + (bar is not None) > 1:
        panel.legend(frameon=False, fontsize=9)
    _frame(panel, title, axes[0], "y")
    return _written(drawing, out)


def _blank(inches: tuple[float, float]) -> tuple[Any, Axes]:
    try:
        from matplotlib.figure import Figure as Drawing  # slow to import, and without --save not needed
    except ImportError as error:
        raise TrainingError(
            "Pictures need matplotlib, which is not installed; nothing was drawn.",
            action="Install it: pip install 'aigq[bench]'.",
        ) from error
    drawing = Drawing(figsize=inches)
    drawing.set_layout_engine("constrained")
    return drawing, drawing.subplots()


def _frame(panel: Axes, title: str, below: str, grid: str) -> None:
    panel.set_title(title, loc="left", fontsize=11, fontweight="bold")
    panel.set_xlabel(below, fontsize=9, color=GREY)
    panel.tick_params(labelsize=9, colors=GREY, length=0)
    panel.grid(axis="x" if grid == "x" else "y", color="#dddddd", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color("#999999")


def _written(drawing: Any, out: Path) -> Path:
    out.parent.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    drawing.savefig(picture, format="png", dpi=DPI)
    replace_file(out, picture.getvalue())
    return out
