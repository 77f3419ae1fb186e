"""Learning curves: a line of JSON per step on disk, and small multiples of them as PNG.

A figure that is no number in a step is `null` in the file and left out of the picture. Colours: Okabe & Ito,
"Color Universal Design" (2008), which colour-blind readers tell apart; a ninth run and more are dashed.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from streams.errors import TrainingError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A500")
DASHES: Final = ("-", "--", ":", "-.")
COLUMNS: Final = 3
PANEL_INCHES: Final = (4.0, 2.7)
DPI: Final = 150
RAW_ALPHA: Final = 0.3  # with one run; less each with more
SMOOTHED_SHARE: Final = 15
SPREAD_PERCENT: Final = (1, 99)  # raw values beyond may leave the panel, or one spike would flatten it
GREY: Final = "#606060"

Point = dict[str, float]
Float64 = npt.NDArray[np.float64]


def point_line(point: Mapping[str, float]) -> str:
    """One step's figures as a line of JSON; what is no finite number is null."""
    return json.dumps({name: value if math.isfinite(value) else None for name, value in point.items()}) + "\n"


def read_curve(path: Path) -> list[Point]:
    """The whole lines of the file, oldest first; nothing when there is no file.

    A kill may leave the last line half written, and such a line ends the curve. null is read as NaN.
    """
    points: list[Point] = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        try:
            point: dict[str, float | None] = json.loads(line)
            points.append({name: math.nan if value is None else value for name, value in point.items()})
        except ValueError:
            break
    return points


def opened_curve(path: Path, points: Iterable[Point]) -> IO[str]:
    """The file, now of `points` alone, open to be added to; the caller closes it."""
    replace_file(path, "".join(map(point_line, points)).encode())
    return path.open("a", encoding="utf-8")


def replace_file(path: Path, content: bytes) -> None:
    """The old file or the new one, whatever happens: the new one is on disk before it takes the name."""
    unfinished = path.with_name(path.name + ".part")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def smoothed(values: Float64) -> Float64:
    """Mean over a 15th of the curve around each point, weighed by a Hann window. (n,) to (n,)."""
    if not len(values):
        return values
    width = len(values) // SMOOTHED_SHARE // 2 * 2 + 1
    window = np.hanning(width + 2)[1:-1]
    weights = np.convolve(np.ones(len(values)), window, "same")
    means: Float64 = np.convolve(values, window, "same") / weights
    return means


def draw_curves(curves: Mapping[str, Path], out: Path, figures: Sequence[str]) -> Path:
    """A panel per figure with a line per run, raw values faint behind it; returns `out`, a PNG.

    curves: the runs' names and their curve.jsonl. Raises TrainingError when matplotlib is missing, a curve
    is, or a figure stands in none of them.
    """
    runs = {name: _known(name, path) for name, path in curves.items()}
    for figure in figures:
        if not any(figure in point for points in runs.values() for point in points):
            raise TrainingError(
                f"No curve has a figure {figure!r}; nothing was drawn.",
                action=f"Choose from: {', '.join(_names(runs))}.",
            )
    drawing, panels = _blank(len(figures))
    for panel, figure in zip(panels, figures, strict=True):
        _draw_panel(panel, figure, runs)
    _draw_names(drawing, panels[0], len(runs))
    out.parent.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    drawing.savefig(picture, format="png", dpi=DPI)
    replace_file(out, picture.getvalue())
    return out


def _known(name: str, path: Path) -> list[Point]:
    points = read_curve(path)
    if not points:
        raise TrainingError(
            f"The curve of {name!r} is missing or empty: {path}; nothing was drawn.",
            action="Train first, or name the folder's curve.jsonl.",
        )
    return points


def _names(runs: Mapping[str, Sequence[Point]]) -> list[str]:
    return sorted({name for points in runs.values() for point in points for name in point} - {"step"})


def _blank(panels: int) -> tuple[Figure, list[Axes]]:
    try:
        from matplotlib.figure import Figure  # slow to import, and serving does without it
    except ImportError as error:
        raise TrainingError(
            "Learning curves need matplotlib, which is not installed; nothing was drawn.",
            action="Install it: pip install matplotlib.",
        ) from error
    columns = 2 if panels == 4 else min(COLUMNS, panels)
    rows = math.ceil(panels / columns)
    drawing = Figure(figsize=(PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + 0.4))
    drawing.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    grid = drawing.subplots(rows, columns, squeeze=False).flatten().tolist()
    for unused in grid[panels:]:
        unused.remove()
    return drawing, grid[:panels]


def _draw_panel(panel: Axes, figure: str, runs: Mapping[str, Sequence[Point]]) -> None:
    spans = []
    for number, (name, points) in enumerate(runs.items()):
        steps, values = _series(points, figure)
        colour = COLOURS[number % len(COLOURS)]
        dashes = DASHES[number // len(COLOURS) % len(DASHES)]
        marker = "o" if len(values) == 1 else ""
        even = smoothed(values)
        panel.plot(steps, values, color=colour, alpha=RAW_ALPHA / len(runs) ** 0.5, linewidth=0.7)
        panel.plot(steps, even, dashes, color=colour, linewidth=1.8, marker=marker, label=name, zorder=3)
        if len(values):
            spans.append((even.min(), even.max(), *np.percentile(values, SPREAD_PERCENT)))
    _frame(panel, figure)
    if spans:
        low, high = np.min(spans), np.max(spans)
        margin = 0.06 * (high - low) or max(0.06 * abs(high), 1e-3)
        panel.set_ylim(low - margin, high + margin)


def _series(points: Sequence[Point], figure: str) -> tuple[Float64, Float64]:
    """Steps and values, (n,) each, where the figure is a number."""
    pairs = [(point["step"], point[figure]) for point in points if math.isfinite(point.get(figure, math.nan))]
    table = np.array(pairs, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _frame(panel: Axes, figure: str) -> None:
    panel.set_title(figure.replace("_", " "), loc="left", fontsize=11, fontweight="bold")
    panel.set_xlabel("step", fontsize=9, color=GREY)
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    panel.locator_params(axis="x", nbins=5, integer=True)
    panel.locator_params(axis="y", nbins=6)
    panel.tick_params(labelsize=9, colors=GREY, length=0)
    panel.grid(axis="y", color="#dddddd", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.spines["bottom"].set_color("#999999")


def _draw_names(drawing: Figure, panel: Axes, runs: int) -> None:
    lines, names = panel.get_legend_handles_labels()
    columns = min(runs, 4)
    drawing.legend(lines, names, loc="outside upper left", ncols=columns, frameon=False, fontsize=10)
