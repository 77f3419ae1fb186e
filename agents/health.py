"""``/live``, ``/ready`` and ``/metrics`` of a worker: on 127.0.0.1 unless told otherwise.

Nothing can be changed by them: they answer GET and HEAD, take no body, and say nothing of a person. With
AIGQ_WEB_TOKEN the last two want it as ``Authorization: Bearer …``; ``/live`` says nothing but that.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.errors import SettingsError
from streams.metrics import Metrics
from streams.redaction import without_secrets
from streams.settings import Settings

log = structlog.get_logger("health")
# Of a request: its first line, one header, and how long a silent connection is kept.
LINE_BYTES: Final = 2048
HEADER_BYTES: Final = 4096
KEEP_ALIVE_S: Final = 15.0
OPEN_PATHS: Final = ("/live",)


class HealthServer:
    """Answers what `problems` finds: a mapping of part → what is wrong with it; empty means ready.

    facts: what else `/ready` says of a part, whether it is ready or not. dead: which needed tasks have ended:
    only then, or when the loop itself stands still, the process is not live.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        problems: Callable[[], dict[str, str]],
        facts: Callable[[], dict[str, Any]] = dict,
        dead: Callable[[], list[str]] = list,
    ) -> None:
        self._settings, self._metrics = settings, metrics
        self._problems, self._facts, self._dead = problems, facts, dead
        self._runner: web.AppRunner | None = None
        self.port = settings.web_port

    async def start(self) -> None:
        """Listen. Raises SettingsError when the port is taken."""
        if not is_loopback(self._settings.web_host) and not self._token:
            log.warning(
                "web_is_open", host=self._settings.web_host, action="set AIGQ_WEB_TOKEN, or a firewall"
            )
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._expose)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            max_line_size=LINE_BYTES,
            max_field_size=HEADER_BYTES,
            keepalive_timeout=KEEP_ALIVE_S,
        )
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

    @property
    def _token(self) -> str:
        return self._settings.web_token.get_secret_value()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.body_exists and request.content_length != 0:
            raise web.HTTPRequestEntityTooLarge(max_size=0, actual_size=request.content_length or 1)
        if self._token and request.path not in OPEN_PATHS:
            kind, _, given = request.headers.get("Authorization", "").partition(" ")
            if kind != "Bearer" or not hmac.compare_digest(given.encode(), self._token.encode()):
                raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    async def _live(self, _request: web.Request) -> web.Response:
        dead = self._dead()
        return web.json_response({"live": not dead}, status=503 if dead else 200)

    async def _ready(self, _request: web.Request) -> web.Response:
        problems = self._problems()
        body = {"ready": not problems, "problems": problems, **self._facts()}
        text = without_secrets(orjson.dumps(body, default=str).decode())
        return web.json_response(text=text, status=503 if problems else 200)

    async def _expose(self, _request: web.Request) -> web.Response:
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
