"""Items as bytes: nothing is changed on the way, and nothing can pose as something else."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from workflow_streams import Gap, Rewind
from workflow_streams.gateway.formats import frames
from workflow_streams.gateway.formats.frames import (
    ENVELOPES,
    control_event,
    gap_fields,
    media_type,
    opening,
    passes,
    rewind_fields,
    shape_of,
)
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import JSON_KIND, UNREADABLE_KIND, item_in, json_payload
from workflow_streams.read.walk import Slice

from .events import parse_events

NOON = datetime(2026, 11, 24, 12, 0, 0, 250_000, tzinfo=timezone.utc)
JSON = shape_of("application/json; charset=utf-8")
TEXT = shape_of("text/plain")
BINARY = shape_of("image/png")


def slice_of(*payloads: Payload, topic: str = "t", offset: int = 0) -> Slice:
    entries = [entry_of(topic, payload) for payload in payloads]
    return Slice(offset, entries, NOON)


def raw(data: bytes) -> Payload:
    return Payload(metadata={"encoding": b"binary/plain"}, data=data)


@pytest.mark.parametrize(
    "value", [b"1.10", b"1e2", b'{"b" : 1,\n "a":"\xc3\xa9"}', b'"' + b"x" * 70_000 + b'"']
)
def test_json_comes_out_as_the_bytes_that_went_in(value: bytes) -> None:
    part = slice_of(json_payload(value), offset=7)
    assert JSON.body(JSON.pieces(part, None)) == b"[" + value + b"]"
    [envelope] = ENVELOPES.pieces(part, None)
    assert envelope == (
        b'{"offset":7,"topic":"t","time":"2026-11-24T12:00:00.250000Z","data":' + value + b"}"
    )


def test_what_is_not_json_says_how_it_is_encoded() -> None:
    proto = Payload(metadata={"encoding": b"json/protobuf", "messageType": b"M"}, data=b'{"a":1}')
    payloads = [
        raw(b"\x00\xff"),
        DataConverter.default.payload_converter.to_payload(None),
        proto,
        json_payload(b""),
    ]
    items = json.loads(ENVELOPES.body(ENVELOPES.pieces(slice_of(*payloads), None)))
    assert [(i["data"], i.get("encoding")) for i in items] == [
        ("AP8=", "binary/plain"), (None, None), ({"a": 1}, None), ("", "json/plain"),
    ]  # fmt: skip


def test_an_item_that_is_no_payload_spoils_no_other() -> None:
    texts = (base64.b64encode(b"\xff\xff").decode(), "", json_text("1"))
    part = Slice(0, [("t", *item_in(text)) for text in texts], NOON)
    items = json.loads(ENVELOPES.body(ENVELOPES.pieces(part, None)))
    assert [i["offset"] for i in items] == [0, 1, 2]
    assert [(i["data"], i.get("encoding")) for i in items] == [
        (None, "unreadable"), ("", ""), (1, None),
    ]  # fmt: skip
    assert TEXT.pieces(part, None) == [b"", b"", b"1"]


def json_text(text: str) -> str:
    """Return a JSON value as a batch in JSON has it."""
    return base64.b64encode(json_payload(text.encode()).SerializeToString()).decode()


def test_a_filter_keeps_offsets() -> None:
    part = Slice(5, [(topic, JSON_KIND, b"1") for topic in ("a", "b", "a")], NOON)
    items = json.loads(ENVELOPES.body(ENVELOPES.pieces(part, {"a"})))
    assert [i["offset"] for i in items] == [5, 7]
    assert ENVELOPES.pieces(part, frozenset()) == []


texts = st.text(st.sampled_from('a :{}"\n\r\x00é') | st.characters(codec="utf-8"), max_size=40)


@given(st.lists(texts, min_size=1, max_size=4))
def test_no_text_can_pose_as_an_event(parts: list[str]) -> None:
    """Line ends are all alike to an event stream; all else arrives as it was."""
    contents = [raw(part.encode()) for part in parts]
    sent = TEXT.event(TEXT.pieces(slice_of(*contents), None), "0" * 19 + "9")
    sent += control_event({"upToDate": True}, "0" * 19 + "9")
    data, control = parse_events(sent)
    expected = "".join(parts).replace("\r\n", "\n").replace("\r", "\n")
    assert (data.kind, data.text, data.id) == ("data", expected, f"{9:020d}")
    assert json.loads(control.text) == {"streamNextOffset": f"{9:020d}", "upToDate": True}


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_bytes_go_as_base64(contents: list[bytes]) -> None:
    assert BINARY.base64_events
    part = slice_of(*map(raw, contents))
    [event] = parse_events(BINARY.event(BINARY.pieces(part, None), "1"))
    assert base64.b64decode(event.text, validate=True) == b"".join(contents)
    assert BINARY.body(BINARY.pieces(part, None)) == b"".join(contents)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) |
    st.dictionaries(st.text(), inner), max_leaves=8,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(json_values, min_size=1), st.sampled_from([None, 2]), st.text())
def test_events_of_json_are_json(values: list[Any], indent: int | None, topic: str) -> None:
    payloads = [json_payload(json.dumps(v, indent=indent).encode()) for v in values]
    part = slice_of(*payloads, topic=topic, offset=3)
    [event] = parse_events(JSON.event(JSON.pieces(part, None), "4"))
    assert json.loads(event.text) == values
    [event] = parse_events(ENVELOPES.event(ENVELOPES.pieces(part, None), "4"))
    items = json.loads(event.text)
    assert [i["data"] for i in items] == values
    assert {i["topic"] for i in items} == {topic}


def test_notices_have_tokens() -> None:
    assert gap_fields(Gap(1, 3, "truncated")) == {
        "start": f"{1:020d}", "end": f"{3:020d}", "reason": "truncated",
    }  # fmt: skip
    rewind = Rewind((range(2, 4), range(6, 7)), "attempt", 9, "activity", 2)
    assert rewind_fields(rewind) == {
        "ranges": [
            {"start": f"{2:020d}", "end": f"{4:020d}"},
            {"start": f"{6:020d}", "end": f"{7:020d}"},
        ],
        "reason": "attempt",
        "nextOffset": f"{9:020d}",
        "attempt": 2,
    }


def test_types_are_compared_without_case_and_parameters() -> None:
    assert media_type("Application/JSON; charset=utf-8") == "application/json"
    assert JSON.json
    assert not JSON.envelopes
    assert JSON.content_type == "application/json; charset=utf-8"


def test_a_rewind_of_no_attempt_names_none_and_an_item_without_a_time_has_none() -> None:
    assert "attempt" not in rewind_fields(Rewind((), "reset", 4))
    part = Slice(0, [("t", JSON_KIND, b"1")], None)
    assert ENVELOPES.pieces(part, None) == [b'{"offset":0,"topic":"t","data":1}']


def test_an_event_stream_begins_with_when_to_come_back() -> None:
    assert opening(500) == b"retry: 500\n"


def test_only_topics_that_are_asked_for_pass() -> None:
    part = Slice(0, [("a", JSON_KIND, b""), ("b", UNREADABLE_KIND, b"")], NOON)
    assert passes(part, None)
    assert passes(part, frozenset("b"))
    assert not passes(part, frozenset("c"))
    assert not passes(Slice(0, [], NOON), None)


@pytest.mark.parametrize("stretch", [1, 2, 3, 4, 1000])
@example(text="a\r\nb")
@example(text=" a\r b")
@given(text=st.text("a \r\n:", max_size=12))
def test_lines_are_the_same_however_they_are_cut_for_encoding(stretch: int, text: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(frames, "STRETCH", stretch)
        [event] = parse_events(TEXT.event([text.encode()], "1"))
    assert event.text == text.replace("\r\n", "\n").replace("\r", "\n")
