"""DescribeConfigs, AlterConfigs and IncrementalAlterConfigs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from streams.embedded import topic_configs
from streams.embedded.codes import Code
from streams.embedded.protocol import Fields
from streams.embedded.refusals import RefusedError, outcome
from streams.embedded.topics import Topic, Topics
from streams.embedded.wire import Caller

_TOPIC_RESOURCE, _BROKER_RESOURCE = 2, 4
_SOURCE_TOPIC, _SOURCE_STATIC_BROKER, _SOURCE_DEFAULT = 1, 4, 5


class ConfigRequests:
    """Handlers; each takes a decoded request and gives the response's fields."""

    def __init__(self, topics: Topics, broker_configs: Mapping[str, str]) -> None:
        self._topics = topics
        self._broker_configs = broker_configs

    def describe(self, request: Any, _caller: Caller) -> Fields:
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
            configs = self._broker_configs.items()
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

    def alter(self, request: Any, _caller: Caller) -> Fields:
        """AlterConfigs: what is given replaces all overrides."""

        def alter(resource: Any) -> None:
            topic = self._alterable(resource)
            configs = {config.name: config.value for config in resource.configs}
            for name, value in configs.items():
                topic_configs.check(name, value)
            if not request.validate_only:
                self._topics.set_configs(topic.name, configs)

        return _alter_each(request, alter)

    def alter_incrementally(self, request: Any, _caller: Caller) -> Fields:
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
            | outcome(partial(alter, resource))
            for resource in request.resources
        ]
    }
