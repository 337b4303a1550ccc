"""Several streams in one event stream: parameters, the id that holds all offsets, the events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers, QueryParams

from workflow_streams.gateway.following.event_ids import (
    MOST_STREAMS,
    OVER,
    SeveralQuery,
    StreamOffsets,
    parse_several,
)
from workflow_streams.gateway.formats.frames import ENVELOPES, KEEP_ALIVE, control_event, shape_of
from workflow_streams.gateway.formats.offsets import token_of
from workflow_streams.gateway.refusals.problems import InvalidRequestError

from .events import parse_events

IDS = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=MOST_STREAMS)
TOKENS = st.integers(0, 2**63 - 1).map(token_of)
OFFSETS = st.one_of(TOKENS, st.sampled_from(["-1", "now", OVER]))


def parsed(*pairs: tuple[str, str], last_event: str | None = None) -> SeveralQuery:
    headers = {} if last_event is None else {"last-event-id": last_event}
    return parse_several(QueryParams(list(pairs)), Headers(headers))


def asked(*ids: str, offsets: tuple[str, ...] = ()) -> StreamOffsets:
    return StreamOffsets(
        SeveralQuery(ids, offsets or ("-1",) * len(ids), frozenset(), resumes=False)
    )


@given(ids=IDS, data=st.data())
def test_the_id_of_an_event_holds_each_place_and_fits_no_other_streams(
    ids: list[str], data: st.DataObject
) -> None:
    offsets = data.draw(st.lists(OFFSETS, min_size=len(ids), max_size=len(ids)))
    event_id = asked(*ids, offsets=tuple(offsets)).event_id
    assert len(event_id) <= 8 + 21 * len(ids)
    named = [("id", name) for name in ids]
    query = parsed(*named, ("offset", "now"), last_event=event_id)
    assert (query.ids, query.offsets, query.resumes) == (tuple(ids), tuple(offsets), True)
    for others in ([*named, ("id", "another")], [("id", f"{ids[0]}'"), *named[1:]]):
        with pytest.raises(InvalidRequestError):
            parsed(*others[: MOST_STREAMS + 1], last_event=event_id)


def test_a_token_with_a_tag_keeps_it() -> None:
    offsets = asked("a", "b", offsets=(f"{3:020d}_aB-_9", f"{0:020d}_x"))
    assert offsets.event_id.split(",")[1:] == ["3_aB-_9", "0_x"]


@pytest.mark.parametrize(
    ("asked_for", "offsets"),
    [
        ([], ("-1", "-1")),
        (["now"], ("now", "now")),
        ([token_of(3), "-1"], (token_of(3), "-1")),
    ],
)
def test_offsets_are_for_all_or_for_each(asked_for: list[str], offsets: tuple[str, ...]) -> None:
    pairs = [("id", "a"), ("id", "b"), *(("offset", offset) for offset in asked_for)]
    assert parsed(*pairs, ("topic", "t")) == SeveralQuery(
        ("a", "b"), offsets, frozenset({"t"}), resumes=False
    )


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("id", str(n)) for n in range(MOST_STREAMS + 1)],
        [("id", "a"), ("id", "b"), ("id", "c"), ("offset", "-1"), ("offset", "-1")],
        [("id", "a"), ("offset", OVER)],
        [("id", "a"), ("offset", "first")],
        [("id", "a"), ("errors", "none")],
        [("id", "a"), ("errors", "events"), ("errors", "events")],
    ],
)
def test_what_does_not_fit_is_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidRequestError):
        parsed(*pairs)


@pytest.mark.parametrize("place", ["", "first", "²", "1,2", "9" * 30])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    checksum = asked("a").event_id.partition(",")[0]
    with pytest.raises(InvalidRequestError):
        parsed(("id", "a"), last_event=f"{checksum},{place}")


def told(shape_type: str | None, pieces: list[bytes], offset: int) -> list[Any]:
    shape = ENVELOPES if shape_type is None else shape_of(shape_type)
    events = shape.event(pieces, token_of(offset)) + KEEP_ALIVE
    offsets = asked("other", "a\n", offsets=("now", "-1"))
    [event] = parse_events(offsets.told(events, 1, shape))
    assert event.kind == "data"
    assert event.id.split(",")[1:] == ["now", str(offset)]
    assert event.text.startswith('{"index":1,"stream":"a\\n","streamNextOffset":"')
    assert event.json.pop("streamNextOffset") == token_of(offset)
    return [key for key in event.json.items() if key[0] not in ("index", "stream")][1:]


def test_items_come_in_an_object_that_names_their_stream() -> None:
    assert told("application/json", [b"1", b'{"a":\n[2,\r\n3]}'], 2) == [
        ("items", [1, {"a": [2, 3]}])
    ]
    assert told(None, [b'{"offset":0}'], 1) == [("items", [{"offset": 0}])]
    assert told("text/plain", ["é\n\n ".encode(), b' "x'], 2) == [("text", 'é\n\n  "x')]
    assert told("image/png", [b"\x00\xff"], 1) == [("base64", "AP8=")]


def test_an_event_without_an_id_leaves_the_place_as_it_is() -> None:
    offsets = asked("a", "b", offsets=("-1", "now"))
    [event] = parse_events(offsets.told(b'event: control\ndata:{"problem":{}}\n\n', 1, ENVELOPES))
    assert (event.id.split(",")[1:], event.json["problem"]) == (["-1", "now"], {})


def test_control_events_keep_their_fields_and_the_last_tells_the_end() -> None:
    offsets = asked("a", "b")
    events = control_event({"gap": {"start": "0"}}, token_of(3)) + control_event(
        {"streamClosed": True}, token_of(4)
    )
    first, second = parse_events(offsets.told(events, 0, ENVELOPES, over=True))
    assert first.json == {
        "index": 0, "stream": "a", "streamNextOffset": token_of(3), "gap": {"start": "0"},
    }  # fmt: skip
    assert second.json == {
        "index": 0, "stream": "a", "streamNextOffset": token_of(4), "streamClosed": True,
    }  # fmt: skip
    assert [e.id.split(",")[1:] for e in (first, second)] == [["3", "-1"], [OVER, "-1"]]
    assert (offsets[0], offsets.all_over) == (OVER, False)
    offsets[1] = OVER
    assert offsets.all_over


def test_notices_are_of_one_stream_or_of_all() -> None:
    offsets = asked("a", "b")
    of_one, of_all = parse_events(
        offsets.notice({"problem": {"status": 404}}, 1) + offsets.notice({"closing": "recycled"})
    )
    assert of_one.json == {"index": 1, "stream": "b", "problem": {"status": 404}}
    assert of_all.json == {"closing": "recycled"}
    assert of_one.id == of_all.id == offsets.event_id
    assert json.loads(of_all.text) == of_all.json
