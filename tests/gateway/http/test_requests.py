"""What a request asks for is either understood or refused, whatever it is."""

from __future__ import annotations

import contextlib
import json
from itertools import repeat
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers, QueryParams

from tests.gateway.json_bodies import json_values
from workflow_streams import Last, errors
from workflow_streams.gateway.formats.frames import shape_of
from workflow_streams.gateway.reading.caching import accepts_gzip
from workflow_streams.gateway.refusals import RefusedError
from workflow_streams.gateway.refusals.problems import (
    InternalError,
    InvalidRequestError,
    refusal_of,
)
from workflow_streams.gateway.requests.paths import Target, parse_path, parse_target, path_of
from workflow_streams.gateway.requests.reads import parse_read
from workflow_streams.gateway.requests.writes import (
    is_closing,
    parse_fork,
    parse_lifetime,
    parse_producer_headers,
)
from workflow_streams.gateway.writing.bodies import entries_of
from workflow_streams.hosted import appends
from workflow_streams.hosted.appends import Append, signals_of
from workflow_streams.log import wire
from workflow_streams.log.compact import WHOLE_BOUNDS
from workflow_streams.log.fold import Accepted, Fold
from workflow_streams.log.intake import Intake
from workflow_streams.log.packed import pack
from workflow_streams.log.payloads import JSON_KIND, payload_of
from workflow_streams.log.wire import Entry

JSON = shape_of("application/json")
names = st.sampled_from(
    ["offset", "live", "cursor", "topic", "producer-id", "producer-epoch", "producer-seq",
     "stream-ttl", "stream-expires-at", "stream-closed", "stream-forked-from",
     "stream-fork-offset", "stream-fork-sub-offset", "last-event-id", "last", "wait", "errors"]
)  # fmt: skip
latin = st.characters(max_codepoint=255)
values = st.text(latin, max_size=20) | st.sampled_from(
    [
        "-1",
        "now",
        "sse",
        "long-poll",
        "true",
        "0",
        "1",
        "-50",
        "0.5",
        "events",
        "/v1/stream/a",
        "2026-01-01T00:00:00Z",
    ]
)


@given(st.lists(st.tuples(names, values), max_size=6))
def test_any_parameters_and_headers_are_understood_or_refused(pairs: list[tuple[str, str]]) -> None:
    headers = Headers(dict(pairs))
    for parse in (parse_producer_headers, parse_lifetime, parse_fork, is_closing):
        with contextlib.suppress(RefusedError):
            parse(headers)
    with contextlib.suppress(RefusedError):
        query = parse_read(QueryParams(pairs), headers)
        assert query.live in (None, "sse", "long-poll")


@given(st.text(min_size=1) | st.sampled_from(["a/cancel", "a/b", "/", "__ds", "__ds/x", "cancel"]))
def test_an_id_is_found_in_its_path_again(workflow_id: str) -> None:
    try:
        path = quote(workflow_id, safe="")
    except UnicodeEncodeError:
        return
    assert parse_path(path_of(workflow_id).removeprefix("/v1/stream/")) == Target(workflow_id)
    if workflow_id.startswith("__ds"):
        return  # such paths are reserved, unless they are escaped
    assert parse_path(path) == Target(workflow_id)
    assert parse_path(path + "/cancel") == Target(workflow_id, cancel=True)


@pytest.mark.parametrize(
    ("query", "headers", "start", "asked"),
    [
        ("", {}, "start", "-1"),
        ("offset=-1", {}, "start", "-1"),
        ("offset=now", {}, "now", "now"),
        ("offset=7", {}, 7, "7"),
        ("offset=-50", {}, Last(50), "-50"),
        ("last=50", {}, Last(50), "-50"),
        # As an offset, one back is the start, by which nothing is lost.
        ("last=1&live=sse", {}, Last(1), "-1"),
        ("last=0", {}, Last(0), "now"),
        ("last=5&live=sse", {"last-event-id": "7"}, 7, "7"),
        ("offset=now&live=sse", {"last-event-id": "-1"}, "start", "-1"),
        ("offset=now&live=sse", {"last-event-id": "9.end"}, 9, "9"),
    ],
)
def test_where_a_read_begins(
    query: str, headers: dict[str, str], start: object, asked: str
) -> None:
    read = parse_read(QueryParams(query), Headers(headers))
    assert (read.start, read.asked) == (start, asked)
    assert read.knows_end == headers.get("last-event-id", "").endswith(".end")
    assert read.resumes == bool(headers)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("30", 30.0), ("0.25", 0.25)])
