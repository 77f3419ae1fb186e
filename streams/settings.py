"""All settings, read once from the environment (prefix ``AIGQ_``) and typed.

A name that begins with ``AIGQ_`` and is none of ours is an error: a misspelt setting must not be
ignored in silence. Secrets may be given as files: ``AIGQ_KAFKA_PASSWORD_FILE=/run/secrets/kafka``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from streams.errors import SettingsError
from streams.redaction import hide, hide_login, without_secrets

PREFIX = "AIGQ_"
# Read by the tests' fixtures, never by a worker.
TEST_NAMES = frozenset({"AIGQ_TEST_KAFKA_URL", "AIGQ_TEST_REDIS_URL"})
FILE_SUFFIX = "_FILE"


class Settings(BaseModel):
    """One worker's settings. Times carry their unit in the name."""

    # Errors must not quote what was given: it may be a secret.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    # Kafka
    kafka_url: str = Field("kafka://127.0.0.1:9092", description="kafka://host:port[,host:port…]")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str = ""
    kafka_password: SecretStr = SecretStr("")
    kafka_ca_file: Path | None = None
    kafka_cert_file: Path | None = None
    kafka_key_file: Path | None = None
    topic_prefix: str = Field("", description="put before every topic name, e.g. 'shop1.'")
    partitions: int = Field(4, ge=1, description="partitions of every topic AIGQ creates")
    replication: int = Field(1, ge=1, description="copies of every partition; 3 in production")
    session_timeout_s: int = Field(10, ge=6, description="after this long a silent worker is replaced")
    commit_interval_s: float = Field(1.0, gt=0)

    # Redis
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="redis://, rediss://, unix://, redis+sentinel://host:port,…/service/db, redis+cluster://",
    )
    redis_username: str = ""
    redis_password: SecretStr = SecretStr("")
    redis_sentinel_username: str = ""
    redis_sentinel_password: SecretStr = SecretStr("")
    redis_ca_file: Path | None = None
    redis_cert_file: Path | None = None
    redis_key_file: Path | None = None
    redis_timeout_s: float = Field(2.0, gt=0)
    hints_ttl_s: int = Field(14 * 86_400, ge=1, description="life of a user's hint lists")
    runs_kept: int = Field(3, ge=1, le=20, description="M: lists kept per user, newest first")

    # the worker
    worker_name: str = Field("worker", description="also its Kafka client id")
    data_dir: Path = Field(Path("var/worker"), description="local state, one folder per worker")
    state_store: Literal["memory", "rocksdb"] = "memory"
    web_host: str = "127.0.0.1"
    web_token: SecretStr = Field(SecretStr(""), description="/ready and /metrics want it; empty: they do not")
    web_port: int = Field(6066, ge=0, le=65535, description="/live /ready /metrics; 0 = any free port")
    stop_within_s: float = Field(25.0, gt=0, description="after so long a worker that was told to stop ends")
    stuck_after_s: float = Field(60.0, gt=0, description="lag without a commit for so long is not ready")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    # bundle and mappings
    bundle_dir: Path = Path("exported_models/complete-journey")
    think_dir: Path = Path("exported_models/think-complete-journey")
    think_every_s: float = Field(60.0, gt=0, description="how often the mapping manifest is looked at")
    onnx_threads: int = Field(1, ge=1)
    onnx_provider: Literal["cpu", "cuda"] = Field("cpu", description="cuda is refused where it is not there")
    batch_limit: int = Field(32, ge=1, le=256, description="lists generated at once")
    bundle_every_s: float = Field(10.0, gt=0, description="how often the bundle's folder is looked at")
    generation_timeout_s: float = Field(10.0, gt=0, description="after so long a generation is stopped")
    lists_per_second: float = Field(0.0, ge=0, description="most lists generated, by one worker; 0: no limit")
    queue_requests: int = Field(20_000, ge=1, description="most hint requests taken and not acknowledged")
    queue_bytes: int = Field(64 * 1024 * 1024, ge=1024, description="the same in bytes, as they came")

    # interest and refresh (event time)
    visit_half_life_s: float = Field(2 * 3600.0, gt=0)
    shopper_half_life_s: float = Field(60 * 86_400.0, gt=0)
    drift_threshold: float = Field(0.15, ge=0, le=2)
    cooldown_s: float = Field(30.0, ge=0)
    stale_after_s: float = Field(2 * 86_400.0, gt=0)
    lists_per_day: int = Field(50, ge=1)
    bot_events_per_minute: int = Field(120, ge=1)

    # people's rights
    erased_kept_s: float = Field(
        7 * 86_400.0, gt=0, description="so long (event time) nothing of a deleted person is used again"
    )
    trusted_keys_file: Path | None = Field(
        None, description="public keys, one a line; set: what none of them signed is refused"
    )
    signing_key_file: Path | None = Field(
        None, description="Ed25519 key for erasure receipts; none: one is made in the data folder"
    )

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if self.kafka_security.startswith("SASL") and not self.kafka_username:
            raise ValueError("kafka_security asks for SASL, but kafka_username is empty")
        if not self.kafka_url.startswith("kafka://"):
            raise ValueError("kafka_url must look like kafka://host:port[,host:port]")
        if "@" in self.kafka_url:  # clients would take it for a part of the host's name, and print it
            raise ValueError("kafka_url must have no user and password: use kafka_username, kafka_password")
        if self.kafka_cert_file and not self.kafka_security.endswith("SSL"):
            raise ValueError("kafka_cert_file is set, but kafka_security asks for no TLS")
        if self.kafka_ca_file and not self.kafka_security.endswith("SSL"):
            raise ValueError("kafka_ca_file is set, but kafka_security asks for no TLS")
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """For repr and str: without the login in a URL."""
        for name, value in super().__repr_args__():
            yield name, without_secrets(value) if isinstance(value, str) else value

    @property
    def kafka_bootstrap(self) -> list[str]:
        """``["host:port", …]`` as Kafka clients want it."""
        return [host.strip() for host in self.kafka_url.removeprefix("kafka://").split(",") if host.strip()]


