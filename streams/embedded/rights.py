"""What a user may do, as far as our clients' rights need it: the kinds of Kafka's ACLs that a worker uses.

Checked are READ and WRITE of topics, READ of groups, and CREATE. A name that ends with `*` is a prefix. Not
checked is DESCRIBE: whoever is logged in sees all topics, as in no real cluster. A request of which one
topic is refused is refused as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from streams.embedded.codes import Code
from streams.embedded.protocol import Fields


class Rights(BaseModel):
    """Names, or prefixes with a `*`, by what may be done with them. create: also delete."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    create: tuple[str, ...] = ()


def refusal(rights: Rights | None, api_key: int, request: Any) -> Fields | None:
    """The answer to what the user may not do; None: it is allowed."""
    check = _CHECKS.get(api_key)
    return None if rights is None or check is None else check(rights, request)


def _allowed(names: tuple[str, ...], wanted: Iterable[str]) -> bool:
    return all(
        any(one.startswith(name[:-1]) if name.endswith("*") else one == name for name in names)
        for one in wanted
    )


def _produce(rights: Rights, request: Any) -> Fields | None:
    if _allowed(rights.write, (topic.name for topic in request.topic_data)):
        return None
    responses = [
        {
            "name": topic.name,
            "partition_responses": [
                {"index": part.index, "error_code": Code.TOPIC_AUTHORIZATION_FAILED, "base_offset": -1}
                for part in topic.partition_data
            ],
        }
        for topic in request.topic_data
    ]
    return {"responses": responses}


def _fetch(rights: Rights, request: Any) -> Fields | None:
    if _allowed(rights.read, (topic.topic for topic in request.topics)):
        return None
    refused = {"error_code": Code.TOPIC_AUTHORIZATION_FAILED, "high_watermark": -1, "records": b""}
    responses = [
        {
            "topic": topic.topic,
            "partitions": [{"partition_index": part.partition, **refused} for part in topic.partitions],
        }
        for topic in request.topics
    ]
    return {"error_code": Code.NONE, "responses": responses}


def _group(rights: Rights, request: Any) -> Fields | None:
    if _allowed(rights.group, (request.group_id,)):
        return None
    return {"error_code": Code.GROUP_AUTHORIZATION_FAILED, "member_id": ""}


def _coordinator(rights: Rights, request: Any) -> Fields | None:
    if getattr(request, "key_type", 0) or _allowed(rights.group, (request.key,)):
        return None
    return {"error_code": Code.GROUP_AUTHORIZATION_FAILED, "node_id": -1, "host": "", "port": -1}


def _commit(rights: Rights, request: Any) -> Fields | None:
    if _allowed(rights.group, (request.group_id,)):
        return None
    topics = [
        {
            "name": topic.name,
            "partitions": [
                {"partition_index": part.partition_index, "error_code": Code.GROUP_AUTHORIZATION_FAILED}
                for part in topic.partitions
            ],
        }
        for topic in request.topics
    ]
    return {"topics": topics}


def _create(rights: Rights, request: Any) -> Fields | None:
    names = [topic.name for topic in request.topics]
    return None if _allowed(rights.create, names) else {"topics": _by_name(names)}


def _delete(rights: Rights, request: Any) -> Fields | None:
    names = request.topic_names
    return None if _allowed(rights.create, names) else {"responses": _by_name(names)}


def _by_name(names: Iterable[str]) -> list[Fields]:
    return [{"name": name, "error_code": Code.TOPIC_AUTHORIZATION_FAILED} for name in names]


_CHECKS: Final[dict[int, Callable[[Rights, Any], Fields | None]]] = {
    0: _produce,
    1: _fetch,
    8: _commit,
    10: _coordinator,
    11: _group,
    19: _create,
    20: _delete,
}
