"""Connections: frames in, frames out, one request at a time on each.

Whatever a stranger sends closes that stranger's connection and nothing else: a length that is negative or
beyond the limit (HTTP and TLS look like one), half a request, a request we do not speak, a body that does
not decode, a request before the login where one is needed.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import socket
import ssl
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from streams.embedded import protocol
from streams.embedded.codes import Code
from streams.embedded.logins import SASL_AUTHENTICATE, SASL_HANDSHAKE, Login, Users
from streams.embedded.nulls import forbidden_null
from streams.embedded.protocol import API_VERSIONS, APIS, Fields, NotKafkaError, RequestHeader
from streams.embedded.rights import refusal

logger = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 100 * 1024 * 1024  # socket.request.max.bytes of Kafka
IDLE_S = 600.0  # connections.max.idle.ms of Kafka
_LEAST_REQUEST_BYTES = 10
_READ_BUFFER_BYTES = 1 << 21
_SASL = (SASL_HANDSHAKE, SASL_AUTHENTICATE)


class Caller(NamedTuple):
    """Who sent a request, and in which version."""

    version: int
    client_id: str
    host: str


Handler = Callable[[Any, Caller], Fields | Awaitable[Fields | None] | None]


class Server:
    """Listens on one port and hands requests to `handlers`, by API key.

    tls: with it, TLS is spoken and nothing else. users: with them, everybody must log in first.
    """

    def __init__(
        self,
        handlers: Mapping[int, Handler],
        *,
        tls: ssl.SSLContext | None = None,
        users: Users | None = None,
        max_request_bytes: int = MAX_REQUEST_BYTES,
    ) -> None:
        self._handlers = handlers
        self._tls, self._users = tls, users
        self._max_request_bytes = max_request_bytes
        self._connections: dict[asyncio.Task[None], float] = {}  # since when each has been quiet

    async def listen(self, listening: socket.socket) -> asyncio.Server:
        """Start to accept on a bound socket."""
        return await asyncio.start_server(
            self._accept, sock=listening, limit=_READ_BUFFER_BYTES, ssl=self._tls
        )

    def close_idle(self) -> None:
        """Close connections that have sent nothing for ten minutes; called from time to time."""
        now_s = time.monotonic()
        for task, quiet_since_s in self._connections.items():
            if now_s - quiet_since_s > IDLE_S:
                task.cancel()

    async def close_all(self) -> None:
        """Close every connection and wait until each is gone."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # for the type checker: we are in one
        host = str((writer.get_extra_info("peername") or ("unknown",))[0])
        login = Login(self._users) if self._users is not None else None
        try:
            while True:
                self._connections[task] = time.monotonic()
                frame = await self._read_frame(reader)
                self._connections[task] = float("inf")  # at work: a long poll is not idleness
                response = await self._answer(frame, host, login)
                if response is not None:
                    writer.write(response)
                    await writer.drain()
                if login is not None and login.is_refused:
                    raise NotKafkaError("a login that was refused")
        except NotKafkaError as error:
            logger.info("closed the connection from %s: %s", host, error)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError, ssl.SSLError):
            pass  # the client went away
        except asyncio.CancelledError:
            pass  # we stop, or it was idle; nobody awaits this task for its result
        except Exception:
            logger.exception("closed the connection from %s: a request failed", host)
        finally:
            del self._connections[task]
            writer.close()

    async def _read_frame(self, reader: asyncio.StreamReader) -> bytes:
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        if not _LEAST_REQUEST_BYTES <= size <= self._max_request_bytes:
            raise NotKafkaError(f"a request of {size} bytes")
        return await reader.readexactly(size)

    async def _answer(self, frame: bytes, host: str, login: Login | None) -> bytearray | None:
        header = protocol.read_header(frame)
        if not protocol.speaks(header.api_key, header.version):
            return self._refuse_version(header)
        request = protocol.decode_request(frame, header)
        caller = Caller(header.version, header.client_id, host)
        try:
            fields = await self._fields(header, request, caller, login)
        except (TypeError, AttributeError) as error:
            null = forbidden_null(request, header.version)
            if not null:
                raise
            raise NotKafkaError(f"{APIS[header.api_key].name}: {null} is null") from error
        if fields is None:
            return None
        return protocol.encode_response(header.api_key, header.version, header.correlation_id, fields)

    async def _fields(
        self, header: RequestHeader, request: Any, caller: Caller, login: Login | None
    ) -> Fields | None:
        api_key = header.api_key
        if api_key == API_VERSIONS:
            return self._api_versions()
        if login is not None:
            if api_key in _SASL:
                return login.answer(api_key, header.version, request)
            if not login.user:
                raise NotKafkaError(f"{APIS[api_key].name} before a login")
            refused = refusal(login.rights, api_key, request)
            if refused is not None:
                return refused
        if api_key not in self._handlers:
            raise NotKafkaError(f"{APIS[api_key].name}, which is not served here")
        fields = self._handlers[api_key](request, caller)
        return await fields if inspect.isawaitable(fields) else fields

    def _api_versions(self) -> Fields:
        """What we speak, for the ApiVersions request."""
        served = {*self._handlers, API_VERSIONS, *(_SASL if self._users is not None else ())}
        api_keys = [
            {"api_key": key, "min_version": api.min_version, "max_version": api.max_version}
            for key, api in APIS.items()
            if key in served
        ]
        return {"error_code": Code.NONE, "api_keys": api_keys}

    def _refuse_version(self, header: RequestHeader) -> bytearray:
        """Clients ask for ApiVersions first, in a newer version; they read the answer in version 0."""
        if header.api_key != API_VERSIONS:
            raise NotKafkaError(f"request {header.api_key} in version {header.version}")
        fields = self._api_versions() | {"error_code": Code.UNSUPPORTED_VERSION}
        return protocol.encode_response(API_VERSIONS, 0, header.correlation_id, fields)
