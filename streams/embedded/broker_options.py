"""What the embedded broker's command line can set."""

from __future__ import annotations

import argparse
import ssl
from dataclasses import dataclass
from pathlib import Path

from streams.embedded.ports import HOST
from streams.errors import EmbeddedServerError


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
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    client_ca_file: Path | None = None
    users_file: Path | None = None


def server_context(options: BrokerOptions) -> ssl.SSLContext | None:
    """TLS as the options ask for it; None: plain. Raises EmbeddedServerError."""
    if options.tls_cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.tls_cert_file, options.tls_key_file)
        if options.client_ca_file is not None:
            context.load_verify_locations(options.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:  # SSLError is one
        raise EmbeddedServerError(
            f"The broker's certificate, key or CA cannot be used: {error}. Nothing was started.",
            action="Give PEM files: --tls-cert, --tls-key, --client-ca.",
        ) from error
    return context


def parse_options(arguments: list[str] | None) -> tuple[BrokerOptions, bool]:
    """Settings, and whether to log what the broker does; prints the help and exits where argparse does."""
    parser = argparse.ArgumentParser(
        prog="python -m streams.embedded.broker",
        description="A small single-node Kafka broker for the demo and the tests. Not for production: "
        "no replication, no fsync; TLS and logins only where asked for.",
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
    parser.add_argument("--tls-cert", type=Path, help="speak TLS with this certificate (PEM)")
    parser.add_argument("--tls-key", type=Path, help="its key; default: in the same file")
    parser.add_argument("--client-ca", type=Path, help="clients need a certificate of this CA")
    parser.add_argument("--users", type=Path, help="SASL logins are needed; JSON file of users")
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
        tls_cert_file=given.tls_cert,
        tls_key_file=given.tls_key,
        client_ca_file=given.client_ca,
        users_file=given.users,
    )
    return options, given.verbose
