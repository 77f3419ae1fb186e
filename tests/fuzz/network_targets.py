"""What a stranger sends to our ports: the embedded broker's wire protocol, the worker's HTTP endpoint."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import struct
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from agents.health import HealthServer
from streams.embedded.broker import Broker
from streams.embedded.broker_options import BrokerOptions
from streams.embedded.protocol import APIS, NotKafkaError
from streams.metrics import Metrics
from streams.settings import load_settings
from tests.fuzz.target import Target, must

LONG_POLL_S: Final = 0.02
TOPIC: Final = b"\0\5topic"


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop


@cache
def _broker() -> Broker:
    folder = Path(tempfile.mkdtemp(prefix="aigq-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    broker = Broker(BrokerOptions(folder))
    atexit.register(broker.close)
    return broker


def run_wire(data: bytes) -> None:
    """A frame as it comes, and its body as one of the requests we speak: an answer, or we hang up."""
    _loop().run_until_complete(_wire(data))


async def _wire(data: bytes) -> None:
    keys = sorted(APIS)
    number = data[0] if data else 0
    key = keys[number % len(keys)]
    versions = range(APIS[key].min_version, APIS[key].max_version + 1)
    header = struct.pack(">hhih", key, versions[number // 32 % len(versions)], 1, -1)
    for frame in (data, header + data[1:]):
        try:
            await asyncio.wait_for(_broker()._server._answer(frame, "stranger", None), LONG_POLL_S)
        except (NotKafkaError, TimeoutError):
            continue


def run_http(data: bytes) -> None:
    """Any bytes: the endpoint answers or closes, and still says that it is ready."""
    _loop().run_until_complete(_http(data))


async def _http(data: bytes) -> None:
    server = await _health()
    path = data.split(b"\n")[0]
    for sent in (data, b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):
        answer = await _exchange(server.port, sent, ends=sent is data)
        must(not answer or answer.startswith(b"HTTP/"), "no answer of ours")
        must(b"Traceback" not in answer and not answer.startswith(b"HTTP/1.1 500"), "the endpoint failed")
    must(b'"ready":true' in await _exchange(server.port, READY), "the endpoint died")


async def _exchange(port: int, sent: bytes, *, ends: bool = False) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        if ends:  # or half a request would be waited for
            writer.write_eof()
        return await asyncio.wait_for(reader.read(1 << 20), 2.0)
    except (ConnectionError, TimeoutError):
        return b""
    finally:
        writer.close()


HEALTH: dict[str, HealthServer] = {}


async def _health() -> HealthServer:
    if not HEALTH:
        server = HealthServer(load_settings({"AIGQ_WEB_PORT": "0"}), Metrics(), dict)
        await server.start()
        HEALTH["one"] = server
    return HEALTH["one"]


READY: Final = b"GET /ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def _frames() -> list[bytes]:
    """Each request with a body that decodes in one version or another."""
    text, none = b"\0\4name", b"\xff\xff"
    counts = [struct.pack(">i", 1), struct.pack(">i", 0), struct.pack(">i", -1), struct.pack(">i", 2**31 - 1)]
    one, zero, flag = counts[0], counts[1], struct.pack(">i?", 1000, False)
    place = TOPIC + one
    bodies = [
        *(count + TOPIC + struct.pack(">iiqq", 1, 0, 0, 100) for count in counts),
        *(text + TOPIC + count for count in counts),
        one + TOPIC + struct.pack(">ih", 3, 1) + zero + zero + flag,
        one + TOPIC + struct.pack(">i", 2**31 - 1) + zero + flag,
        none + struct.pack(">hi", 1, 1000) + one + place + struct.pack(">ii", 0, 5) + b"xxxxx",
        struct.pack(">iiii?", -1, 0, 1, 1000, False) + one + place + struct.pack(">iqi", 0, 0, 9),
        text + struct.pack(">ii", 6000, 6000) + b"\0\0" + b"\0\10consumer" + one + text + zero,
        text + struct.pack(">i", 1) + b"\0\0" + one + place + struct.pack(">iq", 0, 5) + none,
        b"",
    ]
    return [bytes([number]) + body for number in range(0, 256, 3) for body in bodies[number % 4 :: 4]]


def _requests() -> list[bytes]:
    return [
        READY,
        b"/metrics",
        b"/ready?" + b"x" * 4000,
        b"POST /ready HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /live HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"GET /../../etc/passwd HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x00\xf8",
    ]


TARGETS: Final[dict[str, Any]] = {
    one.name: one
    for one in (
        Target("wire", run_wire, _frames(), in_ci=500, share=0.03),
        Target("http", run_http, _requests(), in_ci=60, share=0.002),
    )
}
