"""A small single-node Kafka broker, for the demo and the tests. Production is Apache Kafka, by URL.

    python -m streams.embedded.broker --data ./kafka-data --port 9092

When it is ready it prints one line of JSON with its port. What it has acknowledged survives its own death
(kill -9); it does not call fsync, so it may not survive the machine's. It listens on loopback, without TLS
and without a login unless the options ask for them.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import IO

from streams.embedded import topic_configs
from streams.embedded.broker_options import BrokerOptions, parse_options, server_context
from streams.embedded.cleaning import Cleaner
from streams.embedded.config_requests import ConfigRequests
from streams.embedded.coordinator import Coordinator
from streams.embedded.group_requests import GroupRequests
from streams.embedded.logins import Users
from streams.embedded.offset_requests import OffsetRequests
from streams.embedded.ports import bound_socket
from streams.embedded.record_requests import RecordRequests
from streams.embedded.retention import apply_retention
from streams.embedded.topic_requests import NODE_ID, TopicRequests
from streams.embedded.topics import Topics
from streams.embedded.transaction_requests import TransactionRequests
from streams.embedded.transactions import Transactions
from streams.embedded.wire import Handler, Server
from streams.errors import EmbeddedServerError

logger = logging.getLogger(__name__)

_SWEEP_S = 0.25


class Broker:
    """All parts on one data folder; one owner at a time."""

    def __init__(self, options: BrokerOptions) -> None:
        options.data_dir.mkdir(parents=True, exist_ok=True)
        self._options = options
        self._lock = lock_folder(options.data_dir)
        self._topics = Topics(options.data_dir)
        self._coordinator = Coordinator(options.data_dir, initial_delay_s=options.initial_rebalance_delay_s)
        self._transactions = Transactions(options.data_dir, self._topics, self._coordinator.commit)
        self._cleaner = Cleaner(self._topics)
        self._socket = self._bound()
        users = Users.read(options.users_file) if options.users_file else None
        self._server = Server(self._handlers(), tls=server_context(options), users=users)

    @property
    def port(self) -> int:
        """The port that was asked for, or chosen."""
        port: int = self._socket.getsockname()[1]
        return port

    def _bound(self) -> socket.socket:
        try:
            return bound_socket(self._options.host, self._options.port)
        except OSError as error:
            raise EmbeddedServerError(
                f"Port {self._options.port} on {self._options.host} cannot be used: {error.strerror}. "
                "Nothing was changed.",
                action="Choose another port, or 0 for a free one.",
            ) from error

    def _handlers(self) -> dict[int, Handler]:
        records = RecordRequests(self._topics, self._transactions)
        groups = GroupRequests(self._coordinator)
        offsets = OffsetRequests(self._coordinator, self._topics)
        configs = ConfigRequests(self._topics, self._configs())
        topics = TopicRequests(
            self._topics,
            self._coordinator,
            (self._options.host, self.port),
            default_partitions=self._options.partitions,
            auto_create=self._options.auto_create_topics,
        )
        transactions = TransactionRequests(self._transactions, self._topics, offsets)
        return {
            0: records.produce,
            1: records.fetch,
            2: records.list_offsets,
            3: topics.metadata,
            8: offsets.commit,
            9: offsets.fetch,
            10: topics.find_coordinator,
            11: groups.join,
            12: groups.heartbeat,
            13: groups.leave,
            14: groups.sync,
            15: groups.describe,
            16: groups.list_groups,
            19: topics.create_topics,
            20: topics.delete_topics,
            21: topics.delete_records,
            22: transactions.init_producer_id,
            24: transactions.add_partitions,
            25: transactions.add_offsets,
            26: transactions.end,
            28: transactions.commit_offsets,
            32: configs.describe,
            33: configs.alter,
            37: topics.create_partitions,
            42: groups.delete_groups,
            44: configs.alter_incrementally,
            47: offsets.delete,
        }

    def _configs(self) -> dict[str, str]:
        """What DescribeConfigs says of the broker."""
        return {
            "auto.create.topics.enable": str(self._options.auto_create_topics).lower(),
            "broker.id": str(NODE_ID),
            "default.replication.factor": "1",
            "log.retention.ms": topic_configs.DEFAULTS["retention.ms"],
            "message.max.bytes": topic_configs.DEFAULTS["max.message.bytes"],
            "min.insync.replicas": "1",
            "num.partitions": str(self._options.partitions),
        }

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set."""
        server = await self._server.listen(self._socket)
        tasks = [asyncio.create_task(self._sweep()), asyncio.create_task(self._clean())]
        announce = {"event": "ready", "port": self.port, "pid": os.getpid()}
        sys.stdout.write(json.dumps(announce) + "\n")
        sys.stdout.flush()
        await stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.close_all()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._coordinator.sweep()
            self._transactions.abort_overdue()
            self._server.close_idle()

    async def _clean(self) -> None:
        while True:
            await asyncio.sleep(self._options.clean_every_s)
            try:
                apply_retention(self._topics)
                await self._cleaner.run()
            except Exception:
                logger.exception("compaction or retention failed; it is tried again later")

    def close(self) -> None:
        """Close all files and give the data folder free."""
        self._socket.close()
        self._topics.close()
        self._coordinator.close()
        self._transactions.close()
        self._lock.close()


def lock_folder(folder: Path) -> IO[str]:
    """Own the folder until the file returned is closed or this process ends; raises `EmbeddedServerError`."""
    lock = (folder / "lock").open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise EmbeddedServerError(
            f"The data folder {folder} belongs to a running server, process {owner}. Nothing was changed.",
            action="Stop that server, or choose another folder.",
        ) from error
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock


def _raise_file_limit() -> None:
    """One open file a partition adds up."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(options: BrokerOptions) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    broker = Broker(options)
    try:
        await broker.run(stop)
    finally:
        broker.close()


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code is 0 after a stop by signal, 5 when the broker cannot start."""
    options, verbose = parse_options(arguments)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    _raise_file_limit()
    try:
        asyncio.run(_serve(options))
    except EmbeddedServerError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
