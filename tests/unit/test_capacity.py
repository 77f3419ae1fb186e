"""The capacity model: what costs more needs more, and the simulation hashes as Kafka does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from kafka.partitioner import murmur2 as kafkas

from benchmarks.capacity import computed, written
from benchmarks.capacity_model import Assumptions, Costs, need, partitions_for
from benchmarks.shards import KEY, activity, hashes, most_to_mean, murmur2
from streams.errors import SettingsError
from streams.replay_order import partition_of

COSTS = Costs(
    event_us=100,
    list_us=3000,
    kafka_us=20,
    redis_us=50,
    state_bytes=1500,
    worker_bytes=2000,
    redis_bytes=5000,
    records_s=50_000,
)
PLAIN = Assumptions(
    active=0.1, events=20, lists_an_event=0.1, peak=4.32, used=0.5, cores=8, memory_gb=32, with_lists=0.5,
    copies=3, recover_s=100, skew=0.0,
)  # fmt: skip


def test_a_shop_worked_out_by_hand() -> None:
    found = need(1e6, COSTS, PLAIN)
    assert found.events_s == pytest.approx(100)  # 1e6 · 0.1 · 20 · 4.32 / 86,400
    assert found.lists_s == pytest.approx(10)
    assert (found.session_workers, found.bound_by) == (1, "memory")  # 2 GB of 3 GB a core
    assert found.hints_workers == 1  # 10 · 3 ms / 0.5 = 0.06
    assert found.worker_gb == pytest.approx(2)
    assert found.redis_gb == pytest.approx(5)  # two copies
    assert found.kafka_gb == pytest.approx(4.5)  # three
    assert found.partitions == 16
    assert found.machines == 2  # 3 cores, and 5 GB of Redis


@pytest.mark.parametrize(
    ("changed", "bound_by"),
    [({"event_us": 1e5}, "events"), ({"records_s": 100.0}, "recovery"), ({"worker_bytes": 1e5}, "memory")],
)
def test_whatever_costs_most_decides_how_many_session_workers_there_are(
    changed: dict[str, float], bound_by: str
) -> None:
    before, after = need(1e6, COSTS, PLAIN), need(1e6, replace(COSTS, **changed), PLAIN)
    assert after.bound_by == bound_by
    assert after.session_workers > before.session_workers


def test_a_thousand_times_the_users_need_about_a_thousand_times_the_machines() -> None:
    small, large = need(1e9, COSTS, PLAIN), need(1e12, COSTS, PLAIN)
    assert large.machines == pytest.approx(1000 * small.machines, rel=0.01)


@pytest.mark.parametrize("workers", [1, 3, 30, 300])
def test_ten_partitions_a_worker_keep_a_remainder_below_a_tenth(workers: int) -> None:
    partitions = partitions_for(workers)
    assert -(-partitions // workers) * workers / partitions <= 1.1


@pytest.mark.parametrize("length", [1, 4, 7, 18])
def test_the_simulation_hashes_as_kafkas_clients_do(length: int) -> None:
    keys = np.random.default_rng(length).integers(0, 256, (50, length), np.uint8)
    assert murmur2(keys).tolist() == [kafkas(key.tobytes()) & 0xFFFFFFFF for key in keys]
    assert (hashes(100) % 12).tolist() == [partition_of((KEY % n).encode(), 12) for n in range(100)]


def test_all_alike_are_spread_evenly_and_the_uneven_are_not() -> None:
    assert most_to_mean(200_000, 0.0, 64, 8) < 1.03
    assert most_to_mean(200_000, 0.8, 64, 8) > most_to_mean(200_000, 0.5, 64, 8) > 1.0
    assert activity(1000, 0.8).max() == pytest.approx(1000**0.8 * activity(1000, 0.8).min())


def test_partitions_that_do_not_divide_weigh_on_some_workers() -> None:
    assert most_to_mean(200_000, 0.0, 32, 30) > 1.8
    assert most_to_mean(200_000, 0.0, 300, 30) < 1.05


def test_without_results_the_page_says_so_and_quick_runs_do_not_count(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Not measured yet: scale_out"):
        Costs.read(tmp_path)
    (tmp_path / "scale_out.json").write_bytes(orjson.dumps({"quick": True, "figures": []}))
    assert "Not measured yet: scale_out" in computed(tmp_path)


def test_writing_the_page_twice_changes_nothing_and_keeps_what_is_around(tmp_path: Path) -> None:
    page = (
        "# Before\n<!-- computed: python -m benchmarks.capacity --save -->\nold\n<!-- /computed -->\nAfter\n"
    )
    once = written(page, tmp_path)
    assert once == written(once, tmp_path)
    assert once.startswith("# Before\n")
    assert once.endswith("<!-- /computed -->\nAfter\n")
    assert "old" not in once
