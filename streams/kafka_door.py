"""Why Kafka does not let us in: what its clients' own errors hide.

kafka-python tries again until its time is over, and then says only that it could not begin. So one
connection is made once more, through the same door, whose own error is looked at.
"""

from __future__ import annotations

import asyncio
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from aiokafka.conn import create_conn
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.metadata import MetadataRequest

from streams.kafka_auth import tls_context
from streams.settings import Settings

KNOCK_MS: Final = 3_000

# OpenSSL's numbers of what is wrong with a certificate (X509_V_ERR_…), as far as there is advice for them.
_EXPIRED: Final = (9, 10)
_OTHER_HOST: Final = (62, 64)


class Shut(NamedTuple):
    """What is wrong, as the end of a sentence that begins with Kafka, and what to do."""

    what: str
    action: str


def why_shut(settings: Settings) -> Shut | None:
    """The reason, or None when a broker answers, or none can be reached. Takes a few seconds at most."""
    with ThreadPoolExecutor(1) as thread:  # our caller may be in an event loop
        return thread.submit(asyncio.run, _why_shut(settings)).result()


async def _why_shut(settings: Settings) -> Shut | None:
    found: Shut | None = None
    for place in settings.kafka_bootstrap:
        try:
            await _knock(place, settings)
        except (OSError, KafkaError, TimeoutError) as error:
            found = found or explain(error, settings)
        else:
            return None
    return found


async def _knock(place: str, settings: Settings) -> None:
    host, _, port = place.rpartition(":")
    login: dict[str, Any] = {}
    if settings.kafka_security.startswith("SASL"):
        login = {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    connection = await create_conn(
        host,
        int(port),
        client_id=settings.worker_name,
        request_timeout_ms=KNOCK_MS,
        security_protocol=settings.kafka_security,
        ssl_context=tls_context(settings),
        **login,
    )
    try:  # without a login, the first real request shows whether one is needed
        await asyncio.wait_for(connection.send(MetadataRequest([])), KNOCK_MS / 1000)
    finally:
        connection.close()


def explain(error: Exception, settings: Settings) -> Shut | None:
    """What an error of a first connection means; None: that nobody is there."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _bad_certificate(error)
    if isinstance(error, ssl.SSLError | ConnectionResetError) and settings.kafka_security.endswith("SSL"):
        return Shut("breaks off the TLS handshake", "Is this its TLS port? Check AIGQ_KAFKA_SECURITY.")
    if isinstance(error, UnsupportedSaslMechanismError):
        return Shut(
            f"does not offer the login {settings.kafka_sasl_mechanism}",
            "Set AIGQ_KAFKA_SASL_MECHANISM to one of the broker's sasl.enabled.mechanisms.",
        )
    if isinstance(error, SaslAuthenticationFailed):
        return Shut(
            f"refuses user and password (login {settings.kafka_sasl_mechanism})",
            "Check AIGQ_KAFKA_USERNAME and AIGQ_KAFKA_PASSWORD, and that the user has them for this login.",
        )
    if isinstance(error, IncompatibleBrokerVersion):
        return Shut("has no logins at this port", "Set AIGQ_KAFKA_SECURITY to PLAINTEXT or SSL.")
    if isinstance(error, KafkaError):
        return Shut("closes the connection unanswered", _what_it_may_want(settings))
    return None


def _bad_certificate(error: ssl.SSLCertVerificationError) -> Shut:
    if error.verify_code in _EXPIRED:
        return Shut("shows a certificate that is not valid today", "Renew it, or set this machine's clock.")
    if error.verify_code in _OTHER_HOST:
        return Shut(
            "shows a certificate of another host name",
            "Use a name in AIGQ_KAFKA_URL that the certificate has, or issue one with this name.",
        )
    return Shut(
        f"shows a certificate that nobody here vouches for ({error.verify_message})",
        "Set AIGQ_KAFKA_CA_FILE to the CA that signed it.",
    )


def _what_it_may_want(settings: Settings) -> str:
    if settings.kafka_security == "PLAINTEXT":
        return "It may want TLS or a login: set AIGQ_KAFKA_SECURITY."
    if settings.kafka_security == "SSL":
        return "It may want a login (AIGQ_KAFKA_SECURITY) or a client certificate (AIGQ_KAFKA_CERT_FILE)."
    return "It may want TLS (AIGQ_KAFKA_SECURITY) or a client certificate (AIGQ_KAFKA_CERT_FILE)."
