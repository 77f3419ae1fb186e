"""The requests of consumer groups: joining, staying, leaving, and their administration."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from streams.embedded.codes import Code
from streams.embedded.coordinator import Coordinator
from streams.embedded.groups import PREPARING, Group
from streams.embedded.members import JoinRequest
from streams.embedded.protocol import Fields
from streams.embedded.refusals import RefusedError, code_of
from streams.embedded.wire import Caller

MIN_SESSION_TIMEOUT_MS = 1000  # Kafka: 6000; shorter here, so that tests of dead members are quick
MAX_SESSION_TIMEOUT_MS = 30 * 60 * 1000


class GroupRequests:
    """Handlers; each takes a decoded request and gives the response's fields."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

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

        return {"error_code": code_of(beat)}

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
        return code_of(
            lambda: self._coordinator.with_members(group_id).leave(member_id, instance_id, time.monotonic())
        )

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
            return code_of(lambda: self._coordinator.delete_group(group_id))

        return {"results": [{"group_id": name, "error_code": delete(name)} for name in request.groups_names]}


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


def _complete(group: Group) -> None:
    group.try_complete(time.monotonic())