def test_a_read_may_wait(text: str, seconds: float) -> None:
    assert parse_read(QueryParams({"wait": text}), Headers()).wait_seconds == seconds
    assert parse_read(QueryParams(), Headers()).wait_seconds == 0


@pytest.mark.parametrize(
    "query",
    ["wait=", "wait=-1", "wait=1e3", "wait=inf", "wait=nan", "wait=.5", "wait=1&wait=1",
     "last=", "last=-1", "last=1.5", "last=1&last=1", "last=1&offset=0", "offset=-0",
     "live=sse", "live=sse&wait=3", "errors=", "errors=yes", "errors=events&errors=events"],
)  # fmt: skip
def test_malformed_reads_are_refused(query: str) -> None:
    with pytest.raises(InvalidRequestError):
        parse_read(QueryParams(query), Headers())


def test_a_slash_in_an_id_may_be_sent_either_way_but_not_before_cancel() -> None:
    assert parse_path("a/b") == parse_path("a%2Fb") == Target("a/b")
    assert parse_path("a/cancel") == Target("a", cancel=True)
    assert parse_path("a%2Fcancel") == Target("a/cancel")
    assert parse_path("cancel") == Target("cancel")
    assert parse_path("__ds/subscriptions/x").reserved
    assert not parse_path("__dsx").reserved


def test_a_mounted_gateway_finds_the_id_behind_its_prefix() -> None:
    scope = {"raw_path": b"/gate/v1/stream/a%20b", "path": "/gate/v1/stream/a b"}
    assert parse_target({**scope, "root_path": "/gate"}) == Target("a b")
    assert parse_target({"path": "/v1/stream/a b"}) == Target("a b")


@pytest.mark.parametrize(
    "headers",
    [
        {"producer-id": "a"},
        {"producer-id": "", "producer-epoch": "0", "producer-seq": "0"},
        {"producer-id": "a", "producer-epoch": "01", "producer-seq": "0"},
        {"producer-id": "a", "producer-epoch": "0", "producer-seq": str(2**53)},
        {"producer-id": "a", "producer-epoch": "²", "producer-seq": "0"},
    ],
)
def test_malformed_producers_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError):
        parse_producer_headers(Headers(headers))


