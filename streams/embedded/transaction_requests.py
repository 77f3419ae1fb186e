"""The requests of idempotent and transactional producers."""

from __future__ import annotations

from typing import Any

from streams.embedded.codes import Code
from streams.embedded.offset_requests import OffsetRequests
from streams.embedded.protocol import Fields
from streams.embedded.refusals import RefusedError
from streams.embedded.topics import Topics
from streams.embedded.transactions import OffsetRow, Transactions
from streams.embedded.wire import Caller


class TransactionRequests:
    """Handlers; each takes a decoded request and gives the response's fields."""

    def __init__(self, transactions: Transactions, topics: Topics, offsets: OffsetRequests) -> None:
        self._transactions = transactions
        self._topics = topics
        self._offsets = offsets

    def init_producer_id(self, request: Any, _caller: Caller) -> Fields:
        """InitProducerId: an id for an idempotent producer, or id and epoch of a transactional one."""
        if request.transactional_id is None:
            return {"producer_id": self._topics.new_producer_id(), "producer_epoch": 0}
        try:
            producer_id, epoch = self._transactions.init_producer(
                request.transactional_id, request.transaction_timeout_ms
            )
        except RefusedError as refused:
            return {"error_code": refused.code}
        return {"producer_id": producer_id, "producer_epoch": epoch}

    def add_partitions(self, request: Any, _caller: Caller) -> Fields:
        """AddPartitionsToTxn: all or none."""
        topics = request.v3_and_below_topics
        code = Code.NONE
        try:
            partitions = [(topic.name, index) for topic in topics for index in topic.partitions]
            for name, index in partitions:
                self._topics.log(name, index)
            self._transactions.add_partitions(
                request.v3_and_below_transactional_id,
                request.v3_and_below_producer_id,
                request.v3_and_below_producer_epoch,
                partitions,
            )
        except RefusedError as refused:
            code = refused.code
        results = [
            {
                "name": topic.name,
                "results_by_partition": [
                    {"partition_index": index, "partition_error_code": code} for index in topic.partitions
                ],
            }
            for topic in topics
        ]
        return {"results_by_topic_v3_and_below": results}

    def add_offsets(self, request: Any, _caller: Caller) -> Fields:
        """AddOffsetsToTxn."""
        try:
            self._transactions.add_group(
                request.transactional_id, request.producer_id, request.producer_epoch
            )
        except RefusedError as refused:
            return {"error_code": refused.code}
        return {}

    def commit_offsets(self, request: Any, _caller: Caller) -> Fields:
        """TxnOffsetCommit: offsets that count when the transaction commits."""
        producer = (request.transactional_id, request.producer_id, request.producer_epoch)
        code = Code.NONE
        try:
            self._transactions.check(*producer)
        except RefusedError as refused:
            code = refused.code

        def keep(rows: list[OffsetRow]) -> None:
            if rows:
                self._transactions.add_offsets(*producer, rows)

        return {"topics": self._offsets.commit_rows(request.group_id, request.topics, code, keep)}

    def end(self, request: Any, _caller: Caller) -> Fields:
        """EndTxn: commit or abort."""
        try:
            self._transactions.end(
                request.transactional_id,
                request.producer_id,
                request.producer_epoch,
                commit=request.committed,
            )
        except RefusedError as refused:
            return {"error_code": refused.code}
        return {}
