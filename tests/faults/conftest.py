"""Servers that a test may break, and which cases run when.

Cases marked `faults` run with `make faults` only, as often as FAULT_ROUNDS says; the others are a part of
`make test` too, where they run once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.embedded.servers import EmbeddedKafka, EmbeddedRedis
from tests.faults.case import Case

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "0"))


@pytest.hookimpl(tryfirst=True)  # tests/conftest.py reads the mark that is set here
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here breaks servers of its own; the long cases only when rounds are asked for."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.embedded_only)
            # Clients of servers that were killed leave their sockets to the garbage collector.
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"))
            if item.get_closest_marker("faults") and not ROUNDS:
                item.add_marker(pytest.mark.skip(reason="a long case: `make faults`"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each case so many times, each time with another seed for what is random."""
    if "fault_round" in metafunc.fixturenames:
        metafunc.parametrize("fault_round", range(max(1, ROUNDS)), ids=lambda number: f"round{number}")


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[EmbeddedKafka]:
    # The ledger wants to see every state that was ever written, not the newest alone.
    with EmbeddedKafka(tmp_path / "kafka", options=("--clean-every-s", "86400")) as server:
        yield server


@pytest.fixture
def case(
    kafka: EmbeddedKafka,
    redis_server: EmbeddedRedis,
    tmp_path: Path,
    fault_round: int,
    request: pytest.FixtureRequest,
) -> Iterator[Case]:
    """A case whose workers are stopped at the end."""
    opened = Case(kafka, redis_server, tmp_path, request.node.name, fault_round)
    try:
        yield opened
    finally:
        opened.close()
