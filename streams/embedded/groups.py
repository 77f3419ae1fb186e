"""One consumer group: who is in it, and the rebalances that share its partitions out.

The classic protocol of Kafka's group coordinator. Methods take the time; answers that have to wait are
futures.

    Empty ──join──► PreparingRebalance ──all joined──► CompletingRebalance ──leader's sync──► Stable
                           ▲                                    │                                │
                           └───────── join, leave, expiry ──────┴────────────────────────────────┘

A static member (one with an instance id) that comes back takes the place of its former self: its assignment
stays, nobody else notices, and the former self, should it still be alive, is fenced.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from typing import TypeVar

from streams.embedded.codes import Code
from streams.embedded.members import JoinRequest, JoinResult, Member, SyncResult, subscribed_topics
from streams.embedded.refusals import RefusedError

Result = TypeVar("Result", JoinResult, SyncResult)
Protocols = tuple[tuple[str, bytes], ...]
EMPTY, PREPARING, COMPLETING, STABLE = "Empty", "PreparingRebalance", "CompletingRebalance", "Stable"


class Group:
    """A group by its id; `on_change` is called after each change that must outlive a crash."""

    def __init__(self, group_id: str, *, initial_delay_s: float, on_change: Callable[[Group], None]) -> None:
        self.group_id = group_id
        self.state = EMPTY
        self.generation = 0
        self.protocol_type = ""
        self.protocol = ""
        self.leader = ""
        self.members: dict[str, Member] = {}
        self.static_ids: dict[str, str] = {}  # instance id -> member id
        self._announced: dict[str, float] = {}  # ids given to consumers that have yet to join -> until when
        self._initial_delay_s = initial_delay_s
        self._on_change = on_change
        self._complete_from_s = 0.0
        self._complete_by_s = 0.0

    # Joining

    def join(self, request: JoinRequest, now_s: float) -> asyncio.Future[JoinResult]:
        """The answer comes when the rebalance is complete; raises `RefusedError`."""
        self._check_protocols(request)
        if request.instance_id is not None and not request.member_id:
            return self._join_static(request, now_s)
        if not request.member_id:
            return self._join_new(request, now_s)
        if request.member_id in self._announced:
            del self._announced[request.member_id]
            return self._admit(request.member_id, request, now_s)
        member = self.known(request.member_id, request.instance_id)
        return self._rejoin(member, request, now_s)

    def _check_protocols(self, request: JoinRequest) -> None:
        names = {name for name, _ in request.protocols}
        others = [member for key, member in self.members.items() if key != request.member_id]
        common = names.intersection(*({name for name, _ in other.protocols} for other in others))
        if not common or (others and request.protocol_type != self.protocol_type):
            raise RefusedError(Code.INCONSISTENT_GROUP_PROTOCOL, "no protocol in common with the group")

    def _join_new(self, request: JoinRequest, now_s: float) -> asyncio.Future[JoinResult]:
        member_id = _new_member_id(request)
        if request.must_know_id:
            self._announced[member_id] = now_s + request.session_timeout_s
            return _done(JoinResult(Code.MEMBER_ID_REQUIRED, member_id=member_id))
        return self._admit(member_id, request, now_s)

    def _join_static(self, request: JoinRequest, now_s: float) -> asyncio.Future[JoinResult]:
        assert request.instance_id is not None  # noqa: S101  # for the type checker: the caller looked
        former = self.members.get(self.static_ids.get(request.instance_id, ""))
        member_id = _new_member_id(request)
        if former is None:
            return self._admit(member_id, request, now_s)
        leader, was_same = self.leader, _wants_the_same(former.protocols, request.protocols)
        self._replace(former, member_id, request, now_s)
        if self.state == STABLE and was_same:
            # The former leader's id is given on purpose: the newcomer must not compute a new assignment.
            self._on_change(self)
            return _done(JoinResult(Code.NONE, self.generation, self.protocol, leader, member_id))
        return self._await_join(self.members[member_id], now_s)

    def _replace(self, former: Member, member_id: str, request: JoinRequest, now_s: float) -> None:
        former.answer_join(JoinResult(Code.FENCED_INSTANCE_ID, member_id=former.member_id))
        former.answer_sync(SyncResult(Code.FENCED_INSTANCE_ID))
        newcomer = _member(member_id, request, now_s)
        newcomer.assignment = former.assignment
        # In the place of the former in the order too: assignors look at it.
        self.members = {
            (member_id if key == former.member_id else key): (newcomer if member is former else member)
            for key, member in self.members.items()
        }
        self.static_ids[str(request.instance_id)] = member_id
        if self.leader == former.member_id:
            self.leader = member_id

    def _admit(self, member_id: str, request: JoinRequest, now_s: float) -> asyncio.Future[JoinResult]:
        member = self.members[member_id] = _member(member_id, request, now_s)
        if request.instance_id is not None:
            self.static_ids[request.instance_id] = member_id
        self.protocol_type = request.protocol_type
        return self._await_join(member, now_s)

    def _rejoin(self, member: Member, request: JoinRequest, now_s: float) -> asyncio.Future[JoinResult]:
        is_same = member.protocols == request.protocols
        member.protocols = request.protocols
        member.refresh(now_s)
        is_leader = member.member_id == self.leader
        if is_same and (self.state == COMPLETING or (self.state == STABLE and not is_leader)):
            return _done(self._join_result(member))
        return self._await_join(member, now_s)

    def _await_join(self, member: Member, now_s: float) -> asyncio.Future[JoinResult]:
        member.answer_join(JoinResult(Code.REBALANCE_IN_PROGRESS, member_id=member.member_id))
        answer: asyncio.Future[JoinResult] = asyncio.get_running_loop().create_future()
        member.joining = answer
        self._start_rebalance(now_s)
        self.try_complete(now_s)
        return answer

    # Rebalancing

    def _start_rebalance(self, now_s: float) -> None:
        if self.state == PREPARING:
            return
        # A new group waits a little, so that consumers started together share one rebalance.
        self._complete_from_s = now_s + (self._initial_delay_s if self.state == EMPTY else 0.0)
        self._complete_by_s = now_s + max(
            (member.rebalance_timeout_s for member in self.members.values()), default=0.0
        )
        self.state = PREPARING
        for member in self.members.values():
            if member.syncing is not None:
                member.answer_sync(SyncResult(Code.REBALANCE_IN_PROGRESS))
                member.refresh(now_s)

    def try_complete(self, now_s: float) -> None:
        """Finish the rebalance if everybody has joined, or if those who have not are out of time."""
        if self.state != PREPARING or now_s < self._complete_from_s:
            return
        missing = [member for member in self.members.values() if member.joining is None]
        if (missing or self._announced) and now_s < self._complete_by_s:
            return
        for member in missing:
            if member.instance_id is None:  # a static member may still come back: its session decides
                self._forget(member)
        if self.members and all(member.joining is None for member in self.members.values()):
            self._complete_by_s = now_s + max(member.rebalance_timeout_s for member in self.members.values())
            return
        self._next_generation(now_s)

    def _next_generation(self, now_s: float) -> None:
        self.generation += 1
        if not self.members:
            self._become_empty()
            return
        self.state = COMPLETING
        self.protocol = _chosen_protocol(self.members.values())
        joined = [member.member_id for member in self.members.values() if member.joining is not None]
        if self.leader not in joined:
            self.leader = joined[0]
        for member in self.members.values():
            member.assignment = b""
            member.refresh(now_s)
            member.answer_join(self._join_result(member))

    def _join_result(self, member: Member) -> JoinResult:
        everybody = tuple(
            (other.member_id, other.instance_id, other.metadata(self.protocol))
            for other in self.members.values()
        )
        is_leader = member.member_id == self.leader
        return JoinResult(
            Code.NONE,
            self.generation,
            self.protocol,
            self.leader,
            member.member_id,
            everybody if is_leader else (),
        )

    def _become_empty(self) -> None:
        self.state, self.leader, self.protocol = EMPTY, "", ""
        self._on_change(self)

    def sync(
        self, member: Member, generation: int, assignments: dict[str, bytes], now_s: float
    ) -> asyncio.Future[SyncResult]:
        """The member's assignment, when the leader has sent it; raises `RefusedError`."""
        member.refresh(now_s)
        self._check_generation(generation)
        if self.state == PREPARING:
            raise RefusedError(Code.REBALANCE_IN_PROGRESS, "join again")
        if self.state == STABLE:
            return _done(SyncResult(Code.NONE, member.assignment))
        member.answer_sync(SyncResult(Code.REBALANCE_IN_PROGRESS))
        answer: asyncio.Future[SyncResult] = asyncio.get_running_loop().create_future()
        member.syncing = answer
        if member.member_id == self.leader:
            self._assign(assignments, now_s)
        return answer

    def _assign(self, assignments: dict[str, bytes], now_s: float) -> None:
        self.state = STABLE
        for member in self.members.values():
            member.assignment = assignments.get(member.member_id, b"")
        self._on_change(self)  # durable before anybody acts on it
        for member in self.members.values():
            member.refresh(now_s)
            member.answer_sync(SyncResult(Code.NONE, member.assignment))

    # Living and leaving

    def known(self, member_id: str, instance_id: str | None) -> Member:
        """The member; raises `RefusedError` if it is unknown, or replaced under its instance id."""
        if instance_id is not None and self.static_ids.get(instance_id, member_id) != member_id:
            raise RefusedError(Code.FENCED_INSTANCE_ID, f"{instance_id!r} has come back as another member")
        member = self.members.get(member_id)
        if member is None:
            raise RefusedError(Code.UNKNOWN_MEMBER_ID, f"no member {member_id!r}")
        return member

    def _check_generation(self, generation: int) -> None:
        if generation != self.generation:
            raise RefusedError(Code.ILLEGAL_GENERATION, f"{generation}, the group is at {self.generation}")

    def heartbeat(self, member: Member, generation: int, now_s: float) -> None:
        """A sign of life; raises `RefusedError` when the member has to join again."""
        self._check_generation(generation)
        member.refresh(now_s)
        if self.state == PREPARING:
            raise RefusedError(Code.REBALANCE_IN_PROGRESS, "join again")

    def check_commit(self, member_id: str, instance_id: str | None, generation: int, now_s: float) -> None:
        """Whether offsets may be committed: by a current member, or from outside an empty group."""
        if generation < 0 and not self.members:
            return
        member = self.known(member_id, instance_id)
        self._check_generation(generation)
        if self.state == COMPLETING:
            raise RefusedError(Code.REBALANCE_IN_PROGRESS, "sync first")
        member.refresh(now_s)

    def leave(self, member_id: str, instance_id: str | None, now_s: float) -> None:
        """A member goes, or (without a member id) a static one is removed; raises `RefusedError`."""
        if self._announced.pop(member_id, None) is not None:
            self.try_complete(now_s)
            return
        if not member_id and instance_id is not None:
            member_id = self.static_ids.get(instance_id, "")
        self._remove(self.known(member_id, instance_id), now_s)

    def expire(self, now_s: float) -> list[str]:
        """Remove members whose session has ended; their ids."""
        for member_id, until_s in list(self._announced.items()):
            if now_s > until_s:
                del self._announced[member_id]
        overdue = [member for member in self.members.values() if member.is_overdue(now_s)]
        for member in overdue:
            if member.member_id in self.members:
                self._remove(member, now_s)
        self.try_complete(now_s)
        return [member.member_id for member in overdue]

    def _remove(self, member: Member, now_s: float) -> None:
        self._forget(member)
        if self.members:
            self._start_rebalance(now_s)
            self.try_complete(now_s)
        else:
            self.generation += 1
            self._become_empty()

    def _forget(self, member: Member) -> None:
        del self.members[member.member_id]
        if member.instance_id is not None:
            self.static_ids.pop(member.instance_id, None)
        if self.leader == member.member_id:
            self.leader = ""
        member.answer_join(JoinResult(Code.UNKNOWN_MEMBER_ID, member_id=member.member_id))
        member.answer_sync(SyncResult(Code.UNKNOWN_MEMBER_ID))

    @property
    def is_idle(self) -> bool:
        """Whether nobody is in the group or about to join."""
        return not self.members and not self._announced


def _wants_the_same(former: Protocols, present: Protocols) -> bool:
    """Whether protocols and topics are those of before; what assignors add to them may differ."""
    return [(name, subscribed_topics(data)) for name, data in former] == [
        (name, subscribed_topics(data)) for name, data in present
    ]


def _new_member_id(request: JoinRequest) -> str:
    return f"{request.instance_id or request.client_id}-{uuid.uuid4()}"


def _member(member_id: str, request: JoinRequest, now_s: float) -> Member:
    return Member(
        member_id=member_id,
        instance_id=request.instance_id,
        client_id=request.client_id,
        host=request.host,
        session_timeout_s=request.session_timeout_s,
        rebalance_timeout_s=request.rebalance_timeout_s,
        protocols=request.protocols,
        expires_s=now_s + request.session_timeout_s,
    )


def _chosen_protocol(members: Iterable[Member]) -> str:
    """The one most members would rather have, among those that all know."""
    members = list(members)
    common = set.intersection(*({name for name, _ in member.protocols} for member in members))
    votes = [next(name for name, _ in member.protocols if name in common) for member in members]
    return max(votes, key=votes.count)


def _done(result: Result) -> asyncio.Future[Result]:
    future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    future.set_result(result)
    return future
