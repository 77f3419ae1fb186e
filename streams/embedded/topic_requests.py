"""Metadata and the administration of topics and their configs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from streams.embedded import topic_configs
from streams.embedded.batches import RefusedError
from streams.embedded.codes import Code
from streams.embedded.coordinator import Coordinator
from streams.embedded.protocol import Fields
from streams.embedded.topics import Topic, Topics
from streams.embedded.wire import Caller

NODE_ID = 1
_TOPIC_RESOURCE, _BROKER_RESOURCE = 2, 4
_SOURCE_TOPIC, _SOURCE_STATIC_BROKER, _SOURCE_DEFAULT = 1, 4, 5


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

        return {"name": wanted.name} | _outcome(create)

    def delete_topics(self, request: Any, _caller: Caller) -> Fields:
        """DeleteTopics: the records and the offsets committed for them go too."""

        def delete(name: str) -> None:
            self._topics.delete(name)
            self._coordinator.forget_topic(name)

        return {
            "responses": [{"name": name} | _outcome(partial(delete, name)) for name in request.topic_names]
        }

    def create_partitions(self, request: Any, _caller: Caller) -> Fields:
        """CreatePartitions."""

        def grow(name: str, count: int) -> None:
            self._topics.check_partitions(name, count)
            if not request.validate_only:
                self._topics.grow(name, count)

        return {
            "results": [
                {"name": topic.name} | _outcome(partial(grow, topic.name, topic.count))
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

    def describe_configs(self, request: Any, _caller: Caller) -> Fields:
        """DescribeConfigs of topics and of the broker."""
        return {"results": [self._describe(resource) for resource in request.resources]}

    def _describe(self, resource: Any) -> Fields:
        answer: Fields = {
            "resource_type": resource.resource_type,
            "resource_name": resource.resource_name,
            "error_message": None,
        }
        try:
            rows = self._config_rows(resource)
        except RefusedError as refused:
            return answer | {"error_code": refused.code, "error_message": refused.message}
        wanted = resource.configuration_keys
        return answer | {"configs": [row for row in rows if wanted is None or row["name"] in wanted]}

    def _config_rows(self, resource: Any) -> list[Fields]:
        if resource.resource_type == _BROKER_RESOURCE:
            configs = self._broker_configs().items()
            return [
                _config_row(name, value, _SOURCE_STATIC_BROKER, read_only=True) for name, value in configs
            ]
        if resource.resource_type != _TOPIC_RESOURCE:
            raise RefusedError(Code.INVALID_REQUEST, f"resource type {resource.resource_type}")
        topic = self._topics.known(resource.resource_name)
        return [
            _config_row(name, topic.config(name), _SOURCE_TOPIC if name in topic.configs else _SOURCE_DEFAULT)
            for name in topic_configs.DEFAULTS
        ]

    def _broker_configs(self) -> Mapping[str, str]:
        return {
            "auto.create.topics.enable": str(self._auto_create).lower(),
            "broker.id": str(NODE_ID),
            "default.replication.factor": "1",
            "log.retention.ms": topic_configs.DEFAULTS["retention.ms"],
            "message.max.bytes": topic_configs.DEFAULTS["max.message.bytes"],
            "min.insync.replicas": "1",
            "num.partitions": str(self._default_partitions),
        }

    def alter_configs(self, request: Any, _caller: Caller) -> Fields:
        """AlterConfigs: what is given replaces all overrides."""

        def alter(resource: Any) -> None:
            topic = self._alterable(resource)
            configs = {config.name: config.value for config in resource.configs}
            for name, value in configs.items():
                topic_configs.check(name, value)
            if not request.validate_only:
                self._topics.set_configs(topic.name, configs)

        return _alter_each(request, alter)

    def alter_configs_incrementally(self, request: Any, _caller: Caller) -> Fields:
        """IncrementalAlterConfigs: set, delete, append to or subtract from single overrides."""

        def alter(resource: Any) -> None:
            topic = self._alterable(resource)
            configs = topic.configs
            for config in resource.configs:
                configs = topic_configs.altered(configs, config.name, config.config_operation, config.value)
            if not request.validate_only:
                self._topics.set_configs(topic.name, configs)

        return _alter_each(request, alter)

    def _alterable(self, resource: Any) -> Topic:
        if resource.resource_type != _TOPIC_RESOURCE:
            raise RefusedError(Code.INVALID_REQUEST, "only the configs of topics can be altered")
        return self._topics.known(resource.resource_name)


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


def _config_row(name: str, value: str, source: int, *, read_only: bool = False) -> Fields:
    return {
        "name": name,
        "value": value,
        "read_only": read_only,
        "config_source": source,
        "is_default": source != _SOURCE_TOPIC,
        "synonyms": [],
    }


def _alter_each(request: Any, alter: Callable[[Any], None]) -> Fields:
    return {
        "responses": [
            {"resource_type": resource.resource_type, "resource_name": resource.resource_name}
            | _outcome(partial(alter, resource))
            for resource in request.resources
        ]
    }


def _outcome(action: Callable[[], None]) -> Fields:
    """Error code and message of an action, for the response."""
    try:
        action()
    except RefusedError as refused:
        return {"error_code": refused.code, "error_message": refused.message}
    return {"error_code": Code.NONE, "error_message": None}
