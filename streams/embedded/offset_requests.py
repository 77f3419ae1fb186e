"""The requests about committed offsets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from streams.embedded.codes import Code
from streams.embedded.coordinator import Coordinator
from streams.embedded.groups import Group
from streams.embedded.protocol import Fields
from streams.embedded.refusals import code_of
from streams.embedded.topics import Topics
from streams.embedded.transactions import OffsetRow
from streams.embedded.wire import Caller

MAX_METADATA_BYTES = 4096  # offset.metadata.max.bytes of Kafka


class OffsetRequests:
    """Handlers; each takes a decoded request and gives the response's fields."""

    def __init__(self, coordinator: Coordinator, topics: Topics) -> None:
        self._coordinator = coordinator
        self._topics = topics

    def commit(self, request: Any, _caller: Caller) -> Fields:
        """OffsetCommit: refused whole for a stale member, partition by partition for an unknown topic."""
        code = code_of(lambda: self._check_commit(request))
        return {"topics": self.commit_rows(request.group_id, request.topics, code, self._coordinator.commit)}

    def _check_commit(self, request: Any) -> None:
        if request.generation_id_or_member_epoch < 0:
            group: Group | None = self._coordinator.get(request.group_id)
        else:
            group = self._coordinator.with_members(request.group_id)
        if group is not None:
            group.check_commit(
                request.member_id,
                request.group_instance_id,
                request.generation_id_or_member_epoch,
                time.monotonic(),
            )

    def commit_rows(
        self,
        group_id: str,
        topics: Any,
        code: Code,
        commit: Callable[[list[OffsetRow]], None],
    ) -> list[Fields]:
        """Hand the rows that can be committed to `commit`; the answer for each partition."""
        rows, answers = [], []
        for topic in topics:
            partitions = []
            for item in topic.partitions:
                item_code = code or self._check_row(topic.name, item)
                if not item_code:
                    metadata = item.committed_metadata or ""
                    rows.append((group_id, topic.name, item.partition_index, item.committed_offset, metadata))
                partitions.append({"partition_index": item.partition_index, "error_code": item_code})
            answers.append({"name": topic.name, "partitions": partitions})
        commit(rows)
        return answers

    def _check_row(self, topic: str, item: Any) -> Code:
        if len((item.committed_metadata or "").encode()) > MAX_METADATA_BYTES:
            return Code.OFFSET_METADATA_TOO_LARGE
        return code_of(lambda: self._topics.log(topic, item.partition_index))

    def fetch(self, request: Any, _caller: Caller) -> Fields:
        """OffsetFetch: for the partitions asked, or all that the group has committed."""
        offsets = self._coordinator.offsets(request.group_id)
        if request.topics is None:
            asked: Iterable[tuple[str, list[int]]] = [
                (name, [partition for topic, partition in offsets if topic == name])
                for name in sorted({topic for topic, _ in offsets})
            ]
        else:
            asked = [(topic.name, topic.partition_indexes) for topic in request.topics]
        return {
            "topics": [
                {"name": name, "partitions": [_committed(offsets, name, index) for index in indexes]}
                for name, indexes in asked
            ]
        }

    def delete(self, request: Any, _caller: Caller) -> Fields:
        """OffsetDelete: not for topics that a member reads."""
        if request.group_id not in self._coordinator.group_ids():
            return {"error_code": Code.GROUP_ID_NOT_FOUND}
        answers = []
        for topic in request.topics:
            subscribed = self._coordinator.is_subscribed(request.group_id, topic.name)
            code = Code.GROUP_SUBSCRIBED_TO_TOPIC if subscribed else Code.NONE
            indexes = [item.partition_index for item in topic.partitions]
            if not subscribed:
                self._coordinator.delete_offsets(request.group_id, [(topic.name, index) for index in indexes])
            partitions = [{"partition_index": index, "error_code": code} for index in indexes]
            answers.append({"name": topic.name, "partitions": partitions})
        return {"topics": answers}


def _committed(offsets: dict[tuple[str, int], Any], name: str, index: int) -> Fields:
    found = offsets.get((name, index))
    offset, metadata = found if found is not None else (-1, "")
    return {
        "partition_index": index,
        "committed_offset": offset,
        "committed_leader_epoch": -1,
        "metadata": metadata,
    }
