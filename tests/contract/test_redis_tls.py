"""`rediss://` with a certificate of one's own: read over TLS, refused where nobody knows the certificate."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from streams.errors import StoreRefusedError
from streams.hint_store import AsyncHintReader
from streams.hint_writer import HintWriter
from streams.redis_client import connect_redis
from streams.settings import Settings, load_settings
from tests.redis_databases import empty_database, list_of

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl makes the test's certificate"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificate for 127.0.0.1, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


async def tls_in_front_of(url: str, certificate: tuple[Path, Path]) -> asyncio.Server:
    """A TLS door to the plain Redis of `url`."""
    place = urlsplit(url)

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(place.hostname, place.port or 6379)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer), return_exceptions=True)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)


async def write_and_read(settings: Settings) -> tuple[str, ...]:
    async with connect_redis(settings) as client:
        await HintWriter(client, runs_kept=1, ttl_s=60).publish([list_of("u", "milk")])
        return (await AsyncHintReader(client).get("u")).queries


def over_tls(redis_url: str, certificate: tuple[Path, Path], ca_file: Path | None) -> tuple[str, ...]:
    url = empty_database(redis_url, 5)

    async def run() -> tuple[str, ...]:
        async with await tls_in_front_of(url, certificate) as server:
            port = server.sockets[0].getsockname()[1]
            return await write_and_read(
                load_settings({}, redis_url=f"rediss://127.0.0.1:{port}/5", redis_ca_file=ca_file)
            )

    return asyncio.run(run())


def test_lists_are_written_and_read_over_tls(redis_url: str, certificate: tuple[Path, Path]) -> None:
    assert over_tls(redis_url, certificate, ca_file=certificate[0]) == ("milk",)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    redis_url: str, certificate: tuple[Path, Path]
) -> None:
    with pytest.raises(StoreRefusedError, match="AIGQ_REDIS_CA_FILE"):
        over_tls(redis_url, certificate, ca_file=None)
