"""All consumer groups and their committed offsets, in one journal.

Offsets live until they are deleted or their group is; Kafka's expiry after seven days is left out, since
nobody runs this broker for a week. A stable group is kept too, so its members work on through a restart of
the broker.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from streams.embedded.codes import Code
from streams.embedded.groups import EMPTY, STABLE, Group
from streams.embedded.journal import Journal
from streams.embedded.members import member_from_json, subscribed_topics
from streams.embedded.refusals import RefusedError
from streams.embedded.transactions import OffsetRow

logger = logging.getLogger(__name__)

Partition = tuple[str, int]


class Committed(NamedTuple):
    """A committed offset."""

    offset: int
    metadata: str


class Coordinator:
    """Groups by id."""

    def __init__(self, data_dir: Path, *, initial_delay_s: float) -> None:
        self.initial_delay_s = initial_delay_s
        self._journal = Journal(data_dir / "groups.journal")
        self._groups: dict[str, Group] = {}
        self._offsets: dict[str, dict[Partition, Committed]] = {}
        for key, value in self._journal.items():
            if key[0] == "group":
                self._restore(str(key[1]), value)
            else:
                _, group_id, topic, partition = key
                self._offsets.setdefault(str(group_id), {})[str(topic), int(partition)] = Committed(*value)

    def _restore(self, group_id: str, saved: dict[str, object]) -> None:
        group = self.joinable(group_id)
        group.state = STABLE
        for name in ("generation", "protocol_type", "protocol", "leader"):
            setattr(group, name, saved[name])
        members = saved["members"]
        assert isinstance(members, list)  # noqa: S101  # our own journal
        for row in members:
            member = member_from_json(row, time.monotonic())
            group.members[member.member_id] = member
            if member.instance_id is not None:
                group.static_ids[member.instance_id] = member.member_id

    def _save(self, group: Group) -> None:
        saved = None
        if group.state != EMPTY:
            members = [member.to_json() for member in group.members.values()]
            saved = {"members": members} | {
                name: getattr(group, name) for name in ("generation", "protocol_type", "protocol", "leader")
            }
        self._journal.put({("group", group.group_id): saved})

    def get(self, group_id: str) -> Group | None:
        """The group, if it has had members since the broker started."""
        return self._groups.get(group_id)

    def joinable(self, group_id: str) -> Group:
        """The group, new if need be; raises `RefusedError` for an empty id."""
        if not group_id:
            raise RefusedError(Code.INVALID_GROUP_ID, "a group needs an id")
        group = self._groups.get(group_id)
        if group is None:
            group = Group(group_id, initial_delay_s=self.initial_delay_s, on_change=self._save)
            self._groups[group_id] = group
        return group

    def with_members(self, group_id: str) -> Group:
        """The group that a request from a member means; raises `RefusedError`."""
        group = self._groups.get(group_id)
        if group is None:
            raise RefusedError(Code.UNKNOWN_MEMBER_ID, f"no group {group_id!r}")
        return group

    def group_ids(self) -> Iterator[str]:
        """Every group with members or offsets."""
        return iter(sorted({*self._groups, *self._offsets}))

    def commit(self, rows: Iterable[OffsetRow]) -> None:
        """Keep committed offsets; durable when it returns."""
        rows = list(rows)
        self._journal.put(
            {
                ("offset", group_id, topic, partition): (offset, metadata)
                for group_id, topic, partition, offset, metadata in rows
            }
        )
        for group_id, topic, partition, offset, metadata in rows:
            self._offsets.setdefault(group_id, {})[topic, partition] = Committed(offset, metadata)

    def offsets(self, group_id: str) -> dict[Partition, Committed]:
        """All committed offsets of a group."""
        return self._offsets.get(group_id, {})

    def delete_offsets(self, group_id: str, partitions: Iterable[Partition]) -> None:
        """Forget committed offsets."""
        offsets = self._offsets.get(group_id, {})
        gone = [partition for partition in partitions if offsets.pop(partition, None) is not None]
        self._journal.put({("offset", group_id, topic, index): None for topic, index in gone})
        if not offsets:
            self._offsets.pop(group_id, None)

    def delete_group(self, group_id: str) -> None:
        """Forget a group without members and its offsets; raises `RefusedError`."""
        group = self._groups.get(group_id)
        if group is None and group_id not in self._offsets:
            raise RefusedError(Code.GROUP_ID_NOT_FOUND, f"no group {group_id!r}")
        if group is not None and not group.is_idle:
            raise RefusedError(Code.NON_EMPTY_GROUP, f"{group_id!r} has members")
        self.delete_offsets(group_id, list(self.offsets(group_id)))
        self._groups.pop(group_id, None)

    def forget_topic(self, topic: str) -> None:
        """A deleted topic's offsets must not wait for a new topic of the same name."""
        for group_id, offsets in list(self._offsets.items()):
            self.delete_offsets(group_id, [partition for partition in offsets if partition[0] == topic])

    def is_subscribed(self, group_id: str, topic: str) -> bool:
        """Whether a member of the group reads the topic."""
        group = self._groups.get(group_id)
        members = group.members.values() if group is not None else ()
        return any(
            topic in (subscribed_topics(data) or ()) for member in members for _, data in member.protocols
        )

    def sweep(self) -> None:
        """Remove members whose session has ended, and groups that nothing is known of any more."""
        now_s = time.monotonic()
        for group in list(self._groups.values()):
            for member_id in group.expire(now_s):
                logger.info("group %s: the session of %s has ended", group.group_id, member_id)
            if group.is_idle and group.group_id not in self._offsets:
                del self._groups[group.group_id]

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()
