"""A fuzz target: a border of ours, bytes in, and nothing but its documented error or a right result out."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

# One module a group, so that the fuzzer can import a group after it has begun to watch imports.
GROUPS: Final = {
    "record_targets": ("event", "step", "state", "work", "handover", "outcome"),
    "redis_targets": ("redis_values",),
    "folder_targets": ("mapping", "bundle_manifest", "bundle_parts", "bundle_copies"),
    "log_targets": ("log", "log_lines"),
    "command_targets": ("settings", "arguments"),
    "network_targets": ("wire", "http"),
}
NAMES: Final = tuple(name for names in GROUPS.values() for name in names)


@dataclass(frozen=True, slots=True)
class Target:
    """run: raises for an outcome that is not allowed. seeds: inputs to begin with, good ones among them.

    in_ci: inputs in `make test`. share: of a long run's inputs. max_bytes: of an input.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    in_ci: int
    share: float
    max_bytes: int = 4096


def target(name: str) -> Target:
    """The target of that name; imports what it needs."""
    group = next(group for group, names in GROUPS.items() if name in names)
    module = importlib.import_module(f"tests.fuzz.{group}")
    found: dict[str, Target] = module.TARGETS
    return found[name]


class WrongOutcomeError(AssertionError):
    """Neither an allowed error nor a right result."""


def must(holds: object, what: str) -> None:
    """An invariant of the result; asserts are not used, since they can be switched off."""
    if not holds:
        raise WrongOutcomeError(what)
