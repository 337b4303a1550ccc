"""A record is read as it was written, and a memo field may be anything at all."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from temporalio.api.common.v1 import Payload

from workflow_streams.log.payloads import json_payload
from workflow_streams.log.records import parse_record, record_payload
from workflow_streams.log.wire import (
    Closing,
    Opening,
    Record,
    Rules,
    RunRef,
)

from .messages import as_payload, foreign, records


@given(records())
@example(Record(3, [("t", "EgRudWxs")], ring=True))
@example(Record(3, [], Opening(5, 3, {"p": 1}, [RunRef("r", 0)], 9, Rules("text/plain"), "k")))
@example(Record(3, [], Opening(5, 3, {}, [], written={"run/1": [range(1, 3)]})))
@example(Record(3, [], Opening(5, 3, {}, [], closed=Closing("p", 1, "run"))))
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert parse_record(record_payload(record)) == record


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
        assert all(type(text) is str for entry in record.entries for text in entry)
        if record.opening is not None:
            opening = record.opening
            assert type(opening.head) is int
            assert opening.base == record.base
            for publisher_id, sequence in opening.publishers.items():
                assert (type(publisher_id), type(sequence)) == (str, int)
            for run in opening.runs:
                assert (type(run.run_id), type(run.first_offset)) == (str, int)
            assert opening.keep_last is None or type(opening.keep_last) is int
        assert parse_record(record_payload(record)) == record


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_records_of_another_version_are_not_read(version: object) -> None:
    record = json.loads(record_payload(Record(3)).data)
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
