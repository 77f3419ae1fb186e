"""The world of processes: who takes which rows, and who is in it at all."""

from __future__ import annotations

import numpy as np
import pytest

from streams.errors import TrainingError
from training.processes import ALONE, World, joined_world, share


@pytest.mark.parametrize("count", [3, 7, 12])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_shares_are_the_rows_in_order_and_alike_in_size(count: int, size: int) -> None:
    rows = list(range(count))
    parts = [share(rows, World(rank, size)) for rank in range(size)]
    assert sum(parts, []) == rows  # noqa: RUF017 - few
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert share(np.array(rows), World(0, size)).tolist() == parts[0]


def test_a_batch_smaller_than_the_world_is_refused() -> None:
    with pytest.raises(TrainingError, match="2 rows cannot be split over 3 processes"):
        share([1, 2], World(0, 3))


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with joined_world() as world:
        assert world == ALONE
        assert world.writes
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined_world() as world:
        assert world == ALONE


@pytest.mark.parametrize(("rank", "size"), [("2", "2"), ("x", "2"), ("0", "-1")])
def test_a_number_that_names_no_process_is_refused(
    monkeypatch: pytest.MonkeyPatch, rank: str, size: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(TrainingError, match="do not name a process"), joined_world():
        pass


def test_others_that_cannot_be_reached_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_PORT": "1"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(TrainingError, match="Process 1 of 2 cannot join the others"), joined_world():
        pass
