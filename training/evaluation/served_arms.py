"""The arms of what is served: a bundle, a Think mapping, and both (training.evaluation.think_arm)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from agents.hints.bundle import load_bundle
from agents.think.folder_entries import FolderEntries, folder_entries
from streams.errors import TrainingError
from streams.think_merge import THINK_PLACES
from training.datasets.dataset import Dataset
from training.evaluation.bundle_arm import BundleArm
from training.evaluation.cases import Recommender
from training.evaluation.think_arm import direct_popular_arm, direct_think_arm, moments_alone, think_arm

BUNDLE: Final = "bundle"
THINK: Final = "think"
DIRECT_THINK: Final = "direct_think"
DIRECT_POPULAR: Final = "direct_popular"
NEEDS: Final = {
    BUNDLE: ("--bundle",),
    THINK: ("--mapping",),
    DIRECT_THINK: ("--bundle", "--mapping"),
    DIRECT_POPULAR: ("--bundle", "--mapping"),
}
SERVED: Final = tuple(NEEDS)


@dataclass
class ServedArms:
    """bundle: its folder. mapping: a Think mapping's, FOLDER (its current version) or FOLDER/version.

    think_places: the reader's.
    """

    data: Dataset
    part: str
    bundle: Path | None
    mapping: Path | None
    think_places: int = THINK_PLACES

    def names(self) -> list[str]:
        """The arms that can be made."""
        return [name for name in SERVED if not self._lacks(name)]

    def check(self, name: str) -> None:
        """Raises TrainingError when the arm cannot be made."""
        if lacking := self._lacks(name):
            raise TrainingError(
                f"There is no arm {name}: it needs {' and '.join(lacking)}.",
                action="Name the folders, or leave the arm out.",
            )

    def recommender(self, name: str) -> Recommender:
        """One of `names`. Raises BundleError, MappingError."""
        if name == BUNDLE:
            return self._bundle
        if name == THINK:
            moments = self._bundle.moments if self.bundle else moments_alone(self.data, self.part)
            return think_arm(moments, self.entries)
        if name == DIRECT_THINK:
            return direct_think_arm(self._bundle, self.entries, self.think_places)
        return direct_popular_arm(self._bundle, self.entries)

    @cached_property
    def entries(self) -> FolderEntries:
        """What the mapping says; nothing without one. Raises MappingError."""
        return folder_entries(self.mapping) if self.mapping else FolderEntries("", {})

    @cached_property
    def _bundle(self) -> BundleArm:
        if self.bundle is None:
            raise AssertionError("checked before")
        return BundleArm(load_bundle(self.bundle), self.data, self.part)

    def _lacks(self, name: str) -> list[str]:
        given = {"--bundle": self.bundle, "--mapping": self.mapping}
        return [option for option in NEEDS[name] if given[option] is None]
