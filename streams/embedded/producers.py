"""What one partition remembers of its producers: sequence numbers, open and aborted transactions.

Rebuilt from batch headers when a log is opened. Compaction and retention remove the batches this could be
rebuilt from, so the sequence numbers are also kept in the partition's state file (`to_json`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from streams.embedded.batches import BatchHeader
from streams.embedded.codes import Code
from streams.embedded.refusals import RefusedError

PRODUCER_EXPIRY_MS = 24 * 3600 * 1000  # producer.id.expiration.ms of Kafka
_LAST_SEQUENCE = 2**31 - 1
_REMEMBERED_BATCHES = 5  # a client may have five requests in flight, and send any of them again


class SentBatch(NamedTuple):
    """One batch of an idempotent producer: its sequence numbers and where it was put."""

    first_sequence: int
    last_sequence: int
    base_offset: int


class AbortedTransaction(NamedTuple):
    """The records of `producer_id` from `first_offset` to its marker are not to be read."""

    producer_id: int
    first_offset: int
    marker_offset: int


@dataclass(slots=True)
class _Producer:
    epoch: int
    seen_ms: int
    batches: deque[SentBatch] = field(default_factory=lambda: deque(maxlen=_REMEMBERED_BATCHES))


class ProducerStates:
    """Producers of one partition, by producer id."""

    def __init__(self) -> None:
        self._producers: dict[int, _Producer] = {}
        self._open: dict[int, int] = {}  # producer id -> first offset of its transaction
        self._aborted: list[AbortedTransaction] = []  # by marker offset

    def check(self, header: BatchHeader) -> int | None:
        """The offset of a batch that is here already, None for a new one; raises `RefusedError`."""
        known = self._producers.get(header.producer_id)
        if known is None:
            return None
        if header.producer_epoch < known.epoch:
            raise RefusedError(Code.INVALID_PRODUCER_EPOCH, "a newer producer has taken over")
        if header.base_sequence < 0 or not known.batches:
            return None
        if header.producer_epoch > known.epoch:
            expected = 0
        else:
            last = known.batches[-1].last_sequence
            expected = 0 if last == _LAST_SEQUENCE else last + 1
        if header.base_sequence == expected:
            return None
        return _offset_of_duplicate(known, header, expected)

    def record(self, header: BatchHeader, now_ms: int, *, commit: bool = False) -> None:
        """Take note of a batch that was appended (`commit` matters for control batches only)."""
        if header.producer_id < 0:
            return
        if header.is_control:
            self._end_transaction(header, commit=commit)
        elif header.is_transactional:
            self._open.setdefault(header.producer_id, header.base_offset)
        self._record_sequence(header, now_ms)

    def _record_sequence(self, header: BatchHeader, now_ms: int) -> None:
        known = self._producers.get(header.producer_id)
        if known is None or known.epoch < header.producer_epoch:
            known = self._producers[header.producer_id] = _Producer(header.producer_epoch, now_ms)
        known.seen_ms = now_ms
        # When a log is opened, `load_json` may know more than the older batches that are read after it.
        is_newer = not known.batches or header.base_offset > known.batches[-1].base_offset
        if known.epoch == header.producer_epoch and is_newer and not header.is_control:
            last_sequence = (header.base_sequence + header.last_offset_delta) & _LAST_SEQUENCE
            known.batches.append(SentBatch(header.base_sequence, last_sequence, header.base_offset))

    def _end_transaction(self, header: BatchHeader, *, commit: bool) -> None:
        first_offset = self._open.pop(header.producer_id, None)
        if first_offset is not None and not commit:
            self._aborted.append(AbortedTransaction(header.producer_id, first_offset, header.base_offset))

    def has_open(self, producer_id: int) -> bool:
        """Whether the producer has written here since its last marker."""
        return producer_id in self._open

    def last_stable_offset(self, end_offset: int) -> int:
        """Everything before it is decided: the first offset of the oldest open transaction, or the end."""
        return min(self._open.values()) if self._open else end_offset

    def aborted_between(self, start_offset: int, end_offset: int) -> list[AbortedTransaction]:
        """Aborted transactions with records in `[start_offset, end_offset)`."""
        at = bisect_left(self._aborted, start_offset, key=lambda aborted: aborted.marker_offset)
        return [aborted for aborted in self._aborted[at:] if aborted.first_offset < end_offset]

    def forget_aborted_before(self, offset: int) -> None:
        """Drop aborted transactions whose marker lies before `offset`."""
        at = bisect_left(self._aborted, offset, key=lambda aborted: aborted.marker_offset)
        del self._aborted[:at]

    def expire(self, now_ms: int) -> None:
        """Forget producers that have been silent for a day and have no open transaction."""
        for producer_id, producer in list(self._producers.items()):
            if now_ms - producer.seen_ms > PRODUCER_EXPIRY_MS and producer_id not in self._open:
                del self._producers[producer_id]

    def to_json(self) -> dict[str, list[object]]:
        """Epochs and sequence numbers; open and aborted transactions are always rebuilt from the batches."""
        return {
            str(producer_id): [producer.epoch, producer.seen_ms, [list(batch) for batch in producer.batches]]
            for producer_id, producer in self._producers.items()
        }

    def load_json(self, saved: dict[str, list[object]]) -> None:
        """Start from what `to_json` gave; batches read afterwards add to it."""
        for producer_id, (epoch, seen_ms, batches) in saved.items():
            producer = _Producer(int(str(epoch)), int(str(seen_ms)))
            assert isinstance(batches, list)  # noqa: S101  # our own file, written whole or not at all
            producer.batches.extend(SentBatch(*batch) for batch in batches)
            self._producers[int(producer_id)] = producer


def _offset_of_duplicate(known: _Producer, header: BatchHeader, expected: int) -> int:
    last_sequence = (header.base_sequence + header.last_offset_delta) & _LAST_SEQUENCE
    for batch in known.batches:
        if header.producer_epoch == known.epoch and batch[:2] == (header.base_sequence, last_sequence):
            return batch.base_offset
    if header.producer_epoch == known.epoch and header.base_sequence < expected:
        raise RefusedError(
            Code.DUPLICATE_SEQUENCE_NUMBER, "a batch with this sequence number is here already"
        )
    raise RefusedError(
        Code.OUT_OF_ORDER_SEQUENCE_NUMBER, f"sequence {header.base_sequence}, expected {expected}"
    )
