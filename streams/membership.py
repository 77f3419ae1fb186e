"""A worker that was silent beyond its session writes nothing of what it still has in hand.

A process that is frozen (SIGSTOP, a paused machine, minutes of swapping) is taken for dead by its group, and
its partitions are given to others. When it wakes, it does not know that yet, and its states would be appended
behind newer ones of the new owner: Kafka fences no plain producer. So every write asks first when the
group last confirmed this member. While that is longer ago than the session timeout, writes wait for the next
confirmation; if a rebalance comes instead, they fail, and the application ends without a commit.

What is left: a process that is frozen between this question and the socket, a few lines further on.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.protocol.group import HeartbeatRequest, SyncGroupRequest
from aiokafka.protocol.produce import ProduceRequest

from streams.errors import BrokerError

# Answers that a member gets: all is well, or the group is about to share its partitions out anew.
CONFIRMING: Final = (0, 27)
LOOK_EVERY_S: Final = 0.05


@dataclass(slots=True)
class Membership:
    """When the group last confirmed this member. Times are of a monotonic clock, in seconds."""

    session_s: float
    is_lost: bool = False
    _confirmed_s: float | None = None

    def confirm(self, asked_s: float) -> None:
        """The group answered, to a question of `asked_s`, that this is a member of it."""
        self._confirmed_s, self.is_lost = asked_s, False

    def is_sure(self, now_s: float) -> bool:
        """Whether nobody else can have the partitions: nobody is waited for longer than a session."""
        return self._confirmed_s is None or now_s < self._confirmed_s + self.session_s

    def rebalance(self, now_s: float) -> None:
        """The partitions are shared out anew; after a silence they may have been others' already."""
        self.is_lost = not self.is_sure(now_s)

    def error(self) -> BrokerError:
        """Why nothing more is written."""
        return BrokerError(
            f"This worker was silent for more than its session of {self.session_s:.0f} s, and its partitions "
            "may be another's. What it had in hand was dropped, not written; nothing was committed after it.",
            action="Restart the worker; it reads on from the last commit. Was the process or machine frozen?",
        )


def hear(client: Any, membership: Membership) -> None:
    """Let `membership` know what the group answers to the client of a consumer."""
    send = client.send

    async def heard(node_id: Any, request: Any, **options: Any) -> Any:
        asked_s = time.monotonic()
        response = await send(node_id, request, **options)
        if isinstance(request, HeartbeatRequest | SyncGroupRequest) and response.error_code in CONFIRMING:
            membership.confirm(asked_s)
        return response

    client.send = heard


def fence(client: Any, membership: Membership) -> None:
    """Let the client of a producer write only while `membership` is sure."""
    send = client.send

    async def fenced(node_id: Any, request: Any, **options: Any) -> Any:
        if isinstance(request, ProduceRequest):
            while membership.is_lost or not membership.is_sure(time.monotonic()):
                if membership.is_lost:
                    raise membership.error()
                await asyncio.sleep(LOOK_EVERY_S)
        return await send(node_id, request, **options)

    client.send = fenced
