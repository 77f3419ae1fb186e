"""The embedded Kafka and Redis and a worker, as `aigq demo` and `aigq up` run them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streams.embedded.child import GuardedChild
from streams.embedded.servers import EmbeddedKafka, EmbeddedRedis, EmbeddedServer

WORKER_READY_S = 90.0


class WorkerProcess(EmbeddedServer):
    """``aigq worker`` as a child that stops with this process; `health_url` once it is ready."""

    name = "worker"

    def __init__(self, data_dir: Path, settings: Mapping[str, str], *, roles: tuple[str, ...] = ()) -> None:
        super().__init__(data_dir)
        self.health_url = ""
        # AIGQ_WEB_PORT=0: any free port, told in the ready line.
        self._settings = {"AIGQ_WEB_PORT": "0", "AIGQ_DATA_DIR": str(data_dir / "state"), **settings}
        self._roles = [part for role in roles for part in ("--only", role)]

    def _spawn(self) -> GuardedChild:
        names = [f"{name}={value}" for name, value in self._settings.items()]
        program = [sys.executable, "-m", "aigq.main", "worker", "--json", *self._roles]
        return GuardedChild(self.name, ["/usr/bin/env", *names, *program], log_path=self.log_path)

    def _launch(self) -> GuardedChild:
        child = self._spawn()
        ready = child.read_message(WORKER_READY_S)
        if ready is None:
            child.stop()
            raise child.failure("did not start")
        self.health_url = str(ready["health"])
        return child


@dataclass(frozen=True, slots=True)
class Services:
    """Running servers; `settings` is the environment that reaches them."""

    kafka: EmbeddedKafka
    redis: EmbeddedRedis
    settings: dict[str, str]


@contextmanager
def embedded_servers(data_dir: Path, *, kafka_port: int = 0, redis_port: int = 0) -> Iterator[Services]:
    """Kafka and Redis on loopback in `data_dir`, stopped at the end. Raises EmbeddedServerError."""
    with (
        EmbeddedKafka(data_dir / "kafka", port=kafka_port) as kafka,
        EmbeddedRedis(data_dir / "redis", port=redis_port) as redis,
    ):
        yield Services(kafka, redis, {"AIGQ_KAFKA_URL": kafka.url, "AIGQ_REDIS_URL": redis.url})
