"""What a training run keeps on disk, and goes on from: its state and its learning curve.

    state.pt       step, settings, weights and optimizer; replaced as a whole or not at all
    curve.jsonl    a line per step; on disk before a state is, so that no step of a state is missing in it

A state belongs to its run's settings: all that the path depends on, each by name, the network's tensors among
them. With others it is refused and left as it is. Weights that are no numbers are never written. All ours.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import torch
from torch import nn

from streams.errors import TrainingError
from training.curves import Point, opened_curve, point_line, read_curve, replace_file
from training.processes import World, begin_alike, from_first

FORMAT: Final = 1
STATE_NAME: Final = "state.pt"
CURVE_NAME: Final = "curve.jsonl"


@dataclass(slots=True)
class RunState:
    """A run's network and optimizer, and where they are kept. settings: JSON by name. kept: the step of the
    state on disk, 0 for none."""

    folder: Path
    network: nn.Module
    optimizer: torch.optim.Optimizer
    settings: Mapping[str, str]
    world: World
    kept: int = 0

    def resume(self) -> list[Point]:
        """Load the folder's state in place; the curve up to it. Every process has what process 0 found.
        Raises TrainingError: a state of other settings or no state at all, a disk that refuses."""
        content, points = None, []
        if self.world.writes:
            with self._disk():
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / STATE_NAME
                content = path.read_bytes() if path.exists() else None
                points = read_curve(self.folder / CURVE_NAME)
        content, points = from_first((content, points), self.world)
        if content is None:
            begin_alike(self.network, self.world)
        else:
            self.kept = self._load(content)
        return [point for point in points if point["step"] <= self.kept]

    def curve(self, points: Sequence[Point]) -> AbstractContextManager[IO[str] | None]:
        """The curve's file, now of `points` alone, to be added to; None in a process that does not write."""
        with self._disk():
            return opened_curve(self.folder / CURVE_NAME, points) if self.world.writes else nullcontext()

    def write(self, point: Point, curve: IO[str] | None, *, save: bool) -> None:
        """A step's line in the curve, and after it the state if `save`. Raises TrainingError."""
        with self._disk():
            if curve is not None:
                curve.write(point_line(point))
                curve.flush()
            if save:
                self._save(int(point["step"]), curve)

    def check(self, value: float, name: str, step: int) -> None:
        """Raises TrainingError for a value that is no finite number."""
        if not math.isfinite(value):
            raise TrainingError(
                f"The {name} is {value} at step {step}. {self.says()}",
                action="The same settings end the same way: train in a new folder with a lower learning"
                " rate, or look at the data of this step.",
            )

    def says(self) -> str:
        """What is left of the run when it ends here."""
        if not self.kept:
            return f"No state was written to {self.folder} yet."
        return f"The state of step {self.kept} in {self.folder} stays as it was."

    def _save(self, step: int, curve: IO[str] | None) -> None:
        weights = self.network.state_dict()
        for name, values in weights.items():
            for wrong in values[~values.isfinite()].tolist():
                self.check(wrong, f"weight {name!r}", step)
        if curve is not None:
            content = {"format": FORMAT, "step": step, "settings": dict(self.settings), "weights": weights}
            packed = io.BytesIO()
            torch.save({**content, "optimizer": self.optimizer.state_dict()}, packed)
            os.fsync(curve.fileno())
            replace_file(self.folder / STATE_NAME, packed.getvalue())
        self.kept = step

    def _load(self, content: bytes) -> int:
        path = self.folder / STATE_NAME
        try:
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if state["format"] != FORMAT:
                raise ValueError(f"its format is {state['format']}, ours is {FORMAT}")
            _compare(state["settings"], self.settings, path)
            self.network.load_state_dict(state["weights"])
            self.optimizer.load_state_dict(state["optimizer"])
            return int(state["step"])
        except TrainingError:
            raise
        except Exception as error:
            raise TrainingError(
                f"{path} is no state of this version: {error}. It was left as it is.",
                action="Train in a new folder, or remove this one.",
            ) from error

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"The run's files cannot be read or written: {error}. {self.says()}",
                action="Make room or set the folder's rights, then run the same command again to go on.",
            ) from error


def settings_of(chosen: Mapping[str, Any], network: nn.Module) -> dict[str, str]:
    """All that a state depends on, each as JSON: what was chosen, and a digest of the network's tensors."""
    shapes = [(name, list(values.shape), str(values.dtype)) for name, values in network.state_dict().items()]
    digest = hashlib.sha256(json.dumps(shapes).encode()).hexdigest()[:12]
    named = {**chosen, "tensors of the network": digest}
    return {name: json.dumps(value, sort_keys=True) for name, value in named.items()}


def _compare(theirs: Mapping[str, str], ours: Mapping[str, str], path: Path) -> None:
    names = sorted(name for name in theirs.keys() | ours.keys() if theirs.get(name) != ours.get(name))
    if names:
        changes = [f"{name} was {theirs.get(name, 'unset')}, is {ours.get(name, 'unset')}" for name in names]
        raise TrainingError(
            f"{path} belongs to a run of other settings: {'; '.join(changes)}. It was left as it is.",
            action="Use its settings to go on, or train in a new folder.",
        )
