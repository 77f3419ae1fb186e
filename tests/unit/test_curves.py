"""Learning curves: what a kill leaves is read, and pictures show every run."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from streams.errors import TrainingError
from training.curves import COLOURS, draw_curves, opened_curve, point_line, read_curve, smoothed

Curve = Callable[[int], dict[str, float]]


def written(path: Path, steps: int, point_of: Curve) -> Path:
    path.write_text("".join(point_line({"step": step} | point_of(step)) for step in range(1, steps + 1)))
    return path


def falling(seed: int) -> Curve:
    noise = np.random.default_rng(seed)
    return lambda step: {"loss": 3 / (1 + step / 40) + seed / 4 + 0.2 * noise.normal(), "reward": step / 500}


def pixels_of(path: Path) -> npt.NDArray[np.float64]:
    """(height, width, 4), 0 to 1."""
    from matplotlib.image import imread

    pixels: npt.NDArray[np.float64] = imread(path)
    return pixels


def pixels_like(pixels: npt.NDArray[np.float64], colour: str) -> int:
    wanted = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return int((np.abs(pixels[:, :, :3] - wanted).max(-1) < 0.03).sum())


def test_a_line_is_read_as_it_was_written_and_no_number_becomes_null(tmp_path: Path) -> None:
    line = point_line({"step": 3, "loss": 0.1 + 0.2, "kl": math.nan, "ratio": math.inf})
    assert json.loads(line) == {"step": 3, "loss": 0.1 + 0.2, "kl": None, "ratio": None}
    (tmp_path / "c.jsonl").write_text(line)
    (point,) = read_curve(tmp_path / "c.jsonl")
    assert point["loss"] == 0.1 + 0.2
    assert math.isnan(point["kl"])


def test_a_half_written_line_ends_the_curve(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_curve(path) == [{"step": 1, "loss": 2.0}]
    assert read_curve(tmp_path / "none.jsonl") == []


def test_an_opened_curve_has_the_given_points_and_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text("old\n")
    with opened_curve(path, [{"step": 1}]) as curve:
        curve.write(point_line({"step": 2}))
    assert read_curve(path) == [{"step": 1}, {"step": 2}]


def test_smoothing_weighs_what_is_near() -> None:
    values = np.arange(50.0) ** 2  # a 15th of 50 steps: 3, which weigh 1/2, 1 and 1/2
    even = smoothed(values)
    assert even[10] == pytest.approx((81 / 2 + 100 + 121 / 2) / 2)
    assert even[0] == pytest.approx((0 + 1 / 2) / 1.5)
    assert even.shape == values.shape
    assert smoothed(values[:20]).tolist() == values[:20].tolist()


def test_every_run_stands_in_the_picture_in_its_colour(tmp_path: Path) -> None:
    curves = {f"run {seed}": written(tmp_path / f"{seed}.jsonl", 300, falling(seed)) for seed in range(3)}
    out = draw_curves(curves, tmp_path / "new" / "curves.png", ["loss"])
    pixels = pixels_of(out)
    assert out.read_bytes().startswith(b"\x89PNG")
    assert pixels.shape[0] > 300 < pixels.shape[1]
    assert all(pixels_like(pixels, colour) > 300 for colour in COLOURS[:3])
    assert pixels_like(pixels, COLOURS[3]) == 0
    assert 0.6 < (pixels[:, :, :3] > 0.99).all(-1).mean() < 0.98  # lines on a calm ground
    assert not (tmp_path / "new" / "curves.png.part").exists()


def test_more_figures_are_more_panels(tmp_path: Path) -> None:
    curves = {"run": written(tmp_path / "c.jsonl", 300, falling(0))}
    one = pixels_of(draw_curves(curves, tmp_path / "1.png", ["loss"]))
    two = pixels_of(draw_curves(curves, tmp_path / "2.png", ["loss", "reward"]))
    four = pixels_of(draw_curves(curves, tmp_path / "4.png", ["loss", "reward", "loss", "reward"]))
    assert two.shape[1] > 1.8 * one.shape[1]
    assert four.shape[0] > 1.5 * one.shape[0]
    assert pixels_like(two, COLOURS[0]) > 1.3 * pixels_like(one, COLOURS[0])


@pytest.mark.parametrize(
    "point_of",
    [
        lambda _: {"loss": 1.0},
        lambda step: {"loss": math.nan if step % 2 else 1.0},
        lambda _: {"loss": math.nan},
        lambda step: {"loss": 1e30 if step == 2 else 0.0},
    ],
)
@pytest.mark.parametrize("steps", [1, 2, 60])
def test_flat_short_and_empty_curves_are_drawn(tmp_path: Path, point_of: Curve, steps: int) -> None:
    curves = {"run": written(tmp_path / "c.jsonl", steps, point_of)}
    assert draw_curves(curves, tmp_path / "c.png", ["loss"]).stat().st_size > 2000


def test_a_run_without_a_figure_leaves_the_panel_to_the_others(tmp_path: Path) -> None:
    curves = {
        "with": written(tmp_path / "1.jsonl", 50, falling(0)),
        "without": written(tmp_path / "2.jsonl", 50, lambda step: {"other": step}),
    }
    pixels = pixels_of(draw_curves(curves, tmp_path / "c.png", ["loss", "other"]))
    assert all(pixels_like(pixels, colour) > 200 for colour in COLOURS[:2])


def test_a_figure_that_no_run_has_is_named_with_those_there_are(tmp_path: Path) -> None:
    curves = {"run": written(tmp_path / "c.jsonl", 5, falling(0))}
    with pytest.raises(TrainingError, match=r"'los'.*Choose from: loss, reward"):
        draw_curves(curves, tmp_path / "c.png", ["los"])


def test_a_missing_curve_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"'run' is missing or empty.*c\.jsonl"):
        draw_curves({"run": tmp_path / "c.jsonl"}, tmp_path / "c.png", ["loss"])


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    curves = {"run": written(tmp_path / "c.jsonl", 5, falling(0))}
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(TrainingError, match="pip install matplotlib"):
        draw_curves(curves, tmp_path / "c.png", ["loss"])
    assert not (tmp_path / "c.png").exists()
