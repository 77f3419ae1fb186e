"""One set of security settings, in the words of each Kafka client."""

from __future__ import annotations

import ssl
from typing import Any, Final

import faust
from faust.auth import Credentials

from streams.errors import SettingsError
from streams.settings import Settings

BOOTSTRAP_TIMEOUT_MS: Final = 10_000


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """TLS as the settings ask for it, or None for a plain connection. Raises SettingsError."""
    if not settings.kafka_security.endswith("SSL"):
        return None
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file)
        if settings.kafka_cert_file:
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file)
    except OSError as error:  # SSLError is one
        raise SettingsError(
            f"AIGQ_KAFKA_CA_FILE, AIGQ_KAFKA_CERT_FILE or AIGQ_KAFKA_KEY_FILE cannot be used: {error}.",
            action="Give PEM files that can be read here; the key is the certificate's, without a password.",
        ) from error
    return context


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for kafka-python's clients."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap,
        "bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS,
        "security_protocol": settings.kafka_security,
        "ssl_context": tls_context(settings),
    }
    if settings.kafka_security.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_username,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    return options


def faust_credentials(settings: Settings) -> Credentials | None:
    """The same for Faust; None for a plain connection without a login."""
    context = tls_context(settings)
    if settings.kafka_security.startswith("SASL"):
        return faust.SASLCredentials(
            username=settings.kafka_username,
            password=settings.kafka_password.get_secret_value(),
            ssl_context=context,
            mechanism=settings.kafka_sasl_mechanism,
        )
    return faust.SSLCredentials(context) if context else None
