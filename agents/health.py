"""``/live``, ``/ready`` and ``/metrics`` of a worker. Read-only; on 127.0.0.1 unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.errors import SettingsError
from streams.metrics import Metrics
from streams.settings import Settings


class HealthServer:
    """Answers what `problems` finds: a mapping of part → what is wrong with it; empty means ready.

    facts: what else `/ready` says of a part, whether it is ready or not.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        problems: Callable[[], dict[str, str]],
        facts: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._settings, self._metrics = settings, metrics
        self._problems, self._facts = problems, facts
        self._runner: web.AppRunner | None = None
        self.port = settings.web_port

    async def start(self) -> None:
        """Listen. Raises SettingsError when the port is taken."""
        app = web.Application()
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._expose)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._settings.web_host, self._settings.web_port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise SettingsError(
                f"Port {self._settings.web_port} on {self._settings.web_host} is taken.",
                action="Give this worker another AIGQ_WEB_PORT, or 0 for any free one.",
            ) from error
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close the port."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _live(self, _request: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _ready(self, _request: web.Request) -> web.Response:
        problems = self._problems()
        body = {"ready": not problems, "problems": problems, **self._facts()}
        return web.json_response(body, status=503 if problems else 200)

    async def _expose(self, _request: web.Request) -> web.Response:
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
