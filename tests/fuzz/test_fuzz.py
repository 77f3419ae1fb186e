"""A few thousand hostile inputs at every border, always the same ones; `make fuzz` has a million more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.mutate import inputs
from tests.fuzz.target import NAMES, target

SEED = 20261128
FOUND = Path(__file__).parents[1] / "fixtures" / "fuzz"


@pytest.mark.parametrize("name", NAMES)
def test_hostile_input_meets_the_documented_error_or_gives_a_right_result(name: str) -> None:
    chosen = target(name)
    count = 0
    for data in inputs(chosen.seeds, SEED, chosen.in_ci, chosen.max_bytes):
        try:
            chosen.run(data)
        except BaseException as error:
            error.add_note(f"target {name}, input {data[:2000]!r}")
            raise
        count += 1
    assert count == chosen.in_ci


@pytest.mark.parametrize(
    "file", sorted(FOUND.glob("*/*")), ids=lambda file: f"{file.parent.name}-{file.name}"
)
def test_what_the_fuzzer_found_once_is_no_finding_any_more(file: Path) -> None:
    target(file.parent.name).run(file.read_bytes())


def test_the_shares_of_a_long_run_are_a_whole() -> None:
    assert sum(target(name).share for name in NAMES) == pytest.approx(1.0, abs=0.05)
