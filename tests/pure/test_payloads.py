"""An item's payload is read as it was written, and its text may be anything at all."""

from __future__ import annotations

import base64
import subprocess
import sys
import time

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from tests.texts import decode_payload, encode_payload
from workflow_streams.log.binary import number_bytes
from workflow_streams.log.payloads import (
    JSON_KIND,
    UNREADABLE_KIND,
    item_in,
    item_of,
    joined,
    json_payload,
    payload_of,
    split,
    text_length,
    text_of,
)

from .messages import datas, payloads

# Where the length of the data takes one byte more.
lengths = st.sampled_from([0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152])
of_any_length = datas | lengths.map(bytes)
kinds = payloads.map(lambda payload: item_of(payload)[0]) | st.just(JSON_KIND)


@given(payloads)
def test_an_items_payload_comes_back_as_it_was(payload: Payload) -> None:
    assert decode_payload(encode_payload(payload)) == payload


@given(payloads | of_any_length.map(json_payload))
def test_a_payload_is_its_kind_and_its_data(payload: Payload) -> None:
    kind, data = item_of(payload)
    assert data == payload.data
    assert Payload.FromString(kind) == Payload(metadata=payload.metadata)
    assert payload_of(kind, data) == payload
    assert (kind == JSON_KIND) == (payload.metadata == {"encoding": b"json/plain"})


@given(kinds, of_any_length)
@example(JSON_KIND, b"")
@example(b"", b"")
@example(b"", b"x")
def test_what_was_split_is_joined_to_the_same_and_split_alike(kind: bytes, data: bytes) -> None:
    payload = joined(kind, data)
    expected = Payload.FromString(kind)
    expected.data = data
    assert Payload.FromString(payload) == expected
    assert split(payload) == (kind, data)


@given(kinds | st.just(UNREADABLE_KIND) | st.binary(max_size=20), of_any_length)
@example(UNREADABLE_KIND, b"")
def test_an_items_text_is_base64_of_its_payload_and_as_long_as_it_is_said_to_be(
    kind: bytes, data: bytes
) -> None:
    text = text_of(kind, data)
    assert base64.b64decode(text, validate=True) == joined(kind, data)
    assert len(text) == text_length(kind, data)


@given(kinds, of_any_length)
def test_an_item_comes_back_from_its_text(kind: bytes, data: bytes) -> None:
    assert item_in(text_of(kind, data)) == (kind, data)
    assert item_in(text_of(UNREADABLE_KIND, b"")) == (UNREADABLE_KIND, b"")


@given(of_any_length, st.integers(0, 40), st.binary(min_size=1, max_size=3))
@example(b"x" * 200, 26, b"\xff")
@example(b"1", 0, b"\x12\x012")
def test_what_is_more_or_less_than_plain_json_is_read_as_the_message_is(
    data: bytes, cut: int, more: bytes
) -> None:
    """The short cut for plain JSON takes nothing that protobuf reads otherwise, or refuses."""
    serialised = joined(JSON_KIND, data)
    for other in (serialised[:cut], serialised[:-1], serialised + more):
        try:
            expected = Payload.FromString(other)
        except DecodeError:
            with pytest.raises(ValueError, match="not a serialised payload"):
                split(other)
        else:
            kind, found = split(other)
            assert (payload_of(kind, found), found) == (expected, expected.data)


def test_a_length_without_an_end_is_given_up_at_once() -> None:
    """Added up, it would take minutes; protobuf takes five bytes at most."""
    head = JSON_KIND + b"\x12"
    for zeros, data in ((3, b"x"), (4, None)):
        raw = head + b"\x81" + b"\x80" * zeros + b"\x00" + b"x"
        if data is not None:
            assert split(raw) == (JSON_KIND, data)
            assert Payload.FromString(raw).data == data
        else:
            with pytest.raises(DecodeError):
                Payload.FromString(raw)
            with pytest.raises(ValueError, match="not a serialised payload"):
                split(raw)
    begun = time.monotonic()
    with pytest.raises(ValueError, match="not a serialised payload"):
        split(head + b"\xff" * 2_000_000)
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300])
def test_data_that_is_not_as_long_as_it_says_is_no_payload(size: int) -> None:
    head = JSON_KIND + b"\x12" + number_bytes(size)
    assert split(head + bytes(size)) == (JSON_KIND, bytes(size))
    if size:
        assert item_in(base64.b64encode(head + bytes(size - 1)).decode()) == (UNREADABLE_KIND, b"")
        assert item_in(base64.b64encode(head).decode()) == (UNREADABLE_KIND, b"")


@pytest.mark.processes
def test_the_kind_of_a_payload_is_the_same_in_each_process() -> None:
    """Protobuf may write metadata in any order, and the name of a stream's maker depends on it."""
    script = (
        "from temporalio.api.common.v1 import Payload\n"
        "from workflow_streams.log.payloads import item_of\n"
        "names = ['encoding', 'messageType', *'abcdefgh']\n"
        "print({item_of(Payload(metadata={n: b'1' for n in order}))[0].hex()"
        " for order in (names, names[::-1])})"
    )
    run = [sys.executable, "-c", script]
    kinds = {subprocess.run(run, capture_output=True, check=True).stdout for _ in range(3)}
    assert len(kinds) == 1
    assert kinds.pop().count(b",") == 0


@given(st.text() | st.text("Cg8KCGVuY29kaW5nEgNhYmM=", max_size=30))
def test_any_text_is_a_payload_or_raises_a_value_error(data: str) -> None:
    try:
        payload = decode_payload(data)
    except ValueError:
        assert item_in(data) == (UNREADABLE_KIND, b"")
        return
    assert decode_payload(encode_payload(payload)) == payload


@pytest.mark.parametrize("data", ["not base64", "Cg==", "EgNhYmM=.", "EgNhYmM", "Zürich", "\ud800"])
def test_what_is_no_payload_raises_a_value_error(data: str) -> None:
    assert item_in(data) == (UNREADABLE_KIND, b"")
    with pytest.raises(ValueError, match="not a serialised payload"):
        decode_payload(data)
