"""A table whose local store must work: a full or broken disk ends the process before it acknowledges more.

An exception would not do. Faust acknowledges an event whose agent raised, and an agent that catches it would
set aside, as broken, an event that is not. After a restart the event is read again, on the changelog's state.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, cast

import faust
import structlog
from faust.streams import _current_event
from faust.types import TP

from streams.errors import LocalStateError

log = structlog.get_logger("local_state")
GUARDED: Final = ("_get", "_set", "_del", "_contains", "apply_changelog_batch", "set_persisted_offset")


@dataclass(slots=True, weakref_slot=True)
class InHand:
    """As much of the event in hand as Faust's stores look at: where it is from."""

    partition: int

    @property
    def message(self) -> InHand:
        """Itself."""
        return self


@contextmanager
def in_hand(partition: int | None) -> Iterator[None]:
    """Faust's store on disk takes a key for one of the partition whose event is in hand: this one's, here.

    None: no event is in hand, and the store looks for the key in every partition.
    """
    event = None if partition is None else InHand(partition)  # kept: Faust's variable holds it weakly
    before = _current_event.set(cast(Any, weakref.ref(event)) if event else None)
    try:
        yield
    finally:
        _current_event.reset(before)


class WholeTable(faust.Table[bytes, bytes]):
    """A Faust table that ends the process when its store on disk fails.

    `read`, `write` and `erase` are the local store alone: whoever calls them writes the changelog, too.
    """

    _partition_of: dict[bytes, int] | None = None  # of a store in memory

    def read(self, key: bytes, partition: int | None) -> bytes | None:
        """The value of a partition's key, or None. partition: None where it is not known."""
        with self._of(partition):
            value: bytes | None = self.data.get(key)
        return value

    def write(self, key: bytes, value: bytes, partition: int) -> None:
        """Keep a value; the changelog is the caller's."""
        with self._of(partition):
            self.data[key] = value
        if self._partition_of is not None:  # else the store in memory keeps what is another worker's by now
            self._partition_of[key] = partition

    def erase(self, key: bytes, partition: int) -> None:
        """Drop a value; the changelog's tombstone is the caller's."""
        with self._of(partition):
            self.data.pop(key, None)

    def persisted(self, partition: int, offset: int) -> None:
        """Kafka has the changelog up to `offset`: a store on disk need not read it again."""
        self.data.set_persisted_offset(TP(self.changelog_topic_name, partition), offset)

    def _of(self, partition: int | None) -> AbstractContextManager[None]:
        return in_hand(partition) if self._partition_of is None else nullcontext()

    def _new_store_by_url(self, url: Any) -> Any:
        store = super()._new_store_by_url(url)
        self._partition_of = getattr(store, "_key_partition", None)
        if str(url).startswith("rocksdb"):
            for name in GUARDED:
                setattr(store, name, or_end(getattr(store, name)))
        return store


def or_end(work: Callable[..., Any]) -> Callable[..., Any]:
    """`work`, but the process ends when the disk fails it. The store raises plain exceptions for that."""

    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return work(*args, **kwargs)
        except Exception as error:
            if type(error) is Exception or isinstance(error, OSError):
                end(error)
            raise

    return guarded


def end(cause: Exception) -> None:
    """Say why, and end the process without another word to Kafka."""
    error = LocalStateError(
        f"The local state cannot be read or written: {cause}. Nothing was acknowledged after it.",
        action="Make room in AIGQ_DATA_DIR, or give the worker another; it recovers from the changelog.",
    )
    log.error("local_state_failed", error=error.message, action=error.action)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(error.exit_code)
