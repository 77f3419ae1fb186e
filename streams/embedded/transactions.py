"""The transaction coordinator: transactional ids, their producers' epochs, and two-step ends.

A transaction's state is in the journal before a request about it is answered, so after a crash a producer
goes on with its transaction, and one that was being ended is ended as it was decided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from streams.embedded.codes import Code
from streams.embedded.journal import Journal
from streams.embedded.log import PartitionLog
from streams.embedded.refusals import RefusedError
from streams.embedded.topics import Topics, now_ms

MAX_TIMEOUT_MS = 15 * 60 * 1000  # transaction.max.timeout.ms of Kafka
_MAX_EPOCH = 32_766

EMPTY, ONGOING = "Empty", "Ongoing"
PREPARE_COMMIT, PREPARE_ABORT = "PrepareCommit", "PrepareAbort"
COMPLETE_COMMIT, COMPLETE_ABORT = "CompleteCommit", "CompleteAbort"

OffsetRow = tuple[str, str, int, int, str]
"""group, topic, partition, offset, metadata"""


@dataclass(slots=True)
class _Transaction:
    producer_id: int
    epoch: int
    timeout_ms: int
    state: str = EMPTY
    partitions: list[tuple[str, int]] = field(default_factory=list)
    offsets: list[OffsetRow] = field(default_factory=list)
    started_s: float = 0.0  # monotonic; counted anew after a restart


class Transactions:
    """All transactional ids; `commit_offsets` is called with the offsets of a committed transaction."""

    def __init__(
        self, data_dir: Path, topics: Topics, commit_offsets: Callable[[Iterable[OffsetRow]], None]
    ) -> None:
        self._topics = topics
        self._commit_offsets = commit_offsets
        self._journal = Journal(data_dir / "transactions.journal")
        self._by_id = {str(key[0]): _from_json(value) for key, value in self._journal.items()}
        for transactional_id, transaction in self._by_id.items():
            if transaction.state in (PREPARE_COMMIT, PREPARE_ABORT):
                self._complete(transactional_id, transaction)

    def init_producer(self, transactional_id: str, timeout_ms: int) -> tuple[int, int]:
        """Producer id and a new epoch; an earlier producer is fenced, and its transaction aborted."""
        if not 0 < timeout_ms <= MAX_TIMEOUT_MS:
            raise RefusedError(Code.INVALID_TRANSACTION_TIMEOUT, f"{timeout_ms} ms")
        transaction = self._by_id.get(transactional_id)
        if transaction is None:
            transaction = _Transaction(self._topics.new_producer_id(), 0, timeout_ms)
            self._by_id[transactional_id] = transaction
        else:
            self._fence(transactional_id, transaction)
            transaction.timeout_ms = timeout_ms
            transaction.state = EMPTY
        self._save(transactional_id, transaction)
        return transaction.producer_id, transaction.epoch

    def _fence(self, transactional_id: str, transaction: _Transaction) -> None:
        """Raise the epoch, and abort with the new one, so that the partitions refuse the old producer too."""
        transaction.epoch += 1
        if transaction.state == ONGOING:
            self._end(transactional_id, transaction, commit=False)
        if transaction.epoch >= _MAX_EPOCH:
            transaction.producer_id, transaction.epoch = self._topics.new_producer_id(), 0

    def check(self, transactional_id: str, producer_id: int, epoch: int) -> _Transaction:
        """The transaction of a producer that still owns its id; raises `RefusedError`."""
        transaction = self._by_id.get(transactional_id)
        if transaction is None or transaction.producer_id != producer_id:
            raise RefusedError(Code.INVALID_PRODUCER_ID_MAPPING, f"unknown producer of {transactional_id!r}")
        if transaction.epoch != epoch:
            raise RefusedError(Code.INVALID_PRODUCER_EPOCH, f"{transactional_id!r} has a newer producer")
        return transaction

    def check_write(
        self, transactional_id: str, producer_id: int, epoch: int, partition: tuple[str, int]
    ) -> None:
        """Raise `RefusedError` unless the partition is in the producer's open transaction.

        Without this, a late request could open a transaction that nobody ever ends (KIP-890).
        """
        transaction = self.check(transactional_id, producer_id, epoch)
        if transaction.state != ONGOING or partition not in transaction.partitions:
            raise RefusedError(Code.INVALID_TXN_STATE, f"{partition} is not in the transaction")

    def add_partitions(
        self, transactional_id: str, producer_id: int, epoch: int, partitions: list[tuple[str, int]]
    ) -> None:
        """These partitions will be written to: they get a marker at the end; raises `RefusedError`."""
        transaction = self._started(transactional_id, producer_id, epoch)
        known = set(transaction.partitions)
        transaction.partitions += [partition for partition in partitions if partition not in known]
        self._save(transactional_id, transaction)

    def add_group(self, transactional_id: str, producer_id: int, epoch: int) -> None:
        """A group's offsets will be committed in the transaction; raises `RefusedError`."""
        self._save(transactional_id, self._started(transactional_id, producer_id, epoch))

    def add_offsets(
        self, transactional_id: str, producer_id: int, epoch: int, offsets: Iterable[OffsetRow]
    ) -> None:
        """Offsets to commit when the transaction commits; raises `RefusedError`."""
        transaction = self._started(transactional_id, producer_id, epoch)
        transaction.offsets += offsets
        self._save(transactional_id, transaction)

    def _started(self, transactional_id: str, producer_id: int, epoch: int) -> _Transaction:
        transaction = self.check(transactional_id, producer_id, epoch)
        if transaction.state != ONGOING:
            transaction.state, transaction.started_s = ONGOING, time.monotonic()
        return transaction

    def end(self, transactional_id: str, producer_id: int, epoch: int, *, commit: bool) -> None:
        """Commit or abort; a repeated request for what was done is right, any other raises `RefusedError`."""
        transaction = self.check(transactional_id, producer_id, epoch)
        if transaction.state == ONGOING:
            self._end(transactional_id, transaction, commit=commit)
        elif transaction.state != (COMPLETE_COMMIT if commit else COMPLETE_ABORT):
            raise RefusedError(Code.INVALID_TXN_STATE, f"{transactional_id!r} is {transaction.state}")

    def _end(self, transactional_id: str, transaction: _Transaction, *, commit: bool) -> None:
        transaction.state = PREPARE_COMMIT if commit else PREPARE_ABORT
        self._save(transactional_id, transaction)  # from here on the decision stands
        self._complete(transactional_id, transaction)

    def _complete(self, transactional_id: str, transaction: _Transaction) -> None:
        """Markers and offsets; each step may be repeated after a crash."""
        commit = transaction.state == PREPARE_COMMIT
        for log in self._logs(transaction):
            log.end_transaction(transaction.producer_id, transaction.epoch, now_ms(), commit=commit)
        if commit and transaction.offsets:
            self._commit_offsets(transaction.offsets)
        transaction.state = COMPLETE_COMMIT if commit else COMPLETE_ABORT
        transaction.partitions, transaction.offsets = [], []
        self._save(transactional_id, transaction)

    def _logs(self, transaction: _Transaction) -> Iterable[PartitionLog]:
        for name, partition in transaction.partitions:
            topic = self._topics.get(name)  # it may have been deleted meanwhile
            if topic is not None and partition < len(topic.partitions):
                yield topic.partitions[partition]

    def abort_overdue(self) -> None:
        """Abort each transaction that is older than its timeout, and fence its producer."""
        now_s = time.monotonic()
        for transactional_id, transaction in self._by_id.items():
            overdue = now_s - transaction.started_s > transaction.timeout_ms / 1000
            if transaction.state == ONGOING and overdue:
                self._fence(transactional_id, transaction)
                self._save(transactional_id, transaction)

    def _save(self, transactional_id: str, transaction: _Transaction) -> None:
        self._journal.put({(transactional_id,): asdict(transaction)})

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def _from_json(saved: dict[str, Any]) -> _Transaction:
    return _Transaction(
        producer_id=saved["producer_id"],
        epoch=saved["epoch"],
        timeout_ms=saved["timeout_ms"],
        state=saved["state"],
        partitions=[(name, partition) for name, partition in saved["partitions"]],
        offsets=[tuple(row) for row in saved["offsets"]],
        started_s=time.monotonic(),
    )
