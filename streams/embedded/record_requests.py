"""Produce, Fetch and ListOffsets: records in, records out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from streams.embedded.batches import HEADER_BYTES, read_header
from streams.embedded.codes import Code
from streams.embedded.log import PartitionLog, Slice
from streams.embedded.protocol import Fields
from streams.embedded.refusals import RefusedError
from streams.embedded.topics import Topics, now_ms
from streams.embedded.transactions import Transactions
from streams.embedded.wire import Caller

MAX_FETCH_BYTES = 16 * 1024 * 1024  # of one response, whatever the client allows: bounds our memory
_READ_COMMITTED = 1
_LATEST, _EARLIEST = -1, -2


class RecordRequests:
    """Handlers; each takes a decoded request and gives the response's fields, or None for no response."""

    def __init__(self, topics: Topics, transactions: Transactions) -> None:
        self._topics = topics
        self._transactions = transactions

    def produce(self, request: Any, _caller: Caller) -> Fields | None:
        """Append each partition's batch; what is answered without an error is in the page cache."""
        responses = [
            {
                "name": topic.name,
                "partition_responses": [
                    self._append(topic.name, partition, request) for partition in topic.partition_data
                ],
            }
            for topic in request.topic_data
        ]
        return {"responses": responses} if request.acks != 0 else None

    def _append(self, name: str, partition: Any, request: Any) -> Fields:
        try:
            if request.acks not in (-1, 0, 1):
                raise RefusedError(Code.INVALID_REQUIRED_ACKS, f"acks={request.acks}")
            log = self._topics.log(name, partition.index)
            rules = self._topics.known(name).rules
            batch = bytearray(partition.records or b"")
            if request.transactional_id:
                self._check_transaction(request.transactional_id, (name, partition.index), batch)
            now = now_ms()
            base_offset = log.append(batch, rules, now)
        except RefusedError as refused:
            return _produce_error(partition.index, refused.code, refused.message)
        except OSError as error:
            return _produce_error(partition.index, Code.KAFKA_STORAGE_ERROR, str(error))
        return {
            "index": partition.index,
            "base_offset": base_offset,
            "log_append_time_ms": now if rules.stamps_append_time else -1,
            "log_start_offset": log.start_offset,
        }

    def _check_transaction(self, transactional_id: str, partition: tuple[str, int], batch: bytearray) -> None:
        if len(batch) >= HEADER_BYTES:
            header = read_header(batch)
            self._transactions.check_write(
                transactional_id, header.producer_id, header.producer_epoch, partition
            )

    async def fetch(self, request: Any, _caller: Caller) -> Fields:
        """Answer when `min_bytes` are there, when something is wrong, or after `max_wait_ms`."""
        if request.session_id:
            return {"error_code": Code.FETCH_SESSION_ID_NOT_FOUND, "responses": []}
        deadline = time.monotonic() + request.max_wait_ms / 1000
        while True:
            plan = FetchPlan(self._topics, request)
            left_s = deadline - time.monotonic()
            if plan.has_error or plan.size_bytes >= max(request.min_bytes, 0) or left_s <= 0:
                return plan.response()
            await _wait_for_records(plan.logs, left_s)

    def list_offsets(self, request: Any, _caller: Caller) -> Fields:
        """Earliest, latest (of committed records, if asked), or the first since a time."""
        return {
            "topics": [
                {
                    "name": topic.name,
                    "partitions": [
                        self._offset(topic.name, partition, request.isolation_level)
                        for partition in topic.partitions
                    ],
                }
                for topic in request.topics
            ]
        }

    def _offset(self, name: str, partition: Any, isolation_level: int) -> Fields:
        answer: Fields = {"partition_index": partition.partition_index, "timestamp": -1, "offset": -1}
        try:
            log = self._topics.log(name, partition.partition_index)
        except RefusedError as refused:
            return answer | {"error_code": refused.code}
        answer["leader_epoch"] = 0
        end_offset = log.last_stable_offset if isolation_level == _READ_COMMITTED else log.end_offset
        if partition.timestamp == _LATEST:
            return answer | {"offset": end_offset}
        if partition.timestamp == _EARLIEST:
            return answer | {"offset": log.start_offset}
        found = log.first_since(partition.timestamp)
        if found is None or found[0] >= end_offset:
            return answer
        return answer | {"offset": found[0], "timestamp": found[1]}


def _produce_error(index: int, code: Code, message: str) -> Fields:
    return {"index": index, "error_code": code, "base_offset": -1, "error_message": message}


class _Wanted(NamedTuple):
    """One partition of a fetch: where to read, or why not."""

    partition: int
    log: PartitionLog | None
    records: Slice | None
    error_code: Code
    read_committed: bool
    fetch_offset: int


class FetchPlan:
    """What a fetch would return now: sizes are known, nothing is read from disk yet."""

    def __init__(self, topics: Topics, request: Any) -> None:
        self.size_bytes = 0
        self.logs: list[PartitionLog] = []
        self.has_error = False
        self._max_bytes = min(request.max_bytes, MAX_FETCH_BYTES)
        self._read_committed = request.isolation_level == _READ_COMMITTED
        self._wanted = [
            (topic.topic, [self._locate(topics, topic.topic, partition) for partition in topic.partitions])
            for topic in request.topics
        ]

    def _locate(self, topics: Topics, name: str, wanted: Any) -> _Wanted:
        log = records = None
        code = Code.NONE
        try:
            log = topics.log(name, wanted.partition)
            # Each partition gives at least one batch while there is room, so that none starves.
            room = min(wanted.partition_max_bytes, self._max_bytes - self.size_bytes)
            end_offset = log.last_stable_offset if self._read_committed else log.end_offset
            records = log.slice_from(wanted.fetch_offset, room, end_offset if room > 0 else -1)
            self.size_bytes += records.size_bytes
            self.logs.append(log)
        except RefusedError as refused:
            code, self.has_error = refused.code, True
        return _Wanted(wanted.partition, log, records, code, self._read_committed, wanted.fetch_offset)

    def response(self) -> Fields:
        """The response's fields, records read from disk."""
        return {
            "responses": [
                {"topic": name, "partitions": [_partition_data(wanted) for wanted in partitions]}
                for name, partitions in self._wanted
            ]
        }


def _partition_data(wanted: _Wanted) -> Fields:
    log, records = wanted.log, wanted.records
    data: Fields = {"partition_index": wanted.partition, "error_code": wanted.error_code}
    if log is None or records is None:
        return data | {"high_watermark": -1, "aborted_transactions": None}
    read_size = records.size_bytes
    return data | {
        "high_watermark": log.end_offset,
        "last_stable_offset": log.last_stable_offset,
        "log_start_offset": log.start_offset,
        "aborted_transactions": list(_aborted(wanted, log, records)) if wanted.read_committed else None,
        "records": records.segment.read(records.position, read_size) if read_size else b"",
    }


def _aborted(wanted: _Wanted, log: PartitionLog, records: Slice) -> Iterator[Fields]:
    for aborted in log.producers.aborted_between(wanted.fetch_offset, records.next_offset):
        yield {"producer_id": aborted.producer_id, "first_offset": aborted.first_offset}


async def _wait_for_records(logs: list[PartitionLog], timeout_s: float) -> None:
    """Until one of the logs grows, or the time is over."""
    loop = asyncio.get_running_loop()
    grown: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(timeout_s, _finish, grown)
    for log in logs:
        log.waiters.add(grown)
    try:
        await grown
    finally:
        timer.cancel()
        for log in logs:
            log.waiters.discard(grown)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
