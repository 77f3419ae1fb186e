from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.produce import ProduceRequest

from streams.errors import BrokerError
from streams.membership import Membership, fence, hear

SESSION_S = 6.0


def confirmed(at_s: float) -> Membership:
    membership = Membership(SESSION_S)
    membership.confirm(at_s)
    return membership


def test_a_member_is_sure_for_a_session_after_the_question_that_was_answered() -> None:
    membership = confirmed(100.0)
    assert membership.is_sure(105.9)
    assert not membership.is_sure(106.0)


def test_who_was_never_in_a_group_has_nothing_that_could_be_anothers() -> None:
    membership = Membership(SESSION_S)
    membership.rebalance(10.0)
    assert membership.is_sure(10.0)
    assert not membership.is_lost


def test_a_rebalance_after_a_silence_loses_what_is_in_hand_until_the_group_confirms_anew() -> None:
    membership = confirmed(100.0)
    membership.rebalance(105.0)
    assert not membership.is_lost
    membership.rebalance(107.0)
    assert membership.is_lost
    membership.confirm(108.0)
    assert not membership.is_lost


class Client:
    """Stands for a Kafka client: answers every request at once."""

    def __init__(self, error_code: int = 0) -> None:
        self.sent: list[Any] = []
        self.error_code = error_code

    async def send(self, _node: Any, request: Any, **_: Any) -> Any:
        self.sent.append(request)
        return SimpleNamespace(error_code=self.error_code)


def write() -> Any:
    return ProduceRequest(transactional_id=None, required_acks=-1, timeout=1, topics=[])


@pytest.mark.parametrize(("error_code", "is_sure"), [(0, True), (27, True), (25, False), (22, False)])
def test_only_an_answer_that_knows_the_member_confirms_it(error_code: int, is_sure: bool) -> None:
    membership, client = confirmed(time.monotonic() - 2 * SESSION_S), Client(error_code)
    hear(client, membership)
    asyncio.run(client.send(1, HeartbeatRequest("group", 1, "member")))
    assert membership.is_sure(time.monotonic()) is is_sure


def test_a_write_waits_while_the_membership_is_in_doubt_and_goes_out_when_it_is_confirmed() -> None:
    membership, client = confirmed(time.monotonic() - 2 * SESSION_S), Client()
    fence(client, membership)

    async def run() -> int:
        writing = asyncio.create_task(client.send(1, write()))
        await asyncio.sleep(0.2)
        waiting = len(client.sent)
        membership.confirm(time.monotonic())
        await writing
        return waiting

    assert asyncio.run(run()) == 0
    assert len(client.sent) == 1


def test_a_write_fails_when_a_rebalance_comes_instead() -> None:
    membership, client = confirmed(time.monotonic() - 2 * SESSION_S), Client()
    fence(client, membership)
    membership.rebalance(time.monotonic())
    with pytest.raises(BrokerError, match="silent"):
        asyncio.run(client.send(1, write()))
    assert client.sent == []
