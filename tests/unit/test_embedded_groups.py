"""The group coordinator's state machine: rebalances, static members, sessions; time is an argument."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from streams.embedded.codes import Code
from streams.embedded.coordinator import Coordinator
from streams.embedded.groups import COMPLETING, EMPTY, PREPARING, STABLE, Group
from streams.embedded.members import JoinRequest, JoinResult, subscribed_topics
from streams.embedded.refusals import RefusedError

SESSION_S, REBALANCE_S = 10.0, 60.0


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The group's answers are futures, so its tests need a loop."""

    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        asyncio.run(test(*arguments, **named))

    return run


def subscription(*topics: str, user_data: bytes = b"") -> bytes:
    names = b"".join(struct.pack(">h", len(topic)) + topic.encode() for topic in topics)
    return struct.pack(">hi", 1, len(topics)) + names + struct.pack(">i", len(user_data)) + user_data


def request(
    member_id: str = "",
    *,
    instance: str | None = None,
    metadata: bytes | None = None,
    protocols: tuple[str, ...] = ("range",),
    must_know_id: bool = False,
) -> JoinRequest:
    data = subscription("topic") if metadata is None else metadata
    return JoinRequest(
        member_id=member_id,
        instance_id=instance,
        client_id="client",
        host="127.0.0.1",
        session_timeout_s=SESSION_S,
        rebalance_timeout_s=REBALANCE_S,
        protocol_type="consumer",
        protocols=tuple((name, data) for name in protocols),
        must_know_id=must_know_id,
    )


def new_group(delay_s: float = 0.0) -> Group:
    return Group("group", initial_delay_s=delay_s, on_change=lambda _: None)


def result_of(future: asyncio.Future[JoinResult]) -> JoinResult:
    assert future.done(), "still waiting"
    return future.result()


def stable_group(*instances: str | None, now_s: float = 0.0) -> tuple[Group, list[str]]:
    """A stable group of as many members, with one byte of assignment each, and their ids."""
    group = new_group(delay_s=1.0)
    joins = [group.join(request(instance=instance), now_s) for instance in instances]
    group.try_complete(now_s + 1.0)
    ids = [result_of(join).member_id for join in joins]
    assignments = {member_id: bytes([number]) for number, member_id in enumerate(ids)}
    for member_id in reversed(ids):  # the leader is the first
        group.sync(group.known(member_id, None), group.generation, assignments, now_s + 1.0)
    assert group.state == STABLE
    return group, ids


def refusal(action: Callable[[], object]) -> Code:
    with pytest.raises(RefusedError) as refused:
        action()
    return refused.value.code


@in_loop
async def test_members_that_come_together_share_one_generation_and_the_first_leads() -> None:
    group = new_group(delay_s=1.0)
    first, second = group.join(request(), 0.0), group.join(request(), 0.5)
    group.try_complete(0.9)
    assert not first.done()
    group.try_complete(1.0)
    leader, follower = result_of(first), result_of(second)
    assert leader.generation == follower.generation == 1
    assert leader.leader == follower.leader == leader.member_id
    assert [member[0] for member in leader.members] == [leader.member_id, follower.member_id]
    assert follower.members == ()


@in_loop
async def test_a_new_dynamic_member_first_gets_an_id_and_the_group_waits_for_it() -> None:
    group = new_group()
    named = result_of(group.join(request(must_know_id=True), 0.0))
    assert named.code == Code.MEMBER_ID_REQUIRED
    other = group.join(request(), 0.0)
    assert not other.done()
    joined = group.join(request(named.member_id, must_know_id=True), 0.1)
    assert result_of(joined).member_id == named.member_id
    assert result_of(other).code == Code.NONE


@in_loop
async def test_an_announced_member_that_never_joins_is_not_waited_for_longer_than_its_session() -> None:
    group = new_group()
    group.join(request(must_know_id=True), 0.0)
    waiting = group.join(request(), 0.0)
    group.expire(SESSION_S - 1)
    assert not waiting.done()
    group.expire(SESSION_S + 1)
    assert result_of(waiting).code == Code.NONE


