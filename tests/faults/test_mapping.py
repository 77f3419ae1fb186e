"""A mapping file that is torn while a worker loads it: the version before stays, until the file is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from streams.redis_keys import THINK_CURRENT, think_progress_key
from tests.faults.case import Case
from tests.mapping_folders import write_version
from tests.shop import get, wait_until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
TRIGGERS = 60_000


def served(client: Any) -> str:
    found = client.get(THINK_CURRENT)
    return str(orjson.loads(found)["version"]) if found else ""


def test_a_mapping_file_torn_in_the_middle_of_its_loading_is_not_served(case: Case, tmp_path: Path) -> None:
    root = tmp_path / "mappings"
    write_version(root, {"milk": ["cookies"]}, version="v1")
    worker = case.shop.worker("think", AIGQ_THINK_DIR=str(root), AIGQ_THINK_EVERY_S="0.5")
    large = {f"trigger {number}": ["milk", "bread"] for number in range(TRIGGERS)}
    with redis.Redis.from_url(case.redis.url) as client:
        wait_until(lambda: served(client) == "v1", "the first version")
        file = write_version(root, large, version="v2") / "mapping.jsonl"
        whole = file.read_bytes()
        wait_until(lambda: client.exists(think_progress_key("v2")), "the loading to begin")
        with file.open("r+b") as open_file:
            open_file.truncate(len(whole) // 2 + 7)
        wait_until(lambda: get(f"{worker.health_url}/ready")[0] == 503, "the worker to tell it")
        assert served(client) == "v1"
        file.write_bytes(whole)
        wait_until(lambda: served(client) == "v2", "the version to be loaded once it is whole", 120)
        wait_until(lambda: get(f"{worker.health_url}/ready")[0] == 200, "the worker to be ready")