def _hide_secrets(values: Mapping[str, Any]) -> None:
    """Nobody prints them from now on, whatever is wrong with the rest."""
    for name, field in Settings.model_fields.items():
        given = values.get(name)
        if field.annotation is SecretStr and given:
            hide(given.get_secret_value() if isinstance(given, SecretStr) else str(given))
        elif name.endswith("_url") and given:
            hide_login(str(given))


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from `environ` (default: the process's); keyword arguments win.

    Raises SettingsError that names each wrong setting.
    """
    source = dict(os.environ if environ is None else environ)
    values = _from_environment(source) | {k: v for k, v in overrides.items() if v is not None}
    _hide_secrets(values)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_describe(problem) for problem in error.errors())
        raise SettingsError(
            f"Wrong settings: {problems}.", action="Correct them; `aigq doctor --settings` lists all."
        ) from error


def _describe(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"])
    return f"{PREFIX}{field.upper()}: {problem['msg']}" if field else str(problem["msg"])


def _from_environment(source: Mapping[str, str]) -> dict[str, str]:
    known = {f"{PREFIX}{name.upper()}": name for name in Settings.model_fields}
    values: dict[str, str] = {}
    unknown: list[str] = []
    for name, value in source.items():
        if not name.startswith(PREFIX) or name in TEST_NAMES:
            continue
        if name in known:
            values[known[name]] = value
        elif name.endswith(FILE_SUFFIX) and name.removesuffix(FILE_SUFFIX) in known:
            values[known[name.removesuffix(FILE_SUFFIX)]] = _read_secret(name, Path(value))
        else:
            unknown.append(name)
    if unknown:
        raise SettingsError(
            f"Unknown settings: {', '.join(sorted(unknown))}.",
            action="Check the spelling; `aigq doctor --settings` lists all names.",
        )
    return values


def _read_secret(name: str, path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:  # ValueError: its bytes are no UTF-8
        raise SettingsError(
            f"{name} names a file that cannot be read: {path}.", action="Check path and rights."
        ) from error
