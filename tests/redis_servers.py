"""Valkey servers of a test's own: replicas, Sentinels, a Cluster of three. All on loopback."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from streams.embedded.ports import HOST, free_port
from streams.embedded.servers import redis_binary

READY_S = 30.0
SERVICE = "hints"
SLOTS = 16_384
SENTINEL_PASSWORD = "sentinels"  # noqa: S105 - where the others have one
_SENTINELS_LOGIN = (f"requirepass {SENTINEL_PASSWORD}", f"sentinel sentinel-pass {SENTINEL_PASSWORD}")


class Valkey:
    """One process with a configuration of its own, which Sentinels and Clusters write to."""

    def __init__(self, folder: Path, *lines: str, sentinel: bool = False) -> None:
        folder.mkdir(parents=True)
        self.port = free_port()
        config = folder / "valkey.conf"
        given = (f"bind {HOST}", f"port {self.port}", f"dir {folder}", f"logfile {folder / 'log'}", *lines)
        config.write_text("\n".join(given) + "\n")
        mode = ["--sentinel"] if sentinel else []
        self._process = subprocess.Popen([str(redis_binary()), str(config), *mode])
        self.wait(lambda client: client.ping())

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def wait(self, condition: Callable[[Any], Any], login: str = "") -> None:
        """Until the server says so."""
        deadline_s = time.monotonic() + READY_S
        while True:
            try:
                with redis.Redis.from_url(f"redis://{login}{self.address}") as client:
                    if condition(client):
                        return
            except redis.AuthenticationError:
                if not login:
                    return  # it answers
            except redis.RedisError:
                pass
            assert time.monotonic() < deadline_s, f"waited in vain for the server on {self.port}"
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def watched_pair(folder: Path, password: str = "") -> Iterator[tuple[Valkey, Valkey, str]]:
    """A primary, its replica, three Sentinels that watch them, and the URL that names the Sentinels.

    password: of all of them.
    """
    started: list[Valkey] = []
    locked = (f"requirepass {password}", f"primaryauth {password}") if password else ()
    try:
        primary = Valkey(folder / "primary", 'save ""', "repl-diskless-sync-delay 0", *locked)
        started.append(primary)
        replica = Valkey(folder / "replica", 'save ""', f"replicaof {HOST} {primary.port}", *locked)
        started.append(replica)
        login = f":{password}@" if password else ""
        replica.wait(lambda client: client.info("replication")["master_link_status"] == "up", login)
        watch = (
            f"sentinel monitor {SERVICE} {HOST} {primary.port} 2",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 5000",
            *((f"sentinel auth-pass {SERVICE} {password}", *_SENTINELS_LOGIN) if password else ()),
        )
        sentinels = [Valkey(folder / f"sentinel{n}", *watch, sentinel=True) for n in range(3)]
        started += sentinels
        sentinel_login = f":{SENTINEL_PASSWORD}@" if password else ""
        for one in sentinels:
            one.wait(_knows_all, sentinel_login)
        hosts = ",".join(one.address for one in sentinels)
        yield primary, replica, f"redis+sentinel://{hosts}/{SERVICE}/0"
    finally:
        for one in started:
            one.kill()


def _knows_all(client: Any) -> bool:
    seen = client.execute_command("SENTINEL", "MASTER", SERVICE)
    found = seen if isinstance(seen, dict) else dict(zip(seen[::2], seen[1::2], strict=True))
    named = {str(k if isinstance(k, str) else k.decode()): v for k, v in found.items()}
    return int(named["num-slaves"]) == 1 and int(named["num-other-sentinels"]) == 2


@contextmanager
def cluster_of_three(folder: Path) -> Iterator[tuple[list[Valkey], str]]:
    """Three nodes with a third of the slots each, and the URL that names them."""
    nodes: list[Valkey] = []
    try:
        for number in range(3):
            lines = ("cluster-enabled yes", f"cluster-port {free_port()}", 'save ""')
            nodes.append(Valkey(folder / f"node{number}", *lines))
        for number, node in enumerate(nodes):
            first, last = number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
            with redis.Redis(HOST, node.port) as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
                for other in nodes:
                    with redis.Redis(HOST, other.port) as place:
                        bus = int(place.config_get("cluster-port")["cluster-port"])
                    client.execute_command("CLUSTER", "MEET", HOST, other.port, bus)
        for node in nodes:
            node.wait(lambda client: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")))
            node.wait(lambda client: len(client.execute_command("CLUSTER", "SLOTS")) == 3)
        yield nodes, "redis+cluster://" + ",".join(node.address for node in nodes)
    finally:
        for node in nodes:
            node.kill()
