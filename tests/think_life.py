"""What tests of mapping versions on a real Redis share: versions to load, loaders, looks at the result."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson
import redis
import redis.asyncio
from typer.testing import CliRunner

from agents.think.entries import Pace
from agents.think.mapping import LoadOptions, LoadReport, load_mapping
from aigq.main import app
from streams.hint_store import HintReader
from streams.redis_client import connect_redis
from streams.redis_keys import THINK_CURRENT, think_index_key, think_key, think_progress_key
from streams.settings import load_settings
from streams.think_entry import ThinkPointer
from tests.mapping_folders import Queries, write_version

T = TypeVar("T")
TRIGGERS = [f"Trigger {number}" for number in range(250)]
FAST = LoadOptions(Pace(batch=100, rest=0.0))
SLOW = LoadOptions(Pace(batch=5, rest=5.0), lock_s=1.0)
LOAD_IN_CHILD = """
import asyncio, sys
from pathlib import Path
from agents.think.mapping import load_mapping
from streams.redis_client import connect_redis
from streams.settings import load_settings
from tests.think_life import SLOW
async def main():
    async with connect_redis(load_settings({}, redis_url=sys.argv[1])) as client:
        print((await load_mapping(client, Path(sys.argv[2]), SLOW)).outcome)
asyncio.run(main())
"""


def mapping_of(version: str, triggers: int = len(TRIGGERS)) -> Queries:
    """A version whose queries carry its name."""
    return {f"Trigger {number}": [f"{version} Trigger {number}"] for number in range(triggers)}


def write_named(root: Path, version: str, triggers: int = len(TRIGGERS)) -> Path:
    """Write the version with a popular list of its own, and name it in current.json."""
    return write_version(root, mapping_of(version, triggers), [f"{version} beer"], version=version)


def with_client(url: str, act: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T:
    """Do it with a client as workers have it."""

    async def run() -> T:
        async with connect_redis(load_settings({}, redis_url=url)) as client:
            return await act(client)

    return asyncio.run(run())


def load(url: str, root: Path, options: LoadOptions = FAST) -> LoadReport:
    """Load what current.json names."""
    return with_client(url, lambda client: load_mapping(client, root, options))


def loader_process(url: str, root: Path) -> subprocess.Popen[bytes]:
    """A slow loader in a process of its own; it prints its outcome."""
    command = [sys.executable, "-c", LOAD_IN_CHILD, url, str(root)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": "."})


def aigq(url: str, root: Path, *arguments: str) -> Any:
    """Run a command of ``aigq think`` that ends well; what it prints as JSON."""
    environ = {"AIGQ_REDIS_URL": url, "AIGQ_THINK_DIR": str(root)}
    done = CliRunner().invoke(app, ["think", *arguments, "--json"], env=environ, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return orjson.loads(done.stdout.splitlines()[-1])


def shown(url: str, trigger: str = "trigger 7", user: str = "nobody") -> tuple[str, ...]:
    """What a reader shows."""
    with HintReader.from_url(url) as reader:
        return reader.get(user, trigger=trigger).queries


def pointer_of(client: redis.Redis) -> ThinkPointer:
    """The pointer as it stands in Redis."""
    return ThinkPointer.model_validate_json(client.get(THINK_CURRENT))


def entries_of(client: redis.Redis, version: str) -> int:
    """How many entries stand in Redis."""
    return len(client.keys(think_key(version, "*")))


def keys_of(client: redis.Redis, version: str) -> int:
    """Entries and index."""
    return entries_of(client, version) + client.exists(think_index_key(version))


def written(client: redis.Redis, version: str) -> int:
    """How many lines a load that has not ended says it has written."""
    value: bytes = client.get(think_progress_key(version)) or b":0:"
    return int(value.split(b":")[1])


async def until_written(client: redis.asyncio.Redis, version: str, count: int = 1) -> None:
    """Wait for a loader that runs beside."""
    while await client.scard(think_index_key(version)) < count:
        await asyncio.sleep(0)


def load_new(url: str, root: Path, version: str) -> LoadReport:
    """Write the version, name it, load it."""
    write_named(root, version)
    return load(url, root)


def snapshot(client: redis.Redis) -> dict[object, object]:
    """All keys with their content."""
    return {key: client.dump(key) for key in client.keys("aigq:1:*")}
