"""What a publisher sends stays within its item, whatever its bytes are."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from tests.gateway.json_bodies import json_values
from workflow_streams.gateway.formats import item_values
from workflow_streams.gateway.formats.frames import ENVELOPES, shape_of
from workflow_streams.gateway.formats.json_text import (
    MOST_NESTING,
    are_json_values,
    is_json_value,
)
from workflow_streams.gateway.refusals.problems import InvalidRequestError
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import JSON_KIND, UNREADABLE_KIND, item_in
from workflow_streams.log.wire import Entry
from workflow_streams.read.walk import Slice

from .events import parse_events

FORGERY = b'1},{"offset":99,"topic":"admin","data":"forged"'
JSON = shape_of("application/json")


def plain(data: bytes, encoding: bytes = b"json/plain") -> Payload:
    return Payload(metadata={"encoding": encoding}, data=data)


def items_of(*payloads: Payload) -> list[Any]:
    """The items of a page, read as the strictest of clients would."""
    entries = [entry_of("t", payload) for payload in payloads]
    page = ENVELOPES.body(ENVELOPES.pieces(Slice(0, entries, None), None))
    items = strict(page.decode())
    assert [(item["offset"], item["topic"]) for item in items] == [
        (offset, "t") for offset in range(len(payloads))
    ]
    return list(items)


def strict(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


VALUES = {
    "spaces around it": b" \r\n\t[1, 2]\n\n",
    "the same key twice": b'{"a":1,"a":{"offset":99}}',
    "an escaped NUL": b'"\\u0000"',
    # What JavaScript sends of a text that it has cut within a character.
    "half of a character": b'"\\ud83d"',
    "line separators": '"\u2028\u2029\u0085"'.encode(),
    "a BOM within a text": '"\ufeff"'.encode(),
    "a number of many digits": b"9" * 5000,
    "a number beyond any float": b"1e999",
    "nesting": nested(MOST_NESTING),
    "many that stand beside each other": b"[" + b",".join([b"{}"] * 1000) + b"]",
    "brackets in a text": b'"' + b"[{" * 1000 + b'"',
    "brackets in a text of escapes": b'["' + b'\\\\\\"[{' * 1000 + b'\\\\"]',
    "the second half of a character": b'{"\\uDFFF":"\\\\\\uDBFF"}',
    "halves of characters in the wrong order": b'"\\ude00\\ud83d"',
    "half of a character beside brackets": b'["' + b"\\ud83d[" * 1000 + b'"]',
    "what looks like an escape of half a character": b'"\\\\ud83d"',
    "a long text": b'"' + b"x" * 1_500_000 + b'"',
    "a long text of escapes": b'"' + b"\\\\" * 700_000 + b'"',
    "a long text of halves": b'"' + b"\\ud83d" * 200_000 + b'"',
    "keys beyond ASCII": '{"é\U0001f600":{}}'.encode(),
    "a delete character": b'"\x7f"',
    "minus zero": b"-0",
}

NO_VALUES = {
    "another item": FORGERY,
    "the array's end": b"1}],[{",
    "two values": b"1 2",
    "two values with a comma": b"1,2",
    "half a value": b'"',
    "an opening bracket": b"[",
    "nothing but space": b" \n",
    "NaN": b"NaN",
    "NaN within a value": b'{"a":[NaN]}',
    "Infinity": b"Infinity",
    "minus Infinity": b"-Infinity",
    "a NUL": b'"\x00"',
    "a NUL after the value": b"1\x00",
    "a line end in a text": b'"a\nevent: control\ndata: {}\n\n"',
    "a BOM before the value": b"\xef\xbb\xbf1",
    "UTF-16": '"a"'.encode("utf-16"),
    "what is no UTF-8": b'"\xff"',
    "half of a character as bytes": b'"\xed\xa0\x80"',
    "space that JSON does not know": b"1\x0b",
    "a no-break space": "1\u00a0".encode(),
    "a digit of another script": "\u0661".encode(),
    "a leading zero": b"01",
    "a comment": b"1//",
    "single quotes": b"'a'",
    "nesting beyond the limit": nested(MOST_NESTING + 1),
    "nesting in what a second key of the same name hides": (
        b'{"a":' + nested(MOST_NESTING) + b',"a":1}'
    ),
    "nesting that no stack holds": nested(100_000),
    "nesting without an end": b"[" * 100_000,
    "objects without an end": b'{"a":' * 100_000,
    "nesting beyond the limit in a long value": b"[" + b"1," * 500 + nested(MOST_NESTING) + b"]",
    "nesting of objects beyond the limit": b'{"a":' * 101 + b"1" + b"}" * 101,
    "nesting beside half of a character": b'["\\ud83d",' + nested(MOST_NESTING) + b"]",
    "nesting that no stack holds, beside half of a character": (
        b'["\\ud83d",' + nested(100_000) + b"]"
    ),
    "half of a character outside of texts": b"\\ud83d",
    "half of a character after the value": b"1\\ud83d",
    "another item after half of a character": b'"\\ud83d"},{"offset":99,"data":1',
    "a text without an end after half of a character": b'"\\ud83d',
    "half of an escape": b'"\\ud8"',
    "an escape of half a character that is no number": b'"\\ud8zz"',
    "an escape that JSON does not know": b'"\\x41"',
    "a backslash at the end": b'"\\"',
    "a comma at an array's end": b"[1,]",
    "a comma at an object's end": b'{"a":1,}',
    "a comment before the value": b"/**/1",
    "a comment within a value": b"[1/*,*/]",
    "a key without quotes": b"{a:1}",
    "a key that is a number": b"{1:1}",
    "a number without digits": b"-",
    "a number that ends in its point": b"1.",
    "a number that begins with its point": b".5",
    "a number without an exponent": b"1e",
    "a plus sign": b"+1",
    "a hexadecimal number": b"0x10",
    "a leading zero within a value": b"[-01]",
    "a word cut short": b"tru",
    "a word in capitals": b"True",
    "a NUL before the value": b"\x001",
    "a tab in a text": b'"\t"',
    "a BOM after the value": b"1\xef\xbb\xbf",
    "what is no UTF-8 in a key": b'{"\xff":1}',
    "UTF-8 that is longer than need be": b'"\xc0\xaf"',
    "UTF-8 beyond the last character": b'"\xf4\x90\x80\x80"',
    "a character cut short": b'"\xe2\x82"',
    "what is no UTF-8 in a long text": b'"' + b"x" * 1_500_000 + b'\xff"',
    "a control character in a long text": b'"' + b"x" * 1_500_000 + b'\x01"',
}


@pytest.mark.parametrize("encoding", [b"json/plain", b"json/protobuf"])
@pytest.mark.parametrize("data", VALUES.values(), ids=VALUES.keys())
def test_a_json_value_is_told_as_its_bytes(data: bytes, encoding: bytes) -> None:
    payload = plain(data, encoding)
    [piece] = ENVELOPES.pieces(Slice(0, [entry_of("t", payload)], None), None)
    assert piece == b'{"offset":0,"topic":"t","data":' + data + b"}"


@pytest.mark.parametrize("encoding", [b"json/plain", b"json/protobuf"])
@pytest.mark.parametrize("data", NO_VALUES.values(), ids=NO_VALUES.keys())
def test_what_is_no_json_value_is_told_as_base64(data: bytes, encoding: bytes) -> None:
    before, odd, after = items_of(plain(b"1"), plain(data, encoding), plain(b"2"))
    assert (before["data"], after["data"]) == (1, 2)
    assert base64.b64decode(odd["data"], validate=True) == data
    assert odd["encoding"] == encoding.decode()
    [piece] = JSON.pieces(Slice(0, [entry(data)], None), None)
    assert base64.b64decode(json.loads(piece)) == data


@pytest.mark.parametrize("data", NO_VALUES.values(), ids=NO_VALUES.keys())
def test_what_would_be_told_as_base64_cannot_be_posted_as_json(data: bytes) -> None:
    for body in (data, b"[" + data + b"]"):
        try:
            values = json_values(body)
        except InvalidRequestError:
            continue
        # Two values with a comma between them are an array's, and each is one.
        shown = [ENVELOPES.pieces(Slice(0, [entry(value)], None), None) for value in values]
        assert all(b'"encoding"' not in piece for [piece] in shown)


def test_a_body_that_is_too_deep_is_refused_however_near_it_comes_to_what_python_takes() -> None:
    assert json_values(b"[" + nested(MOST_NESTING) + b"]") == [nested(MOST_NESTING)]
    for levels in range(MOST_NESTING + 1, 1100):
        with pytest.raises(InvalidRequestError):
            json_values(b"[" + nested(levels) + b"]")


TOKENS = [
    *b"[]{},:\"01-.eE+/ \t\n\r\x00\x0b\x7f\xff'u",
    b"true",
    b"null",
    b"NaN",
    b"\\",
    b"\\u00e9",
]
TOKENS += [b"\\ud83d", b"\\ude00", b"\\/", b"\xc3\xa9", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"1e999"]
tokens = st.lists(st.sampled_from([t if isinstance(t, bytes) else bytes([t]) for t in TOKENS]))


def read_by_the_standard_library(data: bytes) -> bool:
    try:
        strict_decoder.decode(data.decode())
    except ValueError:
        return False
    return True


def refuse(constant: str) -> Any:
    raise ValueError(constant)


strict_decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=refuse)


@settings(max_examples=1000, deadline=None)
@given(tokens.map(b"".join), st.sampled_from([(b"", b""), (b'"', b'"'), (b"[", b"]")]))
@example(b"\\" * 6 + b"ud83d", (b'"', b'"'))
@example(b"\\" * 7 + b"ud83d", (b'"', b'"'))
def test_it_judges_as_another_parser_does(data: bytes, around: tuple[bytes, bytes]) -> None:
    data = data.join(around)
    assert is_json_value(data) == read_by_the_standard_library(data)


HOSTILE = [
    [b"[1", b"2]", b"3,4"],
    [b"1,2", b"[3", b"4]"],
    [b'"a', b'b"', b"1,2"],
    [b'"a","b', b'c"', b"1"],
    [b'{"a":1', b'"b":2}', b"3,4"],
    [b"1", b"2,3", b""],
    [b"", b"1,2"],
    [b"1]", b"[2"],
    [b"1],[2", b"3"],
    [b""],
    [b"", b""],
    [b" 1", b"2"],
    [b"1\n", b"2"],
    [b"1", b"\t2 "],
    [b"NaN"],
    [b"1", b'"\xff"'],
    [b'"\xc3', b'\xa9"', b"1,2"],
    [b'"\xe2', b'\x82"'],
    [b'"\\ud83d"', b"1"],
    [b'"\\"', b'"\\"'],
    [b"[" * 100_000, b"]" * 100_000],
    [nested(MOST_NESTING), nested(MOST_NESTING)],
    [b"1", nested(MOST_NESTING + 1)],
    [b"1", nested(100_000)],
    [b'"' + b"[" * 1000 + b'"', b"1"],
]
few_bytes = st.sampled_from([b"1", b"[", b"]", b",", b'"', b"\\", b" ", b"{}", b'"a"', b"1,2"])
pieces = st.lists(few_bytes, max_size=4).map(b"".join) | st.binary(max_size=4)


@settings(max_examples=1000, deadline=None)
@given(st.lists(pieces | st.sampled_from([b"1", b"[2]", b'"x"']), max_size=6))
def test_values_that_are_checked_in_one_go_are_each_a_value(values: list[bytes]) -> None:
    """However they are cut: none may be completed by the next one."""
    if are_json_values(values):
        assert all(map(is_json_value, values))


@pytest.mark.parametrize("values", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_values_are_told_as_if_each_were_alone(values: list[bytes]) -> None:
    if are_json_values(values):
        assert all(map(is_json_value, values))
    entries = list(map(entry, values))
    together = item_values.json_values(entries)
    assert together == [item_values.json_value(kind, data) for _, kind, data in entries]
    for data, (value, more) in zip(values, together, strict=True):
        assert (value, more) == (data, b"") if is_json_value(data) else more
    read = items_of(*map(plain, values))
    assert ["encoding" in item for item in read] == [not is_json_value(data) for data in values]


@settings(deadline=None)
@given(st.lists(st.sampled_from(sorted(VALUES)), max_size=5))
def test_whatever_values_stand_together_are_told_as_they_are(names: list[str]) -> None:
    values = [VALUES[name] for name in names]
    assert item_values.json_values(list(map(entry, values))) == [(value, b"") for value in values]


def test_values_of_plain_json_are_checked_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_values, "is_json_value", None)
    entries = [entry(b"%d" % number) for number in range(1000)]
    assert item_values.json_values(entries) == [(b"%d" % number, b"") for number in range(1000)]
    assert item_values.json_values([]) == []


def test_one_that_is_no_plain_json_changes_nothing_for_the_others() -> None:
    others = [
        (entry_of("t", plain(b"1", b"json/protobuf")), (b"1", b"")),
        (entry_of("t", plain(b"1", b"binary/null")), (b"null", b"")),
        (entry_of("t", plain(b"\0", b'x"')), (b'"AA=="', b',"encoding":"x\\""')),
        (entry_of("t", plain(b"\0", b"\xff")), (b'"AA=="', b',"encoding":"\\ufffd"')),
        (("t", b"", b""), (b'""', b',"encoding":""')),
        (("t", UNREADABLE_KIND, b""), (b"null", b',"encoding":"unreadable"')),
        (("t", b"\xff", b"1"), (b"null", b',"encoding":"unreadable"')),
        # A kind that holds data itself: what is read last counts, as protobuf has it.
        (("t", JSON_KIND + b"\x12\x012", b""), (b"2", b"")),
        (("t", JSON_KIND + b"\x12\x012", b"3"), (b"3", b"")),
        (("t", JSON_KIND + b"\x12\x012", b"}"), (b'"fQ=="', b',"encoding":"json/plain"')),
    ]
    for odd, told in others:
        values = item_values.json_values([entry(b"1"), odd, entry(b"[2]")])
        assert values == [(b"1", b""), told, (b"[2]", b"")]


def entry(data: bytes) -> Entry:
    return ("t", JSON_KIND, data)


@given(st.lists(st.binary(max_size=30) | st.text('1{}[]",:x \n\r', max_size=12), min_size=1))
@example([FORGERY.decode()])
@example(["1,2", '"a', 'b"'])
def test_no_bytes_leave_their_item_in_an_answer_or_an_event(datas: list[bytes | str]) -> None:
    sent = [data.encode() if isinstance(data, str) else data for data in datas]
    items = items_of(*map(plain, sent))
    for item, data in zip(items, sent, strict=True):
        if "encoding" in item:
            assert base64.b64decode(item["data"], validate=True) == data
        else:
            assert item["data"] == json.loads(data)
    part = Slice(0, [entry(data) for data in sent], None)
    [event] = parse_events(ENVELOPES.event(ENVELOPES.pieces(part, None), str(len(sent))))
    assert (event.kind, strict(event.text)) == ("data", items)


@pytest.mark.parametrize("data", ["é", "abc", "A", "====", "AA==\n", "\ud800", "/w=="])
def test_an_entry_that_is_no_payload_spoils_no_other(data: str) -> None:
    part = Slice(0, [("t", *item_in(data)), entry(b"1")], None)
    odd, good = strict(ENVELOPES.body(ENVELOPES.pieces(part, None)).decode())
    assert (odd["data"], odd["encoding"], good["data"]) == (None, "unreadable", 1)
    text = shape_of("text/plain")
    assert text.body(text.pieces(part, None)) == b"1"


@pytest.mark.parametrize(
    "content_type",
    ["text/html\r\nset-cookie: a=1", "text/plain\nx: y", "text/plain\x00", "text/\u2028", "", " "],
)
def test_a_content_type_from_history_cannot_begin_another_header(content_type: str) -> None:
    assert shape_of(content_type).content_type == "application/octet-stream"
