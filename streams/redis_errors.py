"""redis-py's errors become ours at this border, once.

StoreUnavailableError   no connection, timeout, loading, no primary, busy with a script
StoreRefusedError       wrong password, rights, memory, read-only, cannot persist, any other refusal
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from redis import exceptions

from streams.errors import StoreError, StoreRefusedError, StoreUnavailableError
from streams.redaction import without_secrets

Actions = dict[type[exceptions.RedisError], str]

# RedisClusterException is no RedisError to redis-py.
REDIS_ERRORS: Final = (exceptions.RedisError, exceptions.RedisClusterException)

# Looked through in this order: AuthenticationError is a ConnectionError to redis-py.
_REFUSED: Final[Actions] = {
    exceptions.AuthenticationWrongNumberOfArgsError: "Set AIGQ_REDIS_USERNAME and AIGQ_REDIS_PASSWORD.",
    exceptions.AuthenticationError: "Set AIGQ_REDIS_USERNAME and AIGQ_REDIS_PASSWORD.",
    exceptions.AuthorizationError: "Check the rights of the Redis user.",
    exceptions.NoPermissionError: "Give the Redis user the rights that docs/operations.md lists.",
    exceptions.OutOfMemoryError: "Raise maxmemory, or lower AIGQ_HINTS_TTL_S or AIGQ_RUNS_KEPT.",
    exceptions.ReadOnlyError: "Point AIGQ_REDIS_URL to the primary.",
}
_UNAVAILABLE: Final[Actions] = {
    exceptions.BusyLoadingError: "Redis is reading its data from disk: try again.",
    exceptions.MaxConnectionsError: "All connections of the pool are in use: try again, or allow more.",
    exceptions.TimeoutError: "Try again; if it lasts, look at Redis' load or raise AIGQ_REDIS_TIMEOUT_S.",
    exceptions.ConnectionError: "Try again; if it lasts, check AIGQ_REDIS_URL and that Redis runs.",
    exceptions.MasterDownError: "The replica has lost its primary: try again.",
    exceptions.ClusterDownError: "The cluster is down: try again.",
    exceptions.TryAgainError: "The cluster is moving the key: try again.",
    exceptions.LockError: "Somebody else holds the lock: try again.",
}
_CERTIFICATES: Final = (
    "Check AIGQ_REDIS_CA_FILE, the host name, and AIGQ_REDIS_CERT_FILE if Redis asks for one."
)
# Refusals that have no class of their own in redis-py, by the first word of the message.
_BY_WORD: Final[dict[str, tuple[type[StoreError], str]]] = {
    "NOAUTH": (StoreRefusedError, _REFUSED[exceptions.AuthenticationError]),
    "WRONGPASS": (StoreRefusedError, _REFUSED[exceptions.AuthenticationError]),
    "BUSY": (StoreUnavailableError, "A script blocks Redis: try again."),
    "MISCONF": (StoreRefusedError, "Redis cannot write its data to disk: look at its log."),
}


def is_wrong_type(reply: object) -> bool:
    """Whether the reply says that somebody put another kind of value under the key."""
    return isinstance(reply, exceptions.ResponseError) and str(reply).startswith("WRONGTYPE")


def translate(error: exceptions.RedisError, doing: str) -> StoreError:
    """Our error for redis-py's. `doing` says what was tried and what is unchanged, without a full stop."""
    # A pipeline puts its own words, with the whole command, before the reply.
    text = _reason(error)
    if _is_certificate_error(error):
        return StoreRefusedError(f"{doing}: {text}.", action=_CERTIFICATES)
    ours, action = _judge(error, text)
    return ours(f"{doing}: {text}.", action=action)


def _reason(error: Exception) -> str:
    return without_secrets(str(error.args[-1]) if error.args else type(error).__name__)


def _judge(error: exceptions.RedisError, text: str) -> tuple[type[StoreError], str]:
    for kinds, ours in ((_REFUSED, StoreRefusedError), (_UNAVAILABLE, StoreUnavailableError)):
        for kind, action in kinds.items():
            if isinstance(error, kind):
                return ours, action
    return _BY_WORD.get(text.split(" ", 1)[0], (StoreRefusedError, "See Redis' log."))


def _is_certificate_error(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def store_errors(doing: str) -> Iterator[None]:
    """Within it every error of redis-py leaves as a StoreError, with the original as its cause."""
    try:
        yield
    except REDIS_ERRORS as error:
        raise ours(error, doing) from error


def ours(error: Exception, doing: str) -> StoreError:
    """Our error for one of REDIS_ERRORS; see `translate`."""
    if isinstance(error, exceptions.RedisError):
        return translate(error, doing)
    return StoreUnavailableError(
        f"{doing}: {_reason(error)}.", action="Try again; if it lasts, look at the Cluster's nodes."
    )
