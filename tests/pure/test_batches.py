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

from workflow_streams.log import wire
from workflow_streams.log.batches import (
    batch_payload,
    batch_text,
    batches_of,
    fragment_payloads,
    parse_batch,
)
from workflow_streams.log.entries import AT_ONCE, JoinedEntries, entry_bytes, entry_json
from workflow_streams.log.payloads import json_payload
from workflow_streams.log.wire import (
    FRAGMENT_CHARACTERS,
    MAX_FRAGMENTS,
    Batch,
    Fragment,
)

from .messages import as_payload, batches, foreign, texts


def written(batch: Batch) -> Payload:
    return batch_payload(
        [entry_json(*entry) for entry in batch.entries],
        batch.publisher_id,
        batch.sequence,
        tag=batch.tag,
        close=batch.close,
        order=batch.order,
    )


@given(batches)
@example(Batch([("t", "EgRudWxs")], "p", 1, tag="x", close=True, order="k"))
def test_a_batch_comes_back_as_it_was(batch: Batch) -> None:
    assert parse_batch(written(batch)) == (batch if is_named(batch) else None)


@pytest.mark.parametrize("name", ["\ud800", "ok\udfff", "x" * 513])
def test_names_that_no_state_could_hold_make_a_batch_malformed(name: str) -> None:
    assert parse_batch(written(Batch([], "p", 1, order="k"))) is not None
    assert parse_batch(written(Batch([], name, 1))) is None
    assert parse_batch(written(Batch([], "p", 1, order=name))) is None


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
        [contrib.PublishEntry(*entry) for entry in batch.entries],
        batch.publisher_id,
        batch.sequence,
    )
    assert converter.from_payload(written(batch), contrib.PublishInput) == theirs
    read = parse_batch(converter.to_payload(theirs))
    plain = Batch(batch.entries, batch.publisher_id, batch.sequence)
    assert read == (plain if is_named(plain) else None)


def test_a_batch_over_the_limit_of_a_signal_is_cut_into_fragments_that_make_it_up_again() -> None:
    batch = batch_payload([entry_json("t", "A" * (2 * FRAGMENT_CHARACTERS))], "p", 1, tag="x")
    payloads = list(fragment_payloads([batch.data], "x"))
    fragments = [f for payload in payloads if isinstance(f := parse_batch(payload), Fragment)]
    assert [(f.tag, f.index, f.count) for f in fragments] == [
        ("x", 0, 3), ("x", 1, 3), ("x", 2, 3),
    ]  # fmt: skip
    assert "".join(f.text for f in fragments).encode() == batch.data
    assert all(len(payload.data) < 2 * 1024 * 1024 for payload in payloads)


@given(batches, st.integers(1, 60))
def test_fragments_of_a_batch_do_not_depend_on_its_parts(batch: Batch, size: int) -> None:
    entries = JoinedEntries.of(entry_json(*entry) for entry in batch.entries)
    text = batch_text(entries.text, batch.publisher_id, batch.sequence, order=batch.order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "FRAGMENT_CHARACTERS", size)
        cut, whole = (list(fragment_payloads(parts, "x")) for parts in (text, [b"".join(text)]))
    assert cut == whole
    pieces = [json.loads(payload.data)["text"] for payload in cut]
    assert "".join(pieces).encode() == b"".join(text)
    assert {len(piece) for piece in pieces[:-1]} <= {size}


hostile = st.text(st.sampled_from('{}[],:"\\topic\ud800é')) | st.just('},{"topic":"') | texts


@given(st.lists(st.tuples(hostile, st.sampled_from(["", "QUJD"])), max_size=8), st.booleans())
def test_joined_entries_are_those_that_were_joined(
    items: list[tuple[str, str]], many: bool
) -> None:
    entries = [entry_json(*item) for item in items] * (AT_ONCE if many else 1)
    joined = JoinedEntries.of(iter(entries))
    assert list(joined) == entries
    assert bool(joined) == bool(entries)
    assert json.loads(b"[" + joined.text + b"]") == [json.loads(entry) for entry in entries]


@pytest.mark.parametrize(
    "message",
    [
        {"part": [0], "tag": "x", "text": ""},
        {"part": [1, 1], "tag": "x", "text": ""},
        {"part": [-1, 1], "tag": "x", "text": ""},
        {"part": [0, MAX_FRAGMENTS + 1], "tag": "x", "text": ""},
        {"part": [0, 1], "tag": 1, "text": ""},
        {"part": [0, 1], "tag": "x"},
        {"part": "0/1", "tag": "x", "text": ""},
    ],
)
def test_a_fragment_that_says_nonsense_is_none(message: dict[str, object]) -> None:
    assert parse_batch(as_payload(message)) is None


def test_fields_that_a_batch_leaves_out_have_the_contribs_defaults() -> None:
    assert parse_batch(json_payload(b"{}")) == Batch([], "", 0)


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
    message = parse_batch(payload)
    if isinstance(message, Batch):
        assert type(message.publisher_id) is type(message.tag) is str
        assert type(message.sequence) is int
        assert message.order is None or type(message.order) is str
        assert all(type(text) is str for entry in message.entries for text in entry)
        assert parse_batch(batch_payload([], message.publisher_id, message.sequence)) is not None
    elif message is not None:
        assert 0 <= message.index < message.count <= MAX_FRAGMENTS
        assert type(message.tag) is type(message.text) is str


@given(st.lists(st.tuples(texts, st.sampled_from(["", "QUJD", "QUJD" * 20])), max_size=12))
def test_items_are_cut_into_records_that_hold_what_they_may(items: list[tuple[str, str]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "MAX_BATCH_BYTES", 200)
        parts = list(batches_of(items))
    assert [entry for part in parts for entry in part] == items
    assert all(parts)
    for part in parts:
        text = json.dumps([{"topic": t, "data": d} for t, d in part], separators=(",", ":"))
        assert len(part) == 1 or len(text) <= 200 + 1
        assert sum(entry_bytes(*entry) for entry in part) == len(text) - 1
    for part, after in itertools.pairwise(parts):
        assert sum(entry_bytes(*entry) for entry in [*part, after[0]]) > 200


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
    assert (parse_batch(payload) is not None) == taken
