"""Metadata and the administration of topics."""

from __future__ import annotations

from functools import partial
from typing import Any

from streams.embedded.codes import Code
from streams.embedded.coordinator import Coordinator
from streams.embedded.protocol import Fields
from streams.embedded.refusals import RefusedError, outcome
from streams.embedded.topics import Topic, Topics
from streams.embedded.wire import Caller

NODE_ID = 1


class TopicRequests:
    """Handlers; each takes a decoded request and gives the response's fields."""

    def __init__(
        self,
        topics: Topics,
        coordinator: Coordinator,
        address: tuple[str, int],
        *,
        default_partitions: int,
        auto_create: bool,
    ) -> None:
        self._topics = topics
        self._coordinator = coordinator
        self._host, self._port = address
        self._default_partitions = default_partitions
        self._auto_create = auto_create

    def metadata(self, request: Any, caller: Caller) -> Fields:
        """Metadata: topics asked for are created if both the broker and the client want that."""
        if request.topics is None or (caller.version == 0 and not request.topics):
            described = [_described(topic) for topic in self._topics]
        else:
            may_create = self._auto_create and (caller.version < 4 or request.allow_auto_topic_creation)
            described = [self._asked(topic.name, may_create) for topic in request.topics]
        return {
            "brokers": [{"node_id": NODE_ID, "host": self._host, "port": self._port}],
            "cluster_id": self._topics.cluster_id,
            "controller_id": NODE_ID,
            "topics": described,
        }

    def _asked(self, name: str, may_create: bool) -> Fields:
        try:
            topic = self._topics.get(name)
            if topic is None and may_create:
                topic = self._topics.create(name, self._default_partitions, {})
            return _described(topic or self._topics.known(name))
        except RefusedError as refused:
            return {"error_code": refused.code, "name": name, "partitions": []}

    def find_coordinator(self, _request: Any, _caller: Caller) -> Fields:
        """FindCoordinator: there is one broker."""
        return {"node_id": NODE_ID, "host": self._host, "port": self._port}

    def create_topics(self, request: Any, _caller: Caller) -> Fields:
        """CreateTopics."""
        return {"topics": [self._create(topic, request.validate_only) for topic in request.topics]}

    def _create(self, wanted: Any, validate_only: bool) -> Fields:
        def create() -> None:
            partitions = _partitions_of(wanted, self._default_partitions)
            configs = {config.name: config.value for config in wanted.configs}
            self._topics.check_new(wanted.name, partitions, configs)
            if not validate_only:
                self._topics.create(wanted.name, partitions, configs)

        return {"name": wanted.name} | outcome(create)

    def delete_topics(self, request: Any, _caller: Caller) -> Fields:
        """DeleteTopics: the records and the offsets committed for them go too."""

        def delete(name: str) -> None:
            self._topics.delete(name)
            self._coordinator.forget_topic(name)

        return {
            "responses": [{"name": name} | outcome(partial(delete, name)) for name in request.topic_names]
        }

    def create_partitions(self, request: Any, _caller: Caller) -> Fields:
        """CreatePartitions."""

        def grow(name: str, count: int) -> None:
            self._topics.check_partitions(name, count)
            if not request.validate_only:
                self._topics.grow(name, count)

        return {
            "results": [
                {"name": topic.name} | outcome(partial(grow, topic.name, topic.count))
                for topic in request.topics
            ]
        }

    def delete_records(self, request: Any, _caller: Caller) -> Fields:
        """DeleteRecords: everything before an offset; -1 is everything there is."""
        return {
            "topics": [
                {
                    "name": topic.name,
                    "partitions": [self._delete_before(topic.name, item) for item in topic.partitions],
                }
                for topic in request.topics
            ]
        }

    def _delete_before(self, name: str, item: Any) -> Fields:
        answer: Fields = {"partition_index": item.partition_index, "low_watermark": -1}
        try:
            log = self._topics.log(name, item.partition_index)
            offset = log.end_offset if item.offset == -1 else item.offset
            if not 0 <= offset <= log.end_offset:
                raise RefusedError(Code.OFFSET_OUT_OF_RANGE, f"{offset} is beyond {log.end_offset}")
            log.advance_start(offset)
        except RefusedError as refused:
            return answer | {"error_code": refused.code}
        return answer | {"low_watermark": log.start_offset}


def _described(topic: Topic) -> Fields:
    partitions = [
        {
            "partition_index": index,
            "leader_id": NODE_ID,
            "leader_epoch": 0,
            "replica_nodes": [NODE_ID],
            "isr_nodes": [NODE_ID],
        }
        for index in range(len(topic.partitions))
    ]
    return {"name": topic.name, "partitions": partitions}


def _partitions_of(wanted: Any, default: int) -> int:
    """The number of partitions asked for; raises `RefusedError` if they need a second broker."""
    if wanted.assignments:
        if any(list(assignment.broker_ids) != [NODE_ID] for assignment in wanted.assignments):
            raise RefusedError(Code.INVALID_REPLICATION_FACTOR, f"the only broker is {NODE_ID}")
        return len(wanted.assignments)
    if wanted.replication_factor not in (-1, 1):
        message = f"Replication factor: {wanted.replication_factor} larger than available brokers: 1."
        raise RefusedError(Code.INVALID_REPLICATION_FACTOR, message)
    return default if wanted.num_partitions == -1 else int(wanted.num_partitions)
