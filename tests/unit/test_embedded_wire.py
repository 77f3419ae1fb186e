"""Frames, journals and configs: the small parts of the embedded broker."""

from __future__ import annotations

import struct
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.embedded import protocol, topic_configs
from streams.embedded.journal import Journal
from streams.embedded.ports import bound_socket, free_port
from streams.embedded.protocol import APIS, NotKafkaError, RequestHeader
from streams.embedded.refusals import RefusedError


@given(st.sampled_from(sorted(APIS)), st.integers(0, 12), st.binary(max_size=80))
def test_any_bytes_are_a_request_or_an_error_of_ours(api_key: int, version: int, body: bytes) -> None:
    frame = struct.pack(">hhih", api_key, version, 1, -1) + body
    try:
        header = protocol.read_header(frame)
        if protocol.speaks(api_key, version):
            protocol.decode_request(frame, header)
    except NotKafkaError:
        pass


@given(st.binary(max_size=40))
def test_any_bytes_are_a_header_or_an_error_of_ours(frame: bytes) -> None:
    try:
        header = protocol.read_header(frame)
    except NotKafkaError:
        return
    assert isinstance(header, RequestHeader)
    assert header.body_at >= 10


def test_tagged_fields_of_a_flexible_request_are_skipped() -> None:
    header = struct.pack(">hhih", 18, 3, 7, 2) + b"me"
    tags = b"\2" + b"\0\3abc" + b"\x81\1\1x"
    body = b"\5name\2v\0"
    parsed = protocol.read_header(header + tags + body)
    request = protocol.decode_request(header + tags + body, parsed)
    assert (parsed.client_id, request.client_software_name) == ("me", "name")


def test_a_response_is_framed_with_length_and_correlation_id() -> None:
    frame = protocol.encode_response(12, 1, 77, {"error_code": 25})
    assert bytes(frame) == struct.pack(">iiih", 10, 77, 0, 25)


def content_of(path: Path) -> dict[tuple[str | int, ...], object]:
    with closing(Journal(path)) as journal:
        return dict(journal.items())


def test_a_journal_gives_back_what_was_put_last(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "j")) as journal:
        journal.put({("a", 1): [1], ("b",): {"x": "ü"}, ("c",): 3})
        journal.put({("a", 1): [2], ("c",): None})
    assert content_of(tmp_path / "j") == {("a", 1): [2], ("b",): {"x": "ü"}}


@pytest.mark.parametrize("cut", range(2, 12))
def test_a_journal_line_that_was_cut_off_is_dropped(tmp_path: Path, cut: int) -> None:
    with closing(Journal(tmp_path / "j")) as journal:
        journal.put({("kept",): 1})
        journal.put({("cut",): 1})
    content = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(content[:-cut])
    with closing(Journal(tmp_path / "j")) as again:
        assert dict(again.items()) == {("kept",): 1}
        again.put({("next",): 2})
    assert content_of(tmp_path / "j") == {("kept",): 1, ("next",): 2}


def test_a_journal_does_not_grow_with_the_number_of_changes(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "j")) as journal:
        for number in range(25_000):
            journal.put({("same",): number})
    assert (tmp_path / "j").stat().st_size < 250_000
    assert content_of(tmp_path / "j") == {("same",): 24_999}


@pytest.mark.parametrize(
    ("name", "value", "is_valid"),
    [
        ("cleanup.policy", "compact,delete", True),
        ("cleanup.policy", "compact, never", False),
        ("retention.ms", "-1", True),
        ("retention.ms", "-2", False),
        ("retention.ms", "soon", False),
        ("segment.bytes", "0", False),
        ("min.cleanable.dirty.ratio", "0.1", True),
        ("min.cleanable.dirty.ratio", "1.1", False),
        ("preallocate", "maybe", False),
        ("message.timestamp.type", "LogAppendTime", True),
        ("message.timestamp.type", "Whenever", False),
        ("retention.ms", None, False),
        ("colour", "red", False),
    ],
)
def test_configs_are_checked_as_by_apache_kafka(name: str, value: str | None, is_valid: bool) -> None:
    try:
        topic_configs.check(name, value)
    except RefusedError:
        assert not is_valid
    else:
        assert is_valid


def test_every_config_the_broker_acts_on_has_a_valid_default() -> None:
    assert set(topic_configs.DEFAULTS) >= topic_configs.ACTED_ON
    for name, value in topic_configs.DEFAULTS.items():
        topic_configs.check(name, value)


def test_a_port_that_is_taken_is_refused_and_a_free_one_is_not_that() -> None:
    with bound_socket("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            bound_socket("127.0.0.1", port)
        assert free_port() != port
