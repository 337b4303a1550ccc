"""A record is read as it was written, and a memo field may be anything at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from workflow_streams.log.batches import parse_signal
from workflow_streams.log.binary import MOST_NUMBER
from workflow_streams.log.compact import compact_payload
from workflow_streams.log.payloads import (
    UNREADABLE_KIND,
    json_payload,
    text_of,
)
from workflow_streams.log.records import ENCODING, parse_record, record_bytes, record_payload
from workflow_streams.log.wire import (
    Batch,
    Closing,
    Entry,
    Opening,
    Record,
    Rules,
    RunRef,
)

from .messages import as_payload, compact_record, entries, foreign, is_entry, plain, records


@given(records())
@example(Record(3, plain("t", None), ring=True))
@example(Record(3, [], Opening(5, 3, {"p": 1}, [RunRef("r", 0)], 9, Rules("text/plain"), "k")))
@example(Record(3, [], Opening(5, 3, {}, [], written={"run/1": [range(1, 3)]})))
@example(Record(3, [], Opening(5, 3, {}, [], closed=Closing("p", 1, "run"))))
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert parse_record(record_payload(record)) == record


def in_json(record: Record) -> Payload:
    """Return a record in JSON, as records of publishes and truncations could be, too."""
    fields: dict[str, Any] = {"v": 1, "base": record.base}
    if record.ring:
        fields["ring"] = True
    if record.entries:
        fields["items"] = [{"topic": t, "data": text_of(k, d)} for t, k, d in record.entries]
    if record.opening is not None:
        fields["open"] = json.loads(record_payload(record).data)["open"]
    return json_payload(json.dumps(fields, separators=(",", ":")).encode())


@given(records())
@example(Record(0))
@example(Record(10**18, plain("é\ud83d", *["x" * 96, "x" * 97, ""]), ring=True))
@example(Record(3, plain("t", 1), Opening(5, 3, {}, [])))
def test_a_record_counts_as_it_is_in_json_whatever_form_it_has(record: Record) -> None:
    payload = record_payload(record)
    assert record_bytes(record) == len(in_json(record).data)
    assert parse_record(in_json(record)) == record
    if record.opening is None:
        assert payload.metadata == {"encoding": ENCODING}
        # What is reckoned with is always enough.
        assert len(payload.data) <= record_bytes(record)
    else:
        assert json.loads(payload.data) == json.loads(in_json(record).data)


def test_the_form_of_a_record_takes_a_few_bytes_for_each_item() -> None:
    record = Record(7, plain("token", *({"text": f" {word}"} for word in ("the", "way") * 50)))
    assert record_bytes(record) / len(record_payload(record).data) > 20


@given(st.lists(entries, max_size=4))
def test_a_record_is_no_batch_and_a_batch_no_record(items: list[Entry]) -> None:
    assert parse_signal(record_payload(Record(1, items))) is None
    assert parse_record(compact_payload([Batch(items, "p", 1)])) is None


GOOD = record_payload(Record(300, plain("t", 7))).data


def test_a_record_is_written_as_the_page_says() -> None:
    assert parse_record(compact_record(GOOD)) == Record(300, plain("t", 7))
    items = b"\x01" + b"\x01\x01t" + b"\x01\x00" + b"\x00\x02" + b"\x01" + b"7"
    assert b"\x03\x00" + b"\xac\x02" + items == GOOD
    assert record_payload(Record(9, ring=True)).data == b"\x03\x01\x09" + bytes(5)


@pytest.mark.parametrize(
    "data",
    [b"", *(GOOD[:size] for size in range(1, 10)), b"\x01" + GOOD[1:], b"\x02" + GOOD[1:],
     b"\x04" + GOOD[1:], b"\x03\x02" + GOOD[2:], b"\x03\x00\x80\x00" + GOOD[4:],
     b"\x03\x00\x00" + b"\x81\x80\x04" + GOOD[5:]],
)  # fmt: skip
def test_what_is_not_in_this_form_is_no_record(data: bytes) -> None:
    assert parse_record(compact_record(data)) is None


@pytest.mark.parametrize("data", [GOOD[:-1], GOOD + b"x", GOOD[:-2] + b"\x02" + GOOD[-1:]])
def test_items_of_a_malformed_body_take_their_offsets_and_hold_nothing(data: bytes) -> None:
    assert parse_record(compact_record(data)) == Record(300, [("t", UNREADABLE_KIND, b"")])


@given(foreign)
@example(json_payload(b'{"v":2,"base":0}'))
@example(json_payload(b'{"v":1}'))
@example(json_payload(b'{"v":1,"base":true}'))
@example(json_payload(b'{"v":1,"base":0,"items":[1]}'))
@example(json_payload(b'{"v":1,"base":0,"open":{}}'))
@example(json_payload(b'{"v":1,"base":0,"open":null}'))
@example(json_payload(b'{"v":1,"base":0,"open":{"head":"0","publishers":{},"runs":[]}}'))
@example(json_payload(b'{"v":1,"base":0,"open":{"head":0,"publishers":[],"runs":[]}}'))
@example(json_payload(b'{"v":1,"base":0,"open":{"head":0,"publishers":{"p":"1"},"runs":[]}}'))
@example(json_payload(b'{"v":1,"base":0,"open":{"head":0,"publishers":{},"runs":[["r"]]}}'))
@example(json_payload(b'{"v":1,"base":0,"open":{"head":0,"publishers":{},"runs":[[1,0]]}}'))
@example(json_payload(b'{"v":1,"base":0,"open":{"head":0,"publishers":{},"runs":[["r",true]]}}'))
@example(
    json_payload(b'{"v":1,"base":0,"open":{"head":0,"publishers":{},"runs":[],"keep_last":"3"}}')
)
@example(json_payload(b'{"v":1,"base":0,"open":{"head":0,"publishers":{},"runs":{}}}'))
@example(json_payload(b'{"v":1,"base":0,"open":{"head":0,"publishers":{},"runs":[],"order":1}}'))
@example(json_payload(b'{"v":1,"base":0,"open":{"head":0,"publishers":{},"runs":[],"rules":{}}}'))
@example(json_payload(b"[" * 100_000))
def test_any_memo_field_is_a_record_or_none(payload: Payload) -> None:
    record = parse_record(payload)
    if record is not None:
        assert type(record.base) is int
        assert all(map(is_entry, record.entries))
        if record.opening is not None:
            opening = record.opening
            assert type(opening.head) is int
            assert opening.base == record.base
            for publisher_id, sequence in opening.publishers.items():
                assert (type(publisher_id), type(sequence)) == (str, int)
            for run in opening.runs:
                assert (type(run.run_id), type(run.first_offset)) == (str, int)
            assert opening.keep_last is None or type(opening.keep_last) is int
        if record.opening is not None or 0 <= record.base <= MOST_NUMBER:
            assert parse_record(record_payload(record)) == record


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_records_of_another_version_are_not_read(version: object) -> None:
    record = {"v": 1, "base": 3}
    assert parse_record(as_payload(record)) == Record(3)
    assert parse_record(as_payload(record | {"v": version})) is None


@pytest.mark.parametrize("written", [1, [], {"run/1": 1}, {"run/1": [1, 2], "run/2": [1]}])
def test_what_attempts_wrote_has_to_be_ranges(written: object) -> None:
    opening = {"head": 1, "publishers": {}, "runs": [], "written": written}
    assert parse_record(as_payload({"v": 1, "base": 0, "open": opening})) is None


@pytest.mark.parametrize("closed", [True, [], ["p", 1], ["p", "1", "run"], ["p", True, "run"]])
def test_what_closed_a_stream_is_a_batch_in_a_run(closed: object) -> None:
    opening = {"head": 1, "publishers": {}, "runs": [], "closed": closed}
    assert parse_record(as_payload({"v": 1, "base": 0, "open": opening})) is None


def test_publishers_in_an_opening_record_have_sequences() -> None:
    opening = {"head": 1, "publishers": {"p": "1"}, "runs": []}
    assert parse_record(as_payload({"v": 1, "base": 0, "open": opening})) is None


def test_a_record_with_a_long_topic_among_many_items_is_written_in_json() -> None:
    record = Record(1, [*plain("t" * 100_000, 1), *plain("t", *range(100))])
    payload = record_payload(record)
    assert payload.metadata["encoding"] == b"json/plain"
    assert parse_record(payload) == record
