"""Topics of the broker: which there are, how many partitions, which configs; and the producer-id counter.

The journal is written first, files follow. What a death in between leaves behind (a folder without a topic, a
topic without folders) is put right when the data folder is opened again.
"""

from __future__ import annotations

import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from streams.embedded import topic_configs
from streams.embedded.codes import Code
from streams.embedded.journal import Journal
from streams.embedded.log import LogRules, PartitionLog
from streams.embedded.refusals import RefusedError

MAX_PARTITIONS = 1000  # of one topic; each costs an open file
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_PRODUCER_IDS_AT_ONCE = 1000  # one journal line for so many producers


def now_ms() -> int:
    """The wall clock."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Topic:
    """A topic, its overriding configs and its partitions' logs."""

    name: str
    configs: dict[str, str]
    partitions: list[PartitionLog]
    rules: LogRules

    def config(self, name: str) -> str:
        """The override, or Kafka's default."""
        return topic_configs.value_of(self.configs, name)


class Topics:
    """All topics in a data folder; every change is durable when its method returns."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "topics"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(data_dir / "cluster.journal")
        self._topics: dict[str, Topic] = {}
        self._next_producer_id = self._producer_ids_until = self._journal.get(("producer_ids",)) or 0
        if self._journal.get(("cluster_id",)) is None:
            self._journal.put({("cluster_id",): uuid.uuid4().hex})
        self.cluster_id: str = self._journal.get(("cluster_id",))
        self._open_all()

    def _open_all(self) -> None:
        wanted = {str(key[1]): value for key, value in self._journal.items() if key[0] == "topic"}
        folders = {self._path(name, i).name for name, (count, _) in wanted.items() for i in range(count)}
        for folder in self._folder.iterdir():
            if folder.name not in folders:
                shutil.rmtree(folder)
        for name, (count, configs) in wanted.items():
            self._open(name, count, configs)

    def _open(self, name: str, count: int, configs: dict[str, str]) -> None:
        logs = [PartitionLog(self._path(name, i), now_ms()) for i in range(count)]
        self._topics[name] = Topic(name, configs, logs, topic_configs.rules_of(configs))

    def _path(self, name: str, partition: int) -> Path:
        return self._folder / f"{name}-{partition}"

    def _save(self, name: str, count: int, configs: Mapping[str, str]) -> None:
        self._journal.put({("topic", name): [count, configs]})

    def __iter__(self) -> Iterator[Topic]:
        return iter(list(self._topics.values()))

    def get(self, name: str) -> Topic | None:
        """The topic, if there is one."""
        return self._topics.get(name)

    def known(self, name: str) -> Topic:
        """The topic; raises `RefusedError`."""
        topic = self._topics.get(name)
        if topic is None:
            raise RefusedError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"no topic {name!r}")
        return topic

    def log(self, name: str, partition: int) -> PartitionLog:
        """The log of a partition; raises `RefusedError`."""
        topic = self.known(name)
        if not 0 <= partition < len(topic.partitions):
            raise RefusedError(Code.UNKNOWN_TOPIC_OR_PARTITION, f"no partition {partition} of {name!r}")
        return topic.partitions[partition]

    def check_new(self, name: str, partitions: int, configs: Mapping[str, str]) -> None:
        """Raise `RefusedError` unless such a topic could be created."""
        if name in (".", "..") or not _NAME.fullmatch(name):
            raise RefusedError(Code.INVALID_TOPIC, f"invalid topic name {name[:250]!r}")
        if name in self._topics:
            raise RefusedError(Code.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
        if not 0 < partitions <= MAX_PARTITIONS:
            raise RefusedError(Code.INVALID_PARTITIONS, f"partitions must be 1 to {MAX_PARTITIONS}")
        for key, value in configs.items():
            topic_configs.check(key, value)

    def create(self, name: str, partitions: int, configs: Mapping[str, str]) -> Topic:
        """Create a topic; raises `RefusedError`."""
        self.check_new(name, partitions, configs)
        self._save(name, partitions, configs)
        self._open(name, partitions, dict(configs))
        return self._topics[name]

    def delete(self, name: str) -> None:
        """Remove a topic and its records; raises `RefusedError`."""
        topic = self.known(name)
        self._journal.put({("topic", name): None})
        del self._topics[name]
        for log in topic.partitions:
            log.delete()

    def check_partitions(self, name: str, count: int) -> Topic:
        """The topic, if it could grow to `count` partitions; raises `RefusedError`."""
        topic = self.known(name)
        if not len(topic.partitions) < count <= MAX_PARTITIONS:
            message = f"The topic has {len(topic.partitions)} partitions; {count} is not more, or too many."
            raise RefusedError(Code.INVALID_PARTITIONS, message)
        return topic

    def grow(self, name: str, count: int) -> None:
        """Add partitions up to `count`; raises `RefusedError`."""
        topic = self.check_partitions(name, count)
        self._save(name, count, topic.configs)
        for partition in range(len(topic.partitions), count):
            topic.partitions.append(PartitionLog(self._path(name, partition), now_ms()))

    def set_configs(self, name: str, configs: dict[str, str]) -> None:
        """Replace the overriding configs, checked before; raises `RefusedError` for an unknown topic."""
        topic = self.known(name)
        self._save(name, len(topic.partitions), configs)
        topic.configs, topic.rules = configs, topic_configs.rules_of(configs)

    def new_producer_id(self) -> int:
        """A producer id that was never given before, also not before a crash."""
        if self._next_producer_id >= self._producer_ids_until:
            self._producer_ids_until = self._next_producer_id + _PRODUCER_IDS_AT_ONCE
            self._journal.put({("producer_ids",): self._producer_ids_until})
        self._next_producer_id += 1
        return self._next_producer_id - 1

    def close(self) -> None:
        """Close all files."""
        for topic in self._topics.values():
            for log in topic.partitions:
                log.close()
        self._journal.close()
