"""What a worker with the think role says of the mapping: metrics, and facts and problems for `/ready`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
import redis
import redis.asyncio

from agents.think.agent import NOT_YET, ThinkAgent
from agents.think.entries import Pace
from agents.think.lifecycle import promote_version, start_canary
from agents.think.mapping import LoadOptions
from streams.metrics import Metrics
from streams.redis_keys import THINK_LOCK
from streams.settings import load_settings
from tests.mapping_folders import write_manifest
from tests.think_life import FAST, load, until_written, with_client, write_named

DAY_S = 1_764_288_000  # 2025-11-28, midnight UTC


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """v1, built on a day; named in current.json."""
    folder = write_named(tmp_path / "think", "v1")
    write_manifest(folder, {"mapping.jsonl": 250, "popular.json": 1}, created="2025-11-28")
    return folder.parent


def agent_of(url: str, root: Path, client: redis.asyncio.Redis) -> ThinkAgent:
    return ThinkAgent(load_settings({}, redis_url=url, think_dir=root), client, Metrics())


def figure(agent: ThinkAgent, name: str, **labels: str) -> float | None:
    return agent.metrics.registry.get_sample_value(name, labels)


def test_a_loaded_version_is_told_with_its_age_and_size(url: str, root: Path) -> None:
    async def run(client: redis.asyncio.Redis) -> ThinkAgent:
        agent = agent_of(url, root, client)
        assert (agent.problem, agent.facts()["version"]) == (NOT_YET, None)
        await agent.load()
        await agent.load()
        return agent

    agent = with_client(url, run)
    assert agent.problem == ""
    assert agent.facts() == {
        "version": "v1",
        "loading": "",
        "triggers": 250,
        "created": "2025-11-28",
        "canary": None,
        "share": 0.0,
        "held": [],
    }
    assert figure(agent, "aigq_think_triggers") == 250
    assert figure(agent, "aigq_think_versions") == 1
    assert figure(agent, "aigq_think_created_seconds") == DAY_S
    loads = {one: figure(agent, "aigq_think_loads_total", outcome=one) for one in ("loaded", "unchanged")}
    assert loads == {"loaded": 1, "unchanged": 1}


def test_a_faulty_version_is_a_problem_while_the_one_before_is_served_and_told(url: str, root: Path) -> None:
    load(url, root)
    (write_named(root, "v2") / "mapping.jsonl").write_bytes(b"{")

    async def run(client: redis.asyncio.Redis) -> ThinkAgent:
        agent = agent_of(url, root, client)
        await agent.load()
        return agent

    agent = with_client(url, run)
    assert "v2/mapping.jsonl is not the file" in agent.problem
    assert agent.facts()["version"] == "v1"
    assert figure(agent, "aigq_think_loads_total", outcome="failed") == 1
    assert figure(agent, "aigq_think_triggers") == 250


def test_a_worker_that_begins_beside_a_served_version_is_ready_while_it_loads_the_next(
    url: str, root: Path
) -> None:
    load(url, root)
    write_named(root, "v2", triggers=1_000)

    async def run(client: redis.asyncio.Redis) -> None:
        agent = agent_of(url, root, client)
        agent.options = LoadOptions(Pace(batch=20, rest=1.0), report=agent.options.report)
        task = asyncio.create_task(agent.load())
        await until_written(client, "v2", 200)
        assert (agent.problem, agent.facts()["version"]) == ("", "v1")
        assert agent.facts()["loading"].startswith("v2: ")
        await task
        assert (agent.facts()["version"], agent.facts()["loading"]) == ("v2", "")

    with_client(url, run)


def test_what_people_decide_is_told_by_a_worker_that_did_not_load_it(
    url: str, root: Path, tmp_path: Path
) -> None:
    load(url, root)
    elsewhere = write_named(tmp_path / "elsewhere", "v2").parent
    write_named(elsewhere, "v3")

    async def run(other: redis.asyncio.Redis) -> ThinkAgent:
        agent = agent_of(url, root, other)
        await promote_version(other, elsewhere, "v2", FAST)
        await start_canary(other, elsewhere, "v3", 0.25, FAST)
        await agent.load()
        return agent

    agent = with_client(url, run)
    facts = agent.facts()
    assert (facts["version"], facts["canary"], facts["share"], facts["held"]) == ("v2", "v3", 0.25, ["v1"])
    assert (facts["created"], figure(agent, "aigq_think_created_seconds")) == ("", 0)  # not of its folder
    assert figure(agent, "aigq_think_loads_total", outcome="held") == 1
    assert figure(agent, "aigq_think_versions") == 3


def test_a_worker_that_finds_another_at_work_has_no_problem_of_its_own(
    url: str, root: Path, client: redis.Redis
) -> None:
    client.set(THINK_LOCK, "another", px=60_000)

    async def run(other: redis.asyncio.Redis) -> ThinkAgent:
        agent = agent_of(url, root, other)
        await agent.load()
        return agent

    agent = with_client(url, run)
    assert figure(agent, "aigq_think_loads_total", outcome="busy") == 1
    assert agent.problem == NOT_YET
    assert orjson.dumps(agent.facts())
