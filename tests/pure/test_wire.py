"""What is written is what is read, and what is read may be anything at all."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import temporalio.contrib.workflow_streams as contrib
from hypothesis import example, given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter

from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload, batches_of, fragment_payloads, parse_batch
from workflow_streams.log.entries import entry_bytes, entry_json
from workflow_streams.log.payloads import decode_payload, encode_payload, json_payload
from workflow_streams.log.records import parse_record, record_payload
from workflow_streams.log.wire import (
    FRAGMENT_CHARACTERS,
    MAX_FRAGMENTS,
    Batch,
    Closing,
    Fragment,
    Opening,
    Record,
    Rules,
    RunRef,
)

# Every character, the halves of surrogate pairs too.
texts = st.text(st.characters(codec=None), max_size=20)
payloads = st.builds(
    Payload,
    metadata=st.dictionaries(st.text(max_size=5), st.binary(max_size=5), max_size=3),
    data=st.binary(max_size=50),
)
entries = st.tuples(texts, payloads.map(encode_payload))
integers = st.integers(-(10**30), 10**30)
offsets = st.integers(0, 10**18)
openings = st.builds(
    Opening,
    head=offsets,
    base=offsets,
    publishers=st.dictionaries(texts, integers, max_size=4),
    runs=st.lists(st.builds(RunRef, texts, offsets), max_size=4),
    keep_last=st.none() | st.integers(1, 10**9),
    rules=st.none() | st.builds(Rules, texts, st.booleans()),
    order=texts,
    written=st.dictionaries(texts, st.just([range(3), range(5, 9)]), max_size=2),
    closed=st.none() | st.builds(Closing, texts, integers, texts),
)
batches = st.builds(
    Batch,
    st.lists(entries, max_size=5),
    texts,
    integers,
    tag=texts,
    close=st.booleans(),
    order=st.none() | texts,
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    opening = draw(st.none() | openings)
    base = draw(offsets) if opening is None else opening.base
    return Record(base, draw(st.lists(entries, max_size=4)), opening, draw(st.booleans()))


@given(payloads)
def test_an_items_payload_comes_back_as_it_was(payload: Payload) -> None:
    assert decode_payload(encode_payload(payload)) == payload


@given(st.text() | st.text("Cg8KCGVuY29kaW5nEgNhYmM=", max_size=30))
def test_any_text_is_a_payload_or_raises_a_value_error(data: str) -> None:
    try:
        payload = decode_payload(data)
    except ValueError:
        return
    assert decode_payload(encode_payload(payload)) == payload


@pytest.mark.parametrize("data", ["not base64", "Cg==", "EgNhYmM=.", "EgNhYmM", "Zürich"])
def test_what_is_no_payload_raises_a_value_error(data: str) -> None:
    with pytest.raises(ValueError, match="not a serialised payload"):
        decode_payload(data)


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
    payloads = fragment_payloads(batch, "x")
    fragments = [f for payload in payloads if isinstance(f := parse_batch(payload), Fragment)]
    assert [(f.tag, f.index, f.count) for f in fragments] == [
        ("x", 0, 3), ("x", 1, 3), ("x", 2, 3),
    ]  # fmt: skip
    assert "".join(f.text for f in fragments).encode() == batch.data
    assert all(len(payload.data) < 2 * 1024 * 1024 for payload in payloads)


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


@given(records())
@example(Record(3, [("t", "EgRudWxs")], ring=True))
@example(Record(3, [], Opening(5, 3, {"p": 1}, [RunRef("r", 0)], 9, Rules("text/plain"), "k")))
@example(Record(3, [], Opening(5, 3, {}, [], written={"run/1": [range(1, 3)]})))
@example(Record(3, [], Opening(5, 3, {}, [], closed=Closing("p", 1, "run"))))
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert parse_record(record_payload(record)) == record


jsons = st.recursive(
    st.none() | st.booleans() | integers | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
# Right in most fields, anything in others: what nearly is a message.
items = st.lists(
    jsons | st.fixed_dictionaries({"topic": jsons | st.just("t"), "data": jsons | st.just("")})
)
batch_like = st.fixed_dictionaries(
    {},
    optional={
        "items": jsons | items,
        "publisher_id": jsons | st.just("p"),
        "sequence": jsons | st.just(1),
        "tag": jsons | st.just("x"),
        "order": jsons,
        "part": jsons | st.lists(st.integers(-1, 3), max_size=3),
        "text": jsons,
    },
)
opening_like = st.fixed_dictionaries(
    {},
    optional={
        "head": jsons | st.just(1),
        "publishers": jsons | st.dictionaries(st.text(max_size=3), jsons | st.just(1)),
        "runs": jsons | st.lists(jsons | st.just(["run", 0]) | st.lists(jsons, max_size=3)),
        "keep_last": jsons | st.just(3),
        "order": jsons,
        "rules": jsons | st.fixed_dictionaries({"type": jsons, "closable": jsons}),
        "written": jsons | st.dictionaries(st.text(max_size=3), st.lists(jsons, max_size=2)),
        "closed": jsons | st.just(["p", 1, "run"]) | st.lists(jsons, max_size=3),
    },
)
record_like = st.fixed_dictionaries(
    {"v": st.just(1) | jsons, "base": st.just(1) | jsons},
    optional={"items": jsons | items, "open": jsons | opening_like, "ring": jsons},
)


def as_payload(message: Any) -> Payload:
    return json_payload(json.dumps(message).encode())


foreign = (
    payloads
    | st.builds(json_payload, st.binary())
    | st.builds(as_payload, jsons | batch_like | record_like)
)


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
