"""Packages that not everybody installs: a command that lacks one says which extra brings it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from streams.errors import AigqError, TrainingError

TRAINING: Final = "pip install 'aigq[cpu,train,data]'"


@contextmanager
def extras(doing: str, install: str = TRAINING, kind: type[AigqError] = TrainingError) -> Iterator[None]:
    """What is imported inside may be missing. Raises `kind`, which names the package and what installs it."""
    try:
        yield
    except ImportError as error:
        raise kind(f"{doing} needs a package that is not installed: {error.name}.", action=install) from error


def training_module(name: str) -> Any:
    """A module of the training room, which needs packages that serving does not. Raises TrainingError."""
    with extras("Training"):
        return importlib.import_module(name)
