"""Plain JSON is written and read as the payload message itself would, and nothing is kept of it."""

from __future__ import annotations

import gc
import json

import psutil
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from workflow_streams.temporal.values import Values, json_in, serialised_json

MEGABYTE = 1_000_000


def message(data: bytes) -> Payload:
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


@given(st.binary() | st.sampled_from([b"x" * n for n in (127, 128, 16_383, 16_384, 2_097_152)]))
def test_serialised_json_is_the_message_and_reads_back(data: bytes) -> None:
    raw = serialised_json(data)
    assert Payload.FromString(raw) == message(data)
    assert json_in(raw) == (data or None)
    assert json_in(message(data).SerializeToString()) == (data or None)


@given(st.binary(max_size=40), st.integers(0, 40), st.binary(min_size=1, max_size=3))
def test_what_is_more_or_less_than_plain_json_is_left_to_the_message(
    data: bytes, cut: int, more: bytes
) -> None:
    raw = serialised_json(data)
    assert json_in(raw[: min(cut, len(raw) - 1)]) is None
    assert json_in(raw + more) is None


def test_other_encodings_are_not_plain_json() -> None:
    payload = Payload(metadata={"encoding": b"json/protobuf", "messageType": b"M"}, data=b"1")
    assert json_in(payload.SerializeToString()) is None


@pytest.mark.parametrize("value", ["", "text", "ü", 0, 1.5, True])
def test_scalars_are_written_as_the_converter_does(value: object) -> None:
    converter = DataConverter.default.payload_converter
    expected = converter.to_payload(value)
    assert Payload.FromString(Values(converter).serialise(value)) == expected
    assert json.loads(expected.data) == value


def test_encoding_keeps_no_memory() -> None:
    values, process = Values(DataConverter.default.payload_converter), psutil.Process()
    for _ in range(20_000):
        values.serialise("x" * 100)
    gc.collect()
    before = process.memory_info().rss
    for _ in range(300_000):
        values.serialise("x" * 100)
    gc.collect()
    # One that kept the bytes would hold 30 MB.
    assert process.memory_info().rss - before < 10 * MEGABYTE


def test_a_length_without_an_end_is_given_up_at_once() -> None:
    """Added up, it would take minutes; protobuf takes five bytes at most."""
    head = message(b"x").SerializeToString()[:-2]
    for zeros, data in ((3, b"x"), (4, None)):
        raw = head + b"\x81" + b"\x80" * zeros + b"\x00" + b"x"
        assert json_in(raw) == data
        if data is not None:
            assert Payload.FromString(raw).data == data
        else:
            with pytest.raises(DecodeError):
                Payload.FromString(raw)
    assert json_in(head + b"\xff" * 2_000_000) is None
