"""Acknowledging in order what is finished out of order.

Faust commits the newest run of consecutive acknowledged offsets it sees, even when an older offset
of the partition is still at work (measured with faust-streaming 0.15.3: the first commit of a group, and an
offset directly after the committed one). So an event is acknowledged only when all before it are done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Partition = tuple[str, int]


@dataclass(slots=True)
class Ticket:
    """One event at work. `acknowledge` is called once, when it and all before it are done.

    size: bytes that it holds on to until then.
    """

    partition: Partition
    offset: int
    acknowledge: Callable[[], object]
    size: int = 0
    done: bool = False


@dataclass(slots=True)
class InOrderAcks:
    """The events at work, per partition in the order they came."""

    _queues: dict[Partition, deque[Ticket]] = field(default_factory=dict)
    size: int = 0  # of all that is not acknowledged

    def begin(
        self, partition: Partition, offset: int, acknowledge: Callable[[], object], size: int = 0
    ) -> Ticket:
        """An event came; give the ticket to `finish` when its work is durable."""
        ticket = Ticket(partition, offset, acknowledge, size)
        self._queues.setdefault(partition, deque()).append(ticket)
        self.size += size
        return ticket

    def finish(self, ticket: Ticket) -> None:
        """The event's work is durable: acknowledge it and what waited for it.

        A ticket of a partition that was since revoked is ignored: its new owner reads the event again.
        """
        ticket.done = True
        queue = self._queues.get(ticket.partition)
        while queue and queue[0].done:
            first = queue.popleft()
            self.size -= first.size
            first.acknowledge()

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Forget all events of these partitions."""
        for partition in partitions:
            self.size -= sum(ticket.size for ticket in self._queues.pop(partition, ()))

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())