@in_loop
async def test_followers_get_their_assignment_when_the_leader_has_sent_it() -> None:
    group = new_group(delay_s=1.0)
    joins = [group.join(request(), 0.0), group.join(request(), 0.0)]
    group.try_complete(1.0)
    leader, follower = (group.known(result_of(join).member_id, None) for join in joins)
    waits = group.sync(follower, 1, {}, 1.0)
    assert (group.state, waits.done()) == (COMPLETING, False)
    group.sync(leader, 1, {leader.member_id: b"L", follower.member_id: b"F"}, 1.0)
    assert (group.state, waits.result().assignment) == (STABLE, b"F")


@in_loop
async def test_a_silent_member_is_removed_and_the_others_are_told_to_join_again() -> None:
    group, (alive, silent) = stable_group(None, None)
    group.heartbeat(group.known(alive, None), 1, 9.0)
    assert group.expire(12.0) == [silent]
    assert group.state == PREPARING
    told = refusal(lambda: group.heartbeat(group.known(alive, None), 1, 12.0))
    assert told == Code.REBALANCE_IN_PROGRESS
    assert result_of(group.join(request(alive), 12.0)).generation == 2


@in_loop
async def test_a_member_that_does_not_rejoin_in_time_is_left_out() -> None:
    group, (first, second) = stable_group(None, None)
    third = group.join(request(), 5.0)
    again = group.join(request(first), 6.0)
    group.members[second].expires_s = 1e9
    group.try_complete(5.0 + REBALANCE_S - 1)
    assert not again.done()
    group.try_complete(5.0 + REBALANCE_S)
    assert result_of(again).generation == result_of(third).generation == 2
    assert second not in group.members


@in_loop
async def test_a_rejoining_follower_gets_the_present_generation_and_a_rejoining_leader_a_new_one() -> None:
    group, (leader, follower) = stable_group(None, None)
    same = result_of(group.join(request(follower), 2.0))
    assert (same.generation, group.state) == (1, STABLE)
    group.join(request(leader), 2.0)
    assert group.state == PREPARING


@in_loop
async def test_a_changed_subscription_starts_a_rebalance() -> None:
    group, (_, follower) = stable_group(None, None)
    group.join(request(follower, metadata=subscription("other")), 2.0)
    assert group.state == PREPARING


@in_loop
async def test_a_static_member_comes_back_with_a_new_id_and_its_old_assignment() -> None:
    group, (leader, former) = stable_group("a", "b")
    back = result_of(group.join(request(instance="b", metadata=subscription("topic", user_data=b"new")), 2.0))
    assert (back.code, back.generation, group.state) == (Code.NONE, 1, STABLE)
    assert back.member_id != former
    assert group.sync(group.known(back.member_id, "b"), 1, {}, 2.0).result().assignment == b"\1"
    assert list(group.members) == [leader, back.member_id]


@in_loop
async def test_a_static_leader_that_comes_back_is_not_asked_for_a_new_assignment() -> None:
    group, (former, _) = stable_group("a", "b")
    back = result_of(group.join(request(instance="a"), 2.0))
    assert back.leader == former != back.member_id
    assert (back.members, group.state, group.leader) == ((), STABLE, back.member_id)


@in_loop
async def test_the_former_self_is_fenced_in_every_request() -> None:
    group, (former, _) = stable_group("a", "b")
    group.join(request(instance="a"), 2.0)
    assert refusal(lambda: group.known(former, "a")) == Code.FENCED_INSTANCE_ID
    assert refusal(lambda: group.check_commit(former, "a", 1, 2.0)) == Code.FENCED_INSTANCE_ID
    assert refusal(lambda: group.join(request(former, instance="a"), 2.0)) == Code.FENCED_INSTANCE_ID
    assert refusal(lambda: group.leave(former, "a", 2.0)) == Code.FENCED_INSTANCE_ID


@in_loop
async def test_a_static_member_with_another_subscription_starts_a_rebalance() -> None:
    group, _ = stable_group("a", "b")
    group.join(request(instance="b", metadata=subscription("other")), 2.0)
    assert group.state == PREPARING


