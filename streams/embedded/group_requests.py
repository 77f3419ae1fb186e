"""The requests of consumer groups: joining, staying, leaving, committed offsets, and their administration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from streams.embedded.batches import RefusedError
from streams.embedded.codes import Code
from streams.embedded.coordinator import Coordinator
from streams.embedded.groups import PREPARING, Group
from streams.embedded.members import JoinRequest
from streams.embedded.protocol import Fields
from streams.embedded.topics import Topics
from streams.embedded.wire import Caller

MIN_SESSION_TIMEOUT_MS = 1000  # Kafka: 6000; shorter here, so that tests of dead members are quick
MAX_SESSION_TIMEOUT_MS = 30 * 60 * 1000
MAX_OFFSET_METADATA_BYTES = 4096


class GroupRequests:
    """Handlers; each takes a decoded request and gives the response's fields."""

    def __init__(self, coordinator: Coordinator, topics: Topics) -> None:
        self._coordinator = coordinator
        self._topics = topics

    async def join(self, request: Any, caller: Caller) -> Fields:
        """JoinGroup: answered when everybody has joined."""
        try:
            if not MIN_SESSION_TIMEOUT_MS <= request.session_timeout_ms <= MAX_SESSION_TIMEOUT_MS:
                raise RefusedError(Code.INVALID_SESSION_TIMEOUT, f"{request.session_timeout_ms} ms")
            group = self._coordinator.joinable(request.group_id)
            answer = group.join(_join_request(request, caller), time.monotonic())
        except RefusedError as refused:
            return {"error_code": refused.code, "member_id": request.member_id}
        if group.state == PREPARING:
            delay_s = self._coordinator.initial_delay_s + 0.01
            asyncio.get_running_loop().call_later(delay_s, _complete, group)
        result = await answer
        return {
            "error_code": result.code,
            "generation_id": result.generation,
            "protocol_name": result.protocol,
            "leader": result.leader,
            "member_id": result.member_id,
            "members": [
                {"member_id": member_id, "group_instance_id": instance_id, "metadata": metadata}
                for member_id, instance_id, metadata in result.members
            ],
        }

    async def sync(self, request: Any, _caller: Caller) -> Fields:
        """SyncGroup: answered when the leader has sent the assignment."""
        try:
            group = self._coordinator.with_members(request.group_id)
            member = group.known(request.member_id, request.group_instance_id)
            assignments = {item.member_id: bytes(item.assignment) for item in request.assignments}
            answer = group.sync(member, request.generation_id, assignments, time.monotonic())
        except RefusedError as refused:
            return {"error_code": refused.code}
        result = await answer
        return {"error_code": result.code, "assignment": result.assignment}

    def heartbeat(self, request: Any, _caller: Caller) -> Fields:
        """Heartbeat."""

        def beat() -> None:
            group = self._coordinator.with_members(request.group_id)
            member = group.known(request.member_id, request.group_instance_id)
            group.heartbeat(member, request.generation_id, time.monotonic())

        return {"error_code": _code_of(beat)}

    def leave(self, request: Any, caller: Caller) -> Fields:
        """LeaveGroup: one member before version 3, several from then on."""
        if caller.version < 3:
            return {"error_code": self._leave(request.group_id, request.member_id, None)}
        return {
            "members": [
                {
                    "member_id": member.member_id,
                    "group_instance_id": member.group_instance_id,
                    "error_code": self._leave(request.group_id, member.member_id, member.group_instance_id),
                }
                for member in request.members
            ]
        }

    def _leave(self, group_id: str, member_id: str, instance_id: str | None) -> Code:
        return _code_of(
            lambda: self._coordinator.with_members(group_id).leave(member_id, instance_id, time.monotonic())
        )

    def commit_offsets(self, request: Any, _caller: Caller) -> Fields:
        """OffsetCommit: refused whole for a stale member, partition by partition for an unknown topic."""
        code = _code_of(lambda: self._check_commit(request))
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
        commit: Callable[[list[tuple[str, str, int, int, str]]], None],
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
        if len((item.committed_metadata or "").encode()) > MAX_OFFSET_METADATA_BYTES:
            return Code.OFFSET_METADATA_TOO_LARGE
        return _code_of(lambda: self._topics.log(topic, item.partition_index))

    def fetch_offsets(self, request: Any, _caller: Caller) -> Fields:
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

    def describe(self, request: Any, _caller: Caller) -> Fields:
        """DescribeGroups: an unknown group is "Dead"."""
        return {"groups": [self._describe(group_id) for group_id in request.groups]}

    def _describe(self, group_id: str) -> Fields:
        group = self._coordinator.get(group_id)
        if group is None:
            known = bool(self._coordinator.offsets(group_id))
            return {"group_id": group_id, "group_state": "Empty" if known else "Dead", "members": []}
        return {
            "group_id": group_id,
            "group_state": group.state,
            "protocol_type": group.protocol_type,
            "protocol_data": group.protocol,
            "members": [
                {
                    "member_id": member.member_id,
                    "group_instance_id": member.instance_id,
                    "client_id": member.client_id,
                    "client_host": f"/{member.host}",
                    "member_metadata": member.metadata(group.protocol),
                    "member_assignment": member.assignment,
                }
                for member in group.members.values()
            ],
        }

    def list_groups(self, _request: Any, _caller: Caller) -> Fields:
        """ListGroups."""
        ids = self._coordinator.group_ids()
        return {
            "groups": [{"group_id": group_id, "protocol_type": self._type_of(group_id)} for group_id in ids]
        }

    def _type_of(self, group_id: str) -> str:
        group = self._coordinator.get(group_id)
        return group.protocol_type if group is not None else "consumer"

    def delete_groups(self, request: Any, _caller: Caller) -> Fields:
        """DeleteGroups: only groups without members."""

        def delete(group_id: str) -> Code:
            return _code_of(lambda: self._coordinator.delete_group(group_id))

        return {"results": [{"group_id": name, "error_code": delete(name)} for name in request.groups_names]}

    def delete_offsets(self, request: Any, _caller: Caller) -> Fields:
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


def _join_request(request: Any, caller: Caller) -> JoinRequest:
    rebalance_ms = request.rebalance_timeout_ms if caller.version >= 1 else request.session_timeout_ms
    return JoinRequest(
        member_id=request.member_id,
        instance_id=request.group_instance_id,
        client_id=caller.client_id,
        host=caller.host,
        session_timeout_s=request.session_timeout_ms / 1000,
        rebalance_timeout_s=rebalance_ms / 1000,
        protocol_type=request.protocol_type,
        protocols=tuple((item.name, bytes(item.metadata)) for item in request.protocols),
        must_know_id=caller.version >= 4,
    )


def _committed(offsets: dict[tuple[str, int], Any], name: str, index: int) -> Fields:
    found = offsets.get((name, index))
    offset, metadata = found if found is not None else (-1, "")
    return {
        "partition_index": index,
        "committed_offset": offset,
        "committed_leader_epoch": -1,
        "metadata": metadata,
    }


def _complete(group: Group) -> None:
    group.try_complete(time.monotonic())


def _code_of(action: Callable[[], object]) -> Code:
    try:
        action()
    except RefusedError as refused:
        return refused.code
    return Code.NONE
