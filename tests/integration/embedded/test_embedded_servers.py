"""Embedded Kafka and Redis as child processes: start, stop, kill, restart, one owner, no orphans."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from streams.embedded.servers import EmbeddedKafka, EmbeddedRedis, EmbeddedServer
from streams.errors import EmbeddedServerError
from tests.integration.embedded.kafka_clients import KafkaPython, Row

pytestmark = pytest.mark.embedded_only

BOTH = pytest.mark.parametrize("server_class", [EmbeddedKafka, EmbeddedRedis])
STARTER = """
import sys, time
from pathlib import Path
from streams.embedded.servers import EmbeddedKafka, EmbeddedRedis
kafka, redis = EmbeddedKafka(Path(sys.argv[1]) / "kafka"), EmbeddedRedis(Path(sys.argv[1]) / "redis")
kafka.start(), redis.start()
try:
    sys.stdout.write(f"{kafka.pid} {redis.pid}\\n"); sys.stdout.flush()
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(kafka.stop() or redis.stop())
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline_s, "it never came to that"
        time.sleep(0.02)


@BOTH
def test_a_server_starts_on_a_free_port_and_stops_with_exit_code_0(
    tmp_path: Path, server_class: type[EmbeddedServer]
) -> None:
    server = server_class(tmp_path / "data").start()
    pid = server.pid
    with socket.create_connection(("127.0.0.1", server.port)):
        assert is_alive(pid)
    assert server.stop() == 0
    assert server.stop() == 0
    assert not is_alive(pid)
    assert server.log_path.parent == tmp_path / "data"
    assert not (tmp_path / "data" / "kafka.log").exists() or server.log_path.read_text() == ""


@BOTH
def test_a_second_owner_of_a_data_folder_is_refused_and_a_later_one_is_not(
    tmp_path: Path, server_class: type[EmbeddedServer]
) -> None:
    with server_class(tmp_path) as first:
        with pytest.raises(EmbeddedServerError, match=f"belongs to a running server, process {first.pid}"):
            server_class(tmp_path, log_path=tmp_path / "second.log").start()
        with pytest.raises(EmbeddedServerError, match="running already"):
            first.start()
        assert first.is_running
    server_class(tmp_path).start().stop()


@BOTH
def test_a_server_that_cannot_start_says_why_with_its_log(
    tmp_path: Path, server_class: type[EmbeddedServer]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = server_class(tmp_path, port=port)
        with pytest.raises(EmbeddedServerError) as failed:
            server.start()
    assert str(port) in failed.value.message or "in use" in failed.value.message
    assert not server.is_running


@BOTH
def test_what_is_used_before_the_start_is_an_error(
    tmp_path: Path, server_class: type[EmbeddedServer]
) -> None:
    with pytest.raises(EmbeddedServerError, match="not running"):
        server_class(tmp_path).kill()


def test_a_killed_redis_comes_back_on_the_same_port_with_its_data(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        url, pid = server.url, server.pid
        with redis.Redis.from_url(url) as client:
            client.set("key", "value")
            server.kill()
            assert not server.is_running
            server.restart()
            assert (server.url, client.get("key")) == (url, b"value")
        assert server.pid != pid


def test_a_killed_kafka_comes_back_on_the_same_port_with_its_data(tmp_path: Path) -> None:
    with EmbeddedKafka(tmp_path, partitions=1) as server:
        url = server.url
        KafkaPython(server.bootstrap).send("topic", [Row(b"k", b"v")])
        server.kill()
        server.restart()
        assert server.url == url == f"kafka://{server.bootstrap}"
        assert [row.value for row in KafkaPython(server.bootstrap).read("topic")] == [b"v"]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_with_their_starter_however_it_ends(tmp_path: Path, end: signal.Signals) -> None:
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    pids = [int(pid) for pid in starter.stdout.readline().split()]
    assert all(is_alive(pid) for pid in pids)
    starter.send_signal(end)
    code = starter.wait(20)
    starter.stdout.close()
    if end == signal.SIGINT:
        assert code == 0
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
    with EmbeddedKafka(tmp_path / "kafka"), EmbeddedRedis(tmp_path / "redis"):
        pass  # the folders are free again, and what was in them is readable


def test_a_terminals_ctrl_c_reaches_the_starter_alone(tmp_path: Path) -> None:
    with EmbeddedKafka(tmp_path) as server:
        assert os.getpgid(server.pid) != os.getpgid(0)
        assert os.getsid(server.pid) != os.getsid(0)


def test_a_server_whose_guard_was_killed_dies_too(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path).start()
    status = Path(f"/proc/{server.pid}/status").read_text()
    guard_pid = int(next(line for line in status.splitlines() if line.startswith("PPid")).split()[1])
    pid = server.pid
    os.kill(guard_pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))
    server.stop()