@in_loop
async def test_a_rebalance_keeps_an_absent_static_member_until_its_session_ends() -> None:
    group, (first, absent) = stable_group("a", "b")
    group.members[absent].expires_s = 1e9
    again = group.join(request(first, instance="a"), 5.0)
    group.try_complete(5.0 + REBALANCE_S)
    assert absent in {member[0] for member in result_of(again).members}
    group.expire(2e9)
    assert absent not in group.members


@in_loop
async def test_commits_are_for_current_members_or_from_outside_an_empty_group() -> None:
    group, (member, _) = stable_group(None, None)
    group.check_commit(member, None, 1, 2.0)
    assert refusal(lambda: group.check_commit(member, None, 0, 2.0)) == Code.ILLEGAL_GENERATION
    assert refusal(lambda: group.check_commit("who", None, 1, 2.0)) == Code.UNKNOWN_MEMBER_ID
    assert refusal(lambda: group.check_commit("", None, -1, 2.0)) == Code.UNKNOWN_MEMBER_ID
    new_group().check_commit("", None, -1, 2.0)


@in_loop
async def test_the_last_member_to_leave_empties_the_group() -> None:
    group, (first, second) = stable_group(None, "b")
    group.leave(first, None, 2.0)
    assert group.state == PREPARING
    group.leave("", "b", 2.0)
    assert (group.state, group.is_idle) == (EMPTY, True)
    assert refusal(lambda: group.leave(second, "b", 2.0)) == Code.UNKNOWN_MEMBER_ID


@in_loop
async def test_a_member_without_a_protocol_in_common_is_refused() -> None:
    group, _ = stable_group(None)
    odd = request(protocols=("odd",))
    assert refusal(lambda: group.join(odd, 2.0)) == Code.INCONSISTENT_GROUP_PROTOCOL
    other = replace(request(), protocol_type="connect")
    assert refusal(lambda: group.join(other, 2.0)) == Code.INCONSISTENT_GROUP_PROTOCOL
    assert (
        refusal(lambda: group.join(replace(request(), protocols=()), 2.0)) == Code.INCONSISTENT_GROUP_PROTOCOL
    )


@in_loop
async def test_the_protocol_that_most_members_prefer_is_chosen() -> None:
    group = new_group(delay_s=1.0)
    joins = [group.join(request(protocols=names), 0.0) for names in (("a", "b"), ("b", "a"), ("b", "a", "c"))]
    group.try_complete(1.0)
    assert {result_of(join).protocol for join in joins} == {"b"}


def opened(folder: Path) -> closing[Coordinator]:
    return closing(Coordinator(folder, initial_delay_s=0.0))


@in_loop
async def test_a_stable_group_and_offsets_are_there_after_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as coordinator:
        group = coordinator.joinable("group")
        joined = result_of(group.join(request(instance="a"), 0.0))
        group.sync(group.known(joined.member_id, "a"), 1, {joined.member_id: b"\0\xff"}, 0.0)
        coordinator.commit([("group", "topic", 0, 5, "note"), ("group", "topic", 1, 6, "")])
        coordinator.delete_offsets("group", [("topic", 1)])
    with opened(tmp_path) as again:
        member = again.with_members("group").known(joined.member_id, "a")
        assert (member.assignment, again.with_members("group").state) == (b"\0\xff", STABLE)
        assert again.offsets("group") == {("topic", 0): (5, "note")}
        assert again.is_subscribed("group", "topic")
        again.with_members("group").leave("", "a", 0.0)
    with opened(tmp_path) as last:
        assert last.get("group") is None
        last.delete_group("group")
    with opened(tmp_path) as empty:
        assert list(empty.group_ids()) == []


@pytest.mark.parametrize("metadata", [b"", b"\0\1", b"\0\1\0\0\0\5abc", b"\xff" * 20])
def test_metadata_that_is_no_subscription_has_no_topics(metadata: bytes) -> None:
    assert subscribed_topics(metadata) is None


def test_topics_are_read_from_a_subscription() -> None:
    assert subscribed_topics(subscription("a", "topic-b")) == {"a", "topic-b"}
