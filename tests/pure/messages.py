"""Batches and records as they may be, and what others may send in their place."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from workflow_streams.log import compact as compact_form
from workflow_streams.log import records as record_form
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import JSON_KIND, UNREADABLE_KIND, json_payload
from workflow_streams.log.wire import (
    Batch,
    Closing,
    Entry,
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
# Few of them that are long: their lengths take several bytes.
datas = st.binary(max_size=200) | st.sampled_from([b"x" * 127, b"x" * 128, b"x" * 20_000])
entries = (
    st.builds(entry_of, texts | st.sampled_from(["a", "b"]), payloads)
    | st.tuples(st.sampled_from(["a", "b", ""]), st.just(JSON_KIND), datas)
    | st.tuples(texts, st.just(UNREADABLE_KIND), st.just(b""))
)


def is_entry(entry: Any) -> bool:
    """Whether this is an entry, by its types."""
    return tuple(map(type, entry)) == (str, bytes, bytes)


def plain(topic: str, *values: Any) -> list[Entry]:
    """Return entries of one topic that hold these values, as plain JSON."""
    return [(topic, JSON_KIND, json.dumps(value).encode()) for value in values]


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


def compact(data: bytes) -> Payload:
    """Return a payload that says it has the compact form."""
    return Payload(metadata={"encoding": compact_form.ENCODING}, data=data)


def compact_record(data: bytes) -> Payload:
    """Return a payload that may be a record in the compact form."""
    return Payload(metadata={"encoding": record_form.ENCODING}, data=data)


foreign = (
    payloads
    | st.builds(json_payload, st.binary())
    | st.builds(as_payload, jsons | batch_like | record_like)
    | st.builds(compact_record, st.builds(bytes.__add__, st.just(b"\3"), st.binary()))
    | st.builds(
        compact, st.builds(bytes.__add__, st.sampled_from([b"\1", b"\2", b"\3"]), st.binary())
    )
)
