from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import CodecError
from streams.hint_request import (
    Behaviour,
    HintRequest,
    Version,
    decode_request,
    encode_request,
    to_int8,
    to_unit,
)

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
    st.text(max_size=20),
    versions,
    st.lists(
        st.builds(Behaviour, st.integers(1, 5), st.integers(0, 2**41), st.text(max_size=20)), max_size=5
    ),
)
def test_a_request_survives_its_bytes(user: str, version: Version, behaviours: list[Behaviour]) -> None:
    vectors = np.arange(len(behaviours) * 8, dtype=np.int8).reshape(-1, 8)
    request = HintRequest(
        user, version, "drift", 0.25, "enc", tuple(behaviours), vectors, np.ones((2, 8), np.int8)
    )
    back = decode_request(encode_request(request))
    assert (back.user, back.version, back.behaviours) == (user, version, tuple(behaviours))
    np.testing.assert_array_equal(back.vectors, vectors)
    assert back.trigger == (behaviours[0].text if behaviours else "")


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda b: b"AHR1" + b))
def test_foreign_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        decode_request(data)


def test_a_torn_request_is_refused() -> None:
    whole = encode_request(
        HintRequest(
            "u", Version(1, 1), "first", 1.0, "e", (), np.zeros((0, 8), np.int8), np.ones((2, 8), np.int8)
        )
    )
    for cut in range(len(whole)):
        with pytest.raises(CodecError):
            decode_request(whole[:cut])


def test_rounding_to_int8_and_back_keeps_a_unit_vectors_direction() -> None:
    vector = np.random.default_rng(0).normal(size=64).astype(np.float32)
    vector /= np.linalg.norm(vector)
    back = to_unit(to_int8(vector))
    assert float(back @ vector / np.linalg.norm(back)) > 0.999
