"""Members of one consumer group and what each waits for."""

from __future__ import annotations

import asyncio
import base64
import struct
from dataclasses import dataclass, field
from typing import Any

from streams.embedded.codes import Code


@dataclass(frozen=True, slots=True)
class JoinResult:
    """The answer to JoinGroup; `members` (id, instance id, metadata) is filled for the leader only."""

    code: Code
    generation: int = -1
    protocol: str = ""
    leader: str = ""
    member_id: str = ""
    members: tuple[tuple[str, str | None, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The answer to SyncGroup."""

    code: Code
    assignment: bytes = b""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """What a consumer says of itself when it joins; `protocols` in order of preference."""

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    session_timeout_s: float
    rebalance_timeout_s: float
    protocol_type: str
    protocols: tuple[tuple[str, bytes], ...]
    must_know_id: bool  # JoinGroup 4 and newer: a new dynamic member first gets an id, then joins with it


@dataclass(slots=True)
class Member:
    """One member; `joining` and `syncing` are the answers it waits for, None when it waits for none."""

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    session_timeout_s: float
    rebalance_timeout_s: float
    protocols: tuple[tuple[str, bytes], ...]
    expires_s: float
    assignment: bytes = b""
    joining: asyncio.Future[JoinResult] | None = field(default=None, repr=False)
    syncing: asyncio.Future[SyncResult] | None = field(default=None, repr=False)

    def metadata(self, protocol: str) -> bytes:
        """What the member said under this protocol."""
        return dict(self.protocols).get(protocol, b"")

    def refresh(self, now_s: float) -> None:
        """It has shown a sign of life."""
        self.expires_s = now_s + self.session_timeout_s

    def is_overdue(self, now_s: float) -> bool:
        """Whether its session has ended: it neither waits for us nor has it shown a sign of life."""
        return self.joining is None and self.syncing is None and now_s > self.expires_s

    def answer_join(self, result: JoinResult) -> None:
        """Answer the join it waits for, if it does."""
        waiting, self.joining = self.joining, None
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    def answer_sync(self, result: SyncResult) -> None:
        """Answer the sync it waits for, if it does."""
        waiting, self.syncing = self.syncing, None
        if waiting is not None and not waiting.done():
            waiting.set_result(result)

    def to_json(self) -> dict[str, Any]:
        """For the journal: a stable group's members live on through a restart of the broker."""
        return {
            "member_id": self.member_id,
            "instance_id": self.instance_id,
            "client_id": self.client_id,
            "host": self.host,
            "session_timeout_s": self.session_timeout_s,
            "rebalance_timeout_s": self.rebalance_timeout_s,
            "protocols": [[name, base64.b64encode(data).decode()] for name, data in self.protocols],
            "assignment": base64.b64encode(self.assignment).decode(),
        }


def member_from_json(saved: dict[str, Any], now_s: float) -> Member:
    """What `to_json` gave; its session starts anew."""
    protocols = tuple((name, base64.b64decode(data)) for name, data in saved["protocols"])
    assignment = base64.b64decode(saved["assignment"])
    expires_s = now_s + saved["session_timeout_s"]
    return Member(
        **(saved | {"protocols": protocols, "assignment": assignment, "expires_s": expires_s}),
    )


def subscribed_topics(metadata: bytes) -> frozenset[str] | None:
    """The topics in a consumer's metadata (ConsumerProtocolSubscription), None if it holds something else."""
    try:
        _, count = struct.unpack_from(">hi", metadata)
        at, topics = 6, []
        if count < 0:
            return None
        for _ in range(count):
            (length,) = struct.unpack_from(">h", metadata, at)
            if not 0 <= length <= len(metadata) - at - 2:
                return None
            topics.append(metadata[at + 2 : at + 2 + length].decode())
            at += 2 + length
    except (struct.error, UnicodeDecodeError):
        return None
    return frozenset(topics)
