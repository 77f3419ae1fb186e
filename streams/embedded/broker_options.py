"""What the embedded broker's command line can set."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from streams.embedded.ports import HOST


@dataclass(frozen=True, slots=True)
class BrokerOptions:
    """Settings of one broker."""

    data_dir: Path
    host: str = HOST
    port: int = 0
    partitions: int = 4
    auto_create_topics: bool = True
    initial_rebalance_delay_s: float = 0.2
    clean_every_s: float = 15.0


def parse_options(arguments: list[str] | None) -> tuple[BrokerOptions, bool]:
    """Settings, and whether to log what the broker does; prints the help and exits where argparse does."""
    parser = argparse.ArgumentParser(
        prog="python -m streams.embedded.broker",
        description="A small single-node Kafka broker for the demo and the tests. Not for production: "
        "no replication, no fsync, no authentication.",
        epilog="Example: python -m streams.embedded.broker --data ./kafka-data --port 9092. "
        "It prints one line of JSON with the port when it is ready, and stops on SIGTERM or Ctrl-C.",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder for topics, offsets and the lock")
    parser.add_argument("--host", default=HOST, help="address to listen on and to announce (%(default)s)")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (%(default)s)")
    parser.add_argument(
        "--partitions", type=int, default=4, help="of topics created without a number (%(default)s)"
    )
    parser.add_argument(
        "--no-auto-create", action="store_true", help="do not create topics that clients merely ask for"
    )
    parser.add_argument(
        "--rebalance-delay-ms",
        type=int,
        default=200,
        help="wait for more members of a new group (%(default)s)",
    )
    parser.add_argument(
        "--clean-every-s", type=float, default=15.0, help="seconds between compaction runs (%(default)s)"
    )
    parser.add_argument("--verbose", action="store_true", help="log what the broker does to stderr")
    given = parser.parse_args(arguments)
    options = BrokerOptions(
        data_dir=given.data,
        host=given.host,
        port=given.port,
        partitions=given.partitions,
        auto_create_topics=not given.no_auto_create,
        initial_rebalance_delay_s=given.rebalance_delay_ms / 1000,
        clean_every_s=given.clean_every_s,
    )
    return options, given.verbose
