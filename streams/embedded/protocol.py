"""Requests in, responses out: the Kafka wire format, by kafka-python's message codecs.

kafka-python 3 generates its codecs from Kafka's own schema files, and they work both ways: a broker can
decode what a client encodes. We advertise the newest versions without flexible (tagged) fields, the level
of Kafka 2.4, which every client of today still speaks.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import kafka.protocol.admin
import kafka.protocol.consumer
import kafka.protocol.metadata
import kafka.protocol.producer
import kafka.protocol.sasl  # noqa: F401  # the five register their messages
from kafka.protocol.api_message import ApiMessage
from kafka.protocol.schemas.fields.codecs import EncodeBufferPool

Fields = dict[str, Any]
"""A response, or a part of one, by the schema's field names; fields left out take the schema's default."""


class Api(NamedTuple):
    """One request type with the versions we speak."""

    name: str
    min_version: int
    max_version: int


API_VERSIONS = 18
APIS: dict[int, Api] = {
    0: Api("Produce", 3, 8),
    1: Api("Fetch", 4, 11),
    2: Api("ListOffsets", 1, 5),
    3: Api("Metadata", 0, 8),
    8: Api("OffsetCommit", 2, 7),
    9: Api("OffsetFetch", 1, 5),
    10: Api("FindCoordinator", 0, 2),
    11: Api("JoinGroup", 0, 5),
    12: Api("Heartbeat", 0, 3),
    13: Api("LeaveGroup", 0, 3),
    14: Api("SyncGroup", 0, 3),
    15: Api("DescribeGroups", 0, 4),
    16: Api("ListGroups", 0, 2),
    17: Api("SaslHandshake", 0, 1),
    API_VERSIONS: Api("ApiVersions", 0, 3),
    19: Api("CreateTopics", 0, 4),
    20: Api("DeleteTopics", 0, 3),
    21: Api("DeleteRecords", 0, 1),
    22: Api("InitProducerId", 0, 1),
    24: Api("AddPartitionsToTxn", 0, 1),
    25: Api("AddOffsetsToTxn", 0, 1),
    26: Api("EndTxn", 0, 1),
    28: Api("TxnOffsetCommit", 0, 2),
    32: Api("DescribeConfigs", 0, 2),
    33: Api("AlterConfigs", 0, 1),
    36: Api("SaslAuthenticate", 0, 1),
    37: Api("CreatePartitions", 0, 1),
    42: Api("DeleteGroups", 0, 1),
    44: Api("IncrementalAlterConfigs", 0, 0),
    47: Api("OffsetDelete", 0, 0),
}


class NotKafkaError(Exception):
    """Bytes that are no request we can read; the connection they came on is closed."""


class RequestHeader(NamedTuple):
    """What precedes every request body; `body_at` is where the body starts in the frame."""

    api_key: int
    version: int
    correlation_id: int
    client_id: str
    body_at: int


def _message_classes() -> tuple[dict[int, Any], dict[int, Any]]:
    requests: dict[int, Any] = {}
    responses: dict[int, Any] = {}
    for message in ApiMessage.__subclasses__():
        (requests if message.is_request() else responses).setdefault(message.API_KEY, message)
    return requests, responses


_REQUESTS, _RESPONSES = _message_classes()
_HEADER = struct.Struct(">hhih")  # API key, version, correlation id, length of the client id
_FRAME_HEADER = struct.Struct(">ii")  # length of what follows, correlation id


def speaks(api_key: int, version: int) -> bool:
    """Whether we advertise this request in this version."""
    api = APIS.get(api_key)
    return api is not None and api.min_version <= version <= api.max_version


def read_header(frame: bytes) -> RequestHeader:
    """The header of a request frame (without its length prefix); raises `NotKafkaError`."""
    try:
        api_key, version, correlation_id, length = _HEADER.unpack_from(frame)
        end = _HEADER.size + max(length, 0)
        client_id = frame[_HEADER.size : end].decode()
    except (struct.error, UnicodeDecodeError) as error:
        raise NotKafkaError(f"no request header: {error}") from error
    if end > len(frame) or length < -1:
        raise NotKafkaError("the client id is longer than the request")
    if speaks(api_key, version) and _REQUESTS[api_key].flexible_version_q(version):
        end = _skip_tags(frame, end)
    return RequestHeader(api_key, version, correlation_id, client_id, end)


def _skip_tags(frame: bytes, at: int) -> int:
    count, at = _unsigned_varint(frame, at)
    for _ in range(count):
        _, at = _unsigned_varint(frame, at)
        size, at = _unsigned_varint(frame, at)
        at += size
    return at


def _unsigned_varint(frame: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(frame) and shift < 35:
        byte = frame[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise NotKafkaError("a tagged field does not end")


def decode_request(frame: bytes, header: RequestHeader) -> Any:
    """The request object; raises `NotKafkaError` unless the body fills the frame exactly."""
    decode = _decoder(header.api_key, header.version)
    try:
        request, end = decode(memoryview(frame), header.body_at)
    # The generated decoders have no error of their own: strangers' bytes raise anything.
    except Exception as error:
        raise NotKafkaError(f"{APIS[header.api_key].name}: {error!r}") from error
    if end != len(frame):
        raise NotKafkaError(f"{APIS[header.api_key].name}: {len(frame) - end} bytes too many")
    return request


@cache
def _decoder(api_key: int, version: int) -> Callable[[memoryview, int], tuple[Any, int]]:
    message = _REQUESTS[api_key]
    flexible = message.flexible_version_q(version)
    decode: Callable[[memoryview, int], tuple[Any, int]] = message._struct.compiled_decode_from(
        version, compact=flexible, tagged=flexible, data_class=message[None]
    )
    return decode


def encode_response(api_key: int, version: int, correlation_id: int, fields: Fields) -> bytearray:
    """A whole response frame: length, correlation id, body."""
    response = _build(_RESPONSES[api_key], version, fields)
    with EncodeBufferPool.acquire() as out:
        out.pos += _FRAME_HEADER.size
        _encoder(api_key, version)(response, out)
        _FRAME_HEADER.pack_into(out.buf, 0, out.pos - 4, correlation_id)
        frame: bytearray = out.result()
    return frame


@cache
def _encoder(api_key: int, version: int) -> Callable[[Any, Any], None]:
    message = _RESPONSES[api_key]
    flexible = message.flexible_version_q(version)
    encode: Callable[[Any, Any], None] = message._struct.compiled_encode_into(
        version, compact=flexible, tagged=flexible
    )
    return encode


def _build(data_class: Any, version: int, fields: Fields) -> Any:
    """An instance without kafka-python's generic constructor, which costs several times as much."""
    instance = data_class.__new__(data_class)
    instance.tags = instance.unknown_tags = None
    instance._version = version
    for name, item_class, default in _layout(data_class, version):
        value = fields.get(name, default)
        if item_class is not None and value is not None:
            value = [_build(item_class, version, item) for item in value]
        setattr(instance, name, value)
    return instance


@cache
def _layout(data_class: Any, version: int) -> list[tuple[str, Any, Any]]:
    """Fields of this version: name, class of the items of an array of structs (else None), default."""
    return [
        (
            name,
            field.data_class if field.is_struct_array() else None,
            [] if field.is_struct_array() else field.default,
        )
        for name, field in data_class._struct.fields.items()
        if field.for_version_q(version) and not field.is_struct()
    ]
