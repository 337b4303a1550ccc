"""A batch is read as it was written, and the argument of a signal may be anything at all."""

from __future__ import annotations

import itertools
import json

import pytest
import temporalio.contrib.workflow_streams as contrib
from hypothesis import example, given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from tests.texts import entry_json
from workflow_streams.log import strict_json, wire
from workflow_streams.log.batches import batch_payload, batches_of, parse_signal
from workflow_streams.log.entries import entries_bytes, entries_of, entry_bytes
from workflow_streams.log.payloads import (
    JSON_KIND,
    UNREADABLE_KIND,
    json_payload,
    text_of,
)
from workflow_streams.log.wire import MAX_FRAGMENTS, Batch, Entry, Fragment

from .messages import as_payload, batches, entries, foreign, is_entry, plain, texts


def written(batch: Batch) -> Payload:
    return batch_payload(
        batch.entries,
        batch.publisher_id,
        batch.sequence,
        tag=batch.tag,
        close=batch.close,
        order=batch.order,
    )


@given(batches)
@example(Batch(plain("t", None), "p", 1, tag="x", close=True, order="k"))
def test_a_batch_comes_back_as_it_was(batch: Batch) -> None:
    assert parse_signal(written(batch)) == ([batch] if is_named(batch) else None)


@pytest.mark.parametrize("name", ["\ud800", "ok\udfff", "x" * 513])
def test_names_that_no_state_could_hold_make_a_batch_malformed(name: str) -> None:
    assert parse_signal(written(Batch([], "p", 1, order="k"))) is not None
    assert parse_signal(written(Batch([], name, 1))) is None
    assert parse_signal(written(Batch([], "p", 1, order=name))) is None


def is_named(batch: Batch) -> bool:
    """Whether all converters can make JSON of its names."""
    try:
        return bool((batch.publisher_id + (batch.order or "")).encode() or True)
    except UnicodeEncodeError:
        return False


@given(batches)
def test_batches_are_those_of_the_contrib_in_both_directions(batch: Batch) -> None:
    converter = DataConverter.default.payload_converter
    theirs = contrib.PublishInput(
        [contrib.PublishEntry(topic, text_of(*item)) for topic, *item in batch.entries],
        batch.publisher_id,
        batch.sequence,
    )
    assert converter.from_payload(written(batch), contrib.PublishInput) == theirs
    read = parse_signal(converter.to_payload(theirs))
    bare = Batch(batch.entries, batch.publisher_id, batch.sequence)
    assert read == ([bare] if is_named(bare) else None)


hostile = st.text(st.sampled_from('{}[],:"\\topic\ud800é')) | st.just('},{"topic":"') | texts


@given(st.lists(st.tuples(hostile, st.sampled_from([b"", b"1"])), max_size=8))
def test_no_topic_leaves_its_entry(items: list[tuple[str, bytes]]) -> None:
    given = [(topic, JSON_KIND, data) for topic, data in items]
    payload = batch_payload(given, "p", 1)
    assert parse_signal(payload) == [Batch(given, "p", 1)]
    message = json.loads(payload.data)["items"]
    assert message == [json.loads(entry_json(*entry)) for entry in given]


@pytest.mark.parametrize("text", ["no base64", "Zürich", "\ud800", "Cg==", "EgNhYmM=."])
def test_items_whose_text_is_no_payload_hold_nothing_and_spoil_no_other(text: str) -> None:
    read = parse_signal(as_payload({"items": [{"topic": "t", "data": text}]}))
    assert read == [Batch([("t", UNREADABLE_KIND, b"")], "", 0)]
    between = [{"topic": "t", "data": data} for data in ("", text, text_of(JSON_KIND, b"1"))]
    found = parse_signal(as_payload({"items": between}))
    assert isinstance(found, list)
    [batch] = found
    assert batch.entries == [("t", b"", b""), ("t", UNREADABLE_KIND, b""), ("t", JSON_KIND, b"1")]


def test_items_of_a_topic_share_its_name_and_those_of_a_kind_share_that() -> None:
    """Readers count each of them once."""
    odd = text_of(b"\n\t\n\x01k\x12\x04kind", b"")
    texts = json.loads(json.dumps([["topic", odd], ["other", ""], ["topic", odd]]))
    first, other, last = entries_of((topic, text) for topic, text in texts)
    assert (first[0], other[0], last[0]) == ("topic", "other", "topic")
    assert first[0] is last[0]
    assert first[1] == last[1] != other[1]
    assert first[1] is last[1]


@pytest.mark.parametrize("part", [[0, 1], [1, 2]])
def test_batches_in_json_come_in_one_piece(part: list[int]) -> None:
    """Only the compact form is cut into fragments, so these are fields that nobody knows."""
    message = {"tag": "x", "part": part, "text": '{"items":[{"topic":"t","data":""}]}'}
    assert parse_signal(as_payload(message)) == [Batch([], "", 0, "x")]