@pytest.mark.parametrize(
    "headers",
    [
        {"stream-ttl": "1", "stream-expires-at": "2030-01-01T00:00:00Z"},
        {"stream-ttl": "01"},
        {"stream-ttl": "-1"},
        {"stream-expires-at": "2030-01-01"},
        {"stream-expires-at": "2030-13-01T00:00:00Z"},
        {"stream-expires-at": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_malformed_lifetimes_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError):
        parse_lifetime(Headers(headers))


def test_a_time_is_kept_as_utc() -> None:
    lifetime = parse_lifetime(Headers({"stream-expires-at": "2030-01-01T02:00:00.5+02:00"}))
    assert lifetime.expires_at == "2030-01-01T00:00:00.500000+00:00"


def test_only_the_word_true_closes() -> None:
    assert is_closing(Headers({"stream-closed": "TRUE"}))
    for other in ("false", "yes", "1", ""):
        assert not is_closing(Headers({"stream-closed": other}))


any_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers()
    | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10,
)  # fmt: skip


@given(any_json, st.sampled_from([None, 1]), st.booleans())
def test_a_body_is_flattened_by_one_level_and_not_changed(
    value: Any, indent: int | None, ascii_only: bool
) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    found = json_values(b" \n" + body + b"\t")
    assert [json.loads(v) for v in found] == (value if isinstance(value, list) else [value])
    assert all(v in body for v in found)


@given(
    st.binary(max_size=30)
    | st.text(st.sampled_from('[]{},:"12e.-ntf \\'), max_size=12).map(str.encode)
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    try:
        expected = json.loads(body.decode(), parse_constant=lambda _: json.loads(""))
    except ValueError:
        with pytest.raises(InvalidRequestError):
            json_values(body)
    else:
        values = [json.loads(v) for v in json_values(body)]
        assert values == (expected if isinstance(expected, list) else [expected])


@pytest.mark.parametrize(
    "body", [b"", b"NaN", b"[Infinity]", b"1 2", b"[1,]", b"\xff", b"\xef\xbb\xbf1", b"[" * 100_000]
)
def test_things_that_are_nearly_json_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        json_values(body)


def test_numbers_of_any_length_pass() -> None:
    number = b"9" * 10_000
    assert json_values(b"[" + number + b"]") == [number]


@given(st.binary(min_size=1))
def test_other_content_is_one_item(body: bytes) -> None:
    [(topic, *item)] = entries_of(body, shape_of("text/plain"), "topic")
    assert topic == "topic"
    assert payload_of(*item) == appends.content_payload(body)


def test_every_error_of_the_package_has_an_answer() -> None:
    """And none but the unknown ends as a fault of the gateway's own."""

    def make(kind: type[errors.WorkflowStreamError]) -> errors.WorkflowStreamError:
        error = kind.__new__(kind)
        Exception.__init__(error, "secret detail of the inside")
        return error

    kinds = [
        value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.WorkflowStreamError)
        and not name.startswith("_")
    ]  # fmt: skip
    internal = set()
    for kind in kinds:
        refusal = refusal_of(make(kind))
        assert 400 <= refusal.status < 600
        assert "secret" not in refusal.detail
        if isinstance(refusal, InternalError):
            internal.add(kind.__name__)
    assert internal == {
        "WorkflowStreamError", "UsageError", "TopicTypeError", "ItemError", "ConnectionFailedError",
        "InvalidCountError"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("header", "takes"),
    [("gzip", True), ("br, gzip;q=0.5", True), ("*", True), ("gzip;q=0", False), ("", False),
     ("deflate", False), ("GZIP", True)],
)  # fmt: skip
def test_gzip_is_for_those_who_take_it(header: str, takes: bool) -> None:
    assert accepts_gzip(header) is takes


def test_what_no_batch_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "FRAGMENT_BYTES", 100)
    monkeypatch.setattr(appends, "MAX_BATCH_BYTES", 300)
    shape = shape_of("text/plain")
    content = bytes(range(200))
    entries = entries_of(content, shape, "t")
    assert len(list(signals_of(Append(entries), "tag"))) == 3
    [entry] = entries
    counted = appends.counted_bytes(*entry)
    assert 200 < counted <= 200 + 60
    assert list(appends.in_bounds([entry])) == [entry]
    entries_of(bytes(300 - counted + 200), shape, "t")
    with pytest.raises(errors.BatchTooLargeError):
        entries_of(bytes(300 - counted + 201), shape, "t")
    with pytest.raises(errors.BatchTooLargeError):
        list(appends.in_bounds([entry, entry]))


@pytest.mark.parametrize(
    "entry",
    [("t", b"", b""), ("t", b"", b"x"), ("", b"", b"x" * 22), ("t", JSON_KIND, b"7"),
     ("topic", JSON_KIND, b"x" * 500)],
)  # fmt: skip
def test_what_is_taken_is_a_message_that_hosts_take(entry: Entry) -> None:
    """However small its items are, and however well they pack."""
    most = list(
        appends.in_bounds(repeat(entry, appends.MAX_BATCH_BYTES // appends.counted_bytes(*entry)))
    )
    assert len(most) <= WHOLE_BOUNDS.items
    [*pieces, last] = list(signals_of(Append(pack(most), close=True), "tag"))
    intake = Intake(Fold(closable=True))
    assert [judged for piece in pieces for judged in intake.take(piece)] == []
    [judged] = intake.take(last)
    assert (judged.verdict, judged.tag) == (Accepted(0, len(most)), "tag")
    assert judged.entries == most
