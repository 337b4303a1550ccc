"""Plain JSON is written and read as the converter itself would, and nothing is kept of it."""

from __future__ import annotations

import gc
import json
from typing import Any

import psutil
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.converter import DataConverter

from workflow_streams.log.payloads import JSON_KIND, UNREADABLE_KIND, payload_of
from workflow_streams.temporal.values import Values

MEGABYTE = 1_000_000
CONVERTER = DataConverter.default.payload_converter


@pytest.mark.parametrize("value", ["", "text", "ü", "\ud83d", 0, 1.5, True, float("inf")])
def test_scalars_are_written_as_the_converter_does(value: object) -> None:
    expected = CONVERTER.to_payload(value)
    kind, data = Values(CONVERTER).encode(value)
    assert (kind, payload_of(kind, data)) == (JSON_KIND, expected)
    assert json.loads(expected.data) == value


@pytest.mark.parametrize("value", [None, b"\x00", {"a": [1]}, Payload(data=b"\xff")])
def test_other_values_are_written_as_the_converter_does(value: object) -> None:
    expected = value if isinstance(value, Payload) else CONVERTER.to_payload(value)
    assert payload_of(*Values(CONVERTER).encode(value)) == expected


@pytest.mark.parametrize("type_", [Any, str, int, float, bool, dict, list[int], RawValue])
@pytest.mark.parametrize(
    "data", [b'"a"', b"1", b"1.5", b"true", b"null", b"[1]", b"{}", b"", b"1 2", b"\xff", b" 1 "]
)
def test_plain_json_is_read_as_the_converter_does(data: bytes, type_: Any) -> None:
    payload, decode = payload_of(JSON_KIND, data), Values(CONVERTER).decoder(type_)
    if type_ is RawValue:
        assert decode(JSON_KIND, data).payload == payload
        return
    hint = (type_,) if type_ is not Any else ()
    try:
        expected = CONVERTER.from_payload(payload, *hint)
    except Exception as err:
        with pytest.raises(type(err)):
            decode(JSON_KIND, data)
    else:
        found = decode(JSON_KIND, data)
        assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("type_", [Any, str, dict, RawValue])
def test_what_is_no_payload_is_an_error_for_each_type(type_: Any) -> None:
    with pytest.raises(ValueError, match="not a serialised payload"):
        Values(CONVERTER).decoder(type_)(UNREADABLE_KIND, b"")


def test_encoding_keeps_no_memory() -> None:
    values, process = Values(CONVERTER), psutil.Process()
    for _ in range(20_000):
        values.encode("x" * 100)
    gc.collect()
    before = process.memory_info().rss
    for _ in range(300_000):
        values.encode("x" * 100)
    gc.collect()
    # One that kept the bytes would hold 30 MB.
    assert process.memory_info().rss - before < 10 * MEGABYTE
