"""The disk of the local state is full: the worker ends and says why, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.case import Case
from tests.faults.known_stream import known, real_events
from tests.shop import wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]
SIZE = "24m"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of SIZE."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)], check=False)
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(ballast: Path) -> None:
    """Write until nothing more fits."""
    with ballast.open("wb", buffering=0) as file:
        for size in (65_536, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


def test_a_full_disk_ends_the_worker_and_a_restart_with_room_goes_on(case: Case, small_disk: Path) -> None:
    worker = case.shop.worker(
        "session", "hints", AIGQ_STATE_STORE="rocksdb", AIGQ_DATA_DIR=str(small_disk / "state")
    )
    case.feed(known(real_events(1000)), 60.0)
    case.wait_until_sent(0.3)
    fill(small_disk / "ballast")
    wait_until(lambda: not worker.is_running, "the worker to end", 90)
    assert "local state" in worker.log_path.read_text()
    (small_disk / "ballast").unlink()
    worker.restart()
    account = case.balance()
    assert not account.dead_letters
