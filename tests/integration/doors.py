"""Kafka doors of tests: a broker with TLS and logins, and the settings that open it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streams.embedded.servers import EmbeddedKafka
from tests.certificates import Authority, Certificate

PASSWORD = "correct horse"  # noqa: S105 - of the tests' own users
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass(frozen=True)
class Door:
    """A broker behind TLS and a login, and whose certificate it shows."""

    kafka: EmbeddedKafka
    authority: Authority

    @property
    def settings(self) -> dict[str, Any]:
        """What opens it."""
        return {
            "kafka_url": self.kafka.url,
            "kafka_security": "SASL_SSL",
            "kafka_username": "aigq",
            "kafka_password": PASSWORD,
            "kafka_ca_file": self.authority.cert,
        }

    @property
    def environ(self) -> dict[str, str]:
        """The same for a worker."""
        return {f"AIGQ_{name.upper()}": str(value) for name, value in self.settings.items()}


def users_file(folder: Path, users: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Users with PASSWORD; by default one who may do everything."""
    path = folder / "users.json"
    given = {"aigq": {}} if users is None else users
    path.write_text(json.dumps({name: {"password": PASSWORD, **user} for name, user in given.items()}))
    return path


def tls_options(certificate: Certificate) -> tuple[str, ...]:
    """The broker's options for a certificate."""
    return ("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key))


@contextmanager
def opened_door(folder: Path) -> Iterator[Door]:
    """A broker with TLS and logins."""
    authority = Authority(folder / "ca")
    options = (*tls_options(authority.certificate("kafka")), "--users", str(users_file(folder)))
    with EmbeddedKafka(folder / "kafka", options=options) as kafka:
        yield Door(kafka, authority)