def test_fields_that_a_batch_leaves_out_have_the_contribs_defaults() -> None:
    assert parse_signal(json_payload(b"{}")) == [Batch([], "", 0)]


@given(foreign)
@example(json_payload(b"[" * 100_000))
@example(json_payload(b"9" * 10_000))
@example(json_payload(b'{"sequence":' + b"9" * 10_000 + b"}"))
@example(json_payload(b'{"items":[],"sequence":true}'))
@example(json_payload(b'{"items":[],"sequence":1.0}'))
@example(json_payload(b'{"items":[],"publisher_id":null}'))
@example(json_payload(b'{"items":null}'))
@example(json_payload(b'{"items":["topic"]}'))
@example(json_payload(b'{"items":[{"topic":"t"}]}'))
@example(json_payload(b'{"items":[{"topic":"t","data":1}]}'))
@example(json_payload(b'{"tag":1}'))
@example(json_payload(b'{"order":1}'))
@example(json_payload(b'"items"'))
@example(json_payload(b"\xff\xfe"))
@example(Payload(metadata={"encoding": b"binary/null"}))
@example(Payload(metadata={"encoding": b"json/protobuf"}, data=b"{}"))
def test_any_argument_of_a_publish_signal_is_a_batch_or_none(payload: Payload) -> None:
    message = parse_signal(payload)
    if isinstance(message, Fragment):
        assert 0 <= message.index < message.count <= MAX_FRAGMENTS
        assert (type(message.tag), type(message.piece)) == (str, bytes)
        return
    for batch in message or []:
        assert type(batch.publisher_id) is type(batch.tag) is str
        assert type(batch.sequence) is int
        assert batch.order is None or type(batch.order) is str
        assert all(map(is_entry, batch.entries))
        assert parse_signal(batch_payload([], batch.publisher_id, batch.sequence)) is not None


@given(st.lists(entries, max_size=12))
@example([])
def test_items_are_cut_into_records_that_hold_what_they_may(items: list[Entry]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "MAX_BATCH_BYTES", 200)
        parts = list(batches_of(items))
    assert [entry for part in parts for entry in part] == items
    assert all(parts)
    for part in parts:
        objects = [{"topic": topic, "data": text_of(*item)} for topic, *item in part]
        text = json.dumps(objects, separators=(",", ":"))
        assert len(part) == 1 or len(text) <= 200 + 1
        assert sum(entry_bytes(*entry) for entry in part) == len(text) - 1
    for part, after in itertools.pairwise(parts):
        assert sum(entry_bytes(*entry) for entry in [*part, after[0]]) > 200


@given(st.lists(entries, max_size=12))
@example([])
def test_entries_take_together_what_each_of_them_takes(items: list[Entry]) -> None:
    assert entries_bytes(items) == sum(entry_bytes(*entry) for entry in items)
    assert entries_bytes(items) == sum(len(entry_json(*entry)) + 1 for entry in items)


@pytest.mark.parametrize(
    ("field", "taken"),
    [
        ('"publisher_id":"%s"' % ("x" * wire.MAX_ID_CHARACTERS), True),
        ('"publisher_id":"%s"' % ("x" * (wire.MAX_ID_CHARACTERS + 1)), False),
        ('"order":"%s"' % ("x" * (wire.MAX_ID_CHARACTERS + 1)), False),
        ('"more":%s' % ("1" * 100), True),
        ('"more":%s' % ("1" * 101), False),
        ('"more":NaN', False),
        ('"more":%s' % ("[" * 31 + "]" * 31), True),
        ('"more":%s' % ("[" * 32 + "]" * 32), False),
        ('"more":%s' % ('{"a":' * 32 + "1" + "}" * 32), False),
    ],
)
def test_what_one_process_may_read_and_another_not_is_no_batch(field: str, *, taken: bool) -> None:
    payload = json_payload(f'{{"items":[],{field}}}'.encode())
    assert (parse_signal(payload) is not None) == taken


@pytest.mark.parametrize("sign", ["[", "{", ","])
def test_what_takes_long_to_read_for_its_size_is_no_batch(sign: str) -> None:
    """Many such signals may wait for a worker, which has 2 s for all of them."""
    most = strict_json._MOST_OF[sign.encode()]
    around = '{"items":[%s],"publisher_id":"%s"}'
    smallest = ",".join(['{"topic":"","data":""}'] * 91_000)
    batch = json_payload((around % (smallest, "p")).encode())
    assert len(batch.data) < wire.MAX_SIGNAL_BYTES
    [read] = parse_signal(batch) or []
    assert list(read.entries) == [("", b"", b"")] * 91_000
    topic = '{"topic":"%s","data":""}'
    own = (around % (topic, "p")).count(sign)
    for count, taken in ((most - own, True), (most - own + 1, False)):
        text = around % (topic % (sign * count), "p")
        assert (parse_signal(json_payload(text.encode())) is not None) is taken
