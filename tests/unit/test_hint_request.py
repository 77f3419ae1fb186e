"""Hint requests survive their bytes, and what is no request of this version is refused."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import CodecError
from streams.hint_request import (
    HABIT_BYTES,
    MAGIC,
    Behaviour,
    HintRequest,
    Version,
    decode_request,
    encode_request,
    to_int8,
    to_unit,
)

HABIT = bytes(range(2 * HABIT_BYTES))
habits = st.binary(max_size=5 * HABIT_BYTES).map(lambda data: data[: len(data) // HABIT_BYTES * HABIT_BYTES])
versions = st.builds(Version, st.integers(0, 10**15 - 1), st.integers(0, 10**15 - 1))


@given(versions, versions)
def test_text_order_of_versions_is_their_order(one: Version, other: Version) -> None:
    assert (str(one) < str(other)) == (one < other)
    assert Version.parse(str(one)) == one


@pytest.mark.parametrize("text", ["", "1", "a-b", "1-2-3"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        Version.parse(text)


@given(
    st.text(min_size=1, max_size=20),
    versions,
    st.lists(
        st.builds(Behaviour, st.integers(1, 5), st.integers(0, 2**41), st.text(max_size=20)), max_size=5
    ),
    habits,
)
def test_a_request_survives_its_bytes(
    user: str, version: Version, behaviours: list[Behaviour], habit: bytes
) -> None:
    vectors = np.arange(len(behaviours) * 8, dtype=np.int8).reshape(-1, 8)
    interests = np.arange(16, dtype=np.int8).reshape(2, 8)
    request = HintRequest(
        user, version, "drift", 0.25, "enc", tuple(behaviours), vectors, interests, habit=habit
    )
    back = decode_request(encode_request(request))
    assert (back.user, back.version, back.behaviours) == (user, version, tuple(behaviours))
    np.testing.assert_array_equal(back.vectors, vectors)
    np.testing.assert_array_equal(back.interests, interests)
    assert back.habit == habit
    assert back.trigger == (behaviours[0].text if behaviours else "")


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda b: MAGIC + b))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_request(data)


def test_a_torn_request_is_refused() -> None:
    whole = encode_request(with_habit())
    assert decode_request(whole).habit == HABIT
    for cut in range(len(whole)):
        with pytest.raises(CodecError):
            decode_request(whole[:cut])


@pytest.mark.parametrize("version", [b"AHR1", b"AHR2"])  # before habit, and of 12 bytes an entry
def test_requests_of_former_versions_are_refused(version: bytes) -> None:
    whole = encode_request(with_habit())
    with pytest.raises(CodecError, match="wrong first bytes") as refused:
        decode_request(version + whole[4:])
    assert "hints workers" in refused.value.action


@pytest.mark.parametrize(
    "changes", [{"habit": 1}, {"habit": 3}, {"habit": 9_999}, {"habit": "x"}, {"habit": None}]
)
def test_a_habit_of_another_length_than_the_header_says_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(CodecError):
        decode_request(with_header(encode_request(with_habit()), **changes))


def with_habit() -> HintRequest:
    vectors, interests = np.zeros((0, 8), np.int8), np.ones((2, 8), np.int8)
    return HintRequest("u", Version(1, 1), "first", 1.0, "e", (), vectors, interests, habit=HABIT)


def with_header(data: bytes, **changes: Any) -> bytes:
    (length,) = struct.unpack_from("<I", data, 4)
    header = orjson.dumps(orjson.loads(data[8 : 8 + length]) | changes)
    return MAGIC + struct.pack("<I", len(header)) + header + data[8 + length :]


def test_rounding_to_int8_and_back_keeps_a_unit_vectors_direction() -> None:
    vector = np.random.default_rng(0).normal(size=64).astype(np.float32)
    vector /= np.linalg.norm(vector)
    back = to_unit(to_int8(vector))
    assert float(back @ vector / np.linalg.norm(back)) > 0.999
