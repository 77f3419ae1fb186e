"""A Redis database and folders of versions of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from agents.think.mapping import LoadOutcome
from streams.embedded.servers import EmbeddedRedis
from tests.redis_databases import empty_database
from tests.think_cuts import two_versions
from tests.think_life import load, write_named


@pytest.fixture
def url(redis_url: str) -> str:
    return empty_database(redis_url, 14)


@pytest.fixture
def client(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server that a test may kill or fill."""
    with EmbeddedRedis(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def served(url: str, tmp_path: Path) -> Path:
    """A folder with v1, which is served, and v2, which is not yet."""
    folder = tmp_path / "think"
    write_named(folder, "v2")
    write_named(folder, "v1")
    assert load(url, folder).outcome is LoadOutcome.LOADED
    return folder


@pytest.fixture
def larger(tmp_path: Path) -> Path:
    """A folder with v1, and v2, which is larger and which current.json names."""
    return two_versions(tmp_path / "think")
