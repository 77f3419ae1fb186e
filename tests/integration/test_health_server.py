"""The worker's HTTP endpoints: for reading alone, for whom they are meant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import structlog

from agents.health import HealthServer, is_loopback
from aigq.findings import examine
from streams.metrics import Metrics
from streams.settings import Settings, load_settings

PATHS = ("/live", "/ready", "/metrics")
TOKEN = "let me in"  # noqa: S105 - of the test


@asynccontextmanager
async def served(**settings: Any) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    server = HealthServer(load_settings({}, web_port=0, **settings), Metrics(), dict)
    await server.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield session, f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop()


def status_of(method: str, path: str, *, settings: dict[str, Any] | None = None, **options: Any) -> int:
    async def ask() -> int:
        async with (
            served(**(settings or {})) as (session, url),
            session.request(method, url + path, **options) as response,
        ):
            return response.status

    return asyncio.run(ask())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_every_endpoint_can_be_read(path: str, method: str) -> None:
    assert status_of(method, path) == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_written(path: str, method: str) -> None:
    assert status_of(method, path) == 405


def test_there_are_no_other_endpoints() -> None:
    async def routes() -> set[tuple[str, str]]:
        server = HealthServer(Settings(web_port=0), Metrics(), dict)
        await server.start()
        try:
            assert server._runner is not None
            router = server._runner.app.router
            return {(route.method, route.resource.canonical) for route in router.routes() if route.resource}
        finally:
            await server.stop()

    assert asyncio.run(routes()) == {(method, path) for method in ("GET", "HEAD") for path in PATHS}


def test_a_body_is_refused() -> None:
    assert status_of("GET", "/metrics", data=b"x") == 413


def test_a_long_address_and_a_long_header_are_refused() -> None:
    assert status_of("GET", "/live?" + "x" * 5000) == 400
    assert status_of("GET", "/live", headers={"x-long": "x" * 10_000}) == 400


@pytest.mark.parametrize(
    ("header", "status"),
    [(f"Bearer {TOKEN}", 200), ("Bearer other", 401), (f"Basic {TOKEN}", 401), ("Bearer ü", 401), ("", 401)],
)
def test_a_token_is_wanted_where_one_is_set(header: str, status: int) -> None:
    settings = {"web_token": TOKEN}
    for path in ("/ready", "/metrics"):
        assert status_of("GET", path, settings=settings, headers={"Authorization": header}) == status
    assert status_of("GET", "/live", settings=settings) == 200


@pytest.mark.parametrize(
    ("host", "near"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("shop.example", False)],  # noqa: S104 - judged, not bound
)
def test_what_only_this_machine_reaches_is_told_apart(host: str, near: bool) -> None:
    assert is_loopback(host) is near


def test_a_worker_that_others_reach_warns_when_it_starts() -> None:
    with structlog.testing.capture_logs() as logs:
        asyncio.run(_served_once(web_host="0.0.0.0"))  # noqa: S104 - the test's own, for a moment
        asyncio.run(_served_once(web_host="0.0.0.0", web_token=TOKEN))  # noqa: S104 - the same
        asyncio.run(_served_once())
    assert [line["event"] for line in logs] == ["web_is_open"]


def test_the_doctor_warns_of_endpoints_that_others_reach(kafka_url: str, redis_url: str) -> None:
    def of_the_web(**settings: Any) -> list[str]:
        found = examine(load_settings({}, kafka_url=kafka_url, redis_url=redis_url, **settings))
        return [one.level for one in found if one.part == "web"]

    assert of_the_web() == []
    assert of_the_web(web_host="0.0.0.0") == ["warning"]  # noqa: S104 - judged, not bound
    assert of_the_web(web_host="0.0.0.0", web_token=TOKEN) == []  # noqa: S104 - the same


async def _served_once(**settings: Any) -> None:
    async with served(**settings):
        pass
