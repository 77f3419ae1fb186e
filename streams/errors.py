"""Every error that AIGQ raises on purpose.

    AigqError                    what happened · what is unchanged · what to do
    ├── SettingsError            a setting is unknown, missing or contradictory       exit 2
    ├── DenyRuleError            a deny rule makes no sense or is not there             exit 2
    ├── EventError               an event cannot be used (it goes to the dead letters)
    │   ├── EventDecodeError     not JSON, or JSON of the wrong shape
    │   └── EventRuleError       well-formed, but breaks a rule of the event contract
    ├── CodecError               bytes that are no session state or hint request of ours
    ├── BundleError              a bundle is missing, torn, or does not fit together     exit 3
    ├── MappingError             a Think mapping version is missing or torn              exit 3
    ├── StoreError               Redis did not answer, or refused                      exit 4
    │   ├── StoreUnavailableError    it may answer later: try again
    │   └── StoreRefusedError        it will refuse again: rights, memory, read-only
    ├── BrokerError              Kafka did not answer, or refused                      exit 5
    ├── EmbeddedServerError      an embedded broker or Redis did not start or died       exit 5
    ├── DatasetError             a dataset or log is missing or unreadable               exit 6
    ├── ReplayError              a replay cannot start or go on                          exit 6
    ├── TrainingError            training or export cannot go on                         exit 7
    └── LocalStateError          a worker's local state cannot be read or written        exit 8

Each error has a message (what happened, and what is unchanged) and an action (what to do now).
The command line prints both and leaves with ``exit_code``.
"""

from __future__ import annotations

from streams.redaction import without_secrets


class AigqError(Exception):
    """Something AIGQ can explain: `message` says what happened, `action` says what to do."""

    exit_code = 1

    def __init__(self, message: str, *, action: str) -> None:
        # What others' errors say may quote a URL with its login.
        self.message, self.action = without_secrets(message), without_secrets(action)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message} {self.action}"


class SettingsError(AigqError):
    """A setting is unknown, missing or contradictory."""

    exit_code = 2


class DenyRuleError(AigqError):
    """A deny rule makes no sense, cannot be read or is not there; the rules are as they were."""

    exit_code = 2


class EventError(AigqError):
    """An event cannot be used; `reason` is the short name under which it is counted."""

    def __init__(self, message: str, *, reason: str, action: str) -> None:
        super().__init__(message, action=action)
        self.reason = reason


class EventDecodeError(EventError):
    """The record is not JSON, or JSON of the wrong shape."""


class EventRuleError(EventError):
    """The event is well-formed but breaks a rule of the event contract."""


class CodecError(AigqError):
    """Bytes that are no session state or hint request of this version."""


class BundleError(AigqError):
    """A bundle is missing, torn, or its parts do not fit together; the running one stays."""

    exit_code = 3


class MappingError(AigqError):
    """A Think mapping version is missing or torn; the version being served stays."""

    exit_code = 3


class StoreError(AigqError):
    """Redis did not answer, or refused."""

    exit_code = 4


class StoreUnavailableError(StoreError):
    """Redis is away or too slow; the same call may succeed later."""


class StoreRefusedError(StoreError):
    """Redis refuses and will refuse again: rights, memory, a read-only replica."""


class BrokerError(AigqError):
    """Kafka did not answer, or refused."""

    exit_code = 5


class EmbeddedServerError(AigqError):
    """An embedded broker or Redis did not start, or died."""

    exit_code = 5


class DatasetError(AigqError):
    """A dataset or an event log is missing or unreadable."""

    exit_code = 6


class ReplayError(AigqError):
    """A replay cannot start or go on."""

    exit_code = 6


class TrainingError(AigqError):
    """Training or export cannot go on; the last good checkpoint stays."""

    exit_code = 7


class LocalStateError(AigqError):
    """A worker's local state cannot be read or written; what Kafka has is whole."""

    exit_code = 8
