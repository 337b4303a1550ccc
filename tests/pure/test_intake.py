"""Signals to verdicts: batches in fragments are judged as if they had come whole."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from workflow_streams.log import intake, wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.binary import number_bytes, text_bytes
from workflow_streams.log.compact import MOST_BATCHES, compact_payload, compact_payloads
from workflow_streams.log.fold import Accepted, Duplicate, Fold, Malformed, Torn
from workflow_streams.log.intake import Intake, Judged
from workflow_streams.log.packed import Body, PackedEntries, pack
from workflow_streams.log.payloads import json_payload
from workflow_streams.log.wire import Batch, Entry

from .messages import compact, entries, plain


def batch(publisher: str, sequence: int, *values: Any, tag: str = "") -> Payload:
    return batch_payload(plain("t", *values), publisher, sequence, tag=tag)


def packed(publisher: str, sequence: int, *values: Any, tag: str = "") -> Payload:
    return compact_payload([Batch(plain("t", *values), publisher, sequence, tag)])


def fragment(tag: str, index: int, count: int, piece: bytes = b"") -> Payload:
    place = number_bytes(index) + number_bytes(count)
    return compact(b"\x02" + text_bytes(tag) + place + piece)


def cut(payload: Payload, tag: str, count: int) -> list[Payload]:
    data = payload.data
    step = -(-len(data) // count)
    return [fragment(tag, i, count, data[i * step : (i + 1) * step]) for i in range(count)]


def random_batch(publisher: str) -> Payload:
    """Return a batch that takes some 145 bytes in any form."""
    data = Random(publisher).randbytes(130)
    return compact_payload([Batch([("t", b"", data)], publisher, 1)])


def told(judged: Judged | None) -> object:
    if judged is None:
        return None
    return judged.verdict, judged.entries, judged.publisher_id, judged.sequence, judged.tag


def taken(own: Intake, payload: Payload | None) -> Judged | None:
    """Take in what holds one batch at most."""
    judged = list(own.take(payload))
    assert len(judged) <= 1
    return judged[0] if judged else None


def test_a_whole_batch_is_judged_at_once_and_says_whose_it_was() -> None:
    payload = batch("p", 1, 0, 1, tag="x")
    judged = taken(Intake(Fold()), payload)
    assert judged is not None
    assert told(judged) == (Accepted(0, 2), plain("t", 0, 1), "p", 1, "x")
    assert judged.size == len(payload.data)


def test_batches_in_the_compact_form_are_judged_alike_and_stay_packed() -> None:
    judged = taken(Intake(Fold()), packed("p", 1, "x" * 10_000, tag="x"))
    assert judged is not None
    assert told(judged) == (Accepted(0, 1), plain("t", "x" * 10_000), "p", 1, "x")
    assert isinstance(judged.entries, PackedEntries)
    assert 10_000 < judged.size < 10_100


def test_what_is_no_batch_is_malformed_and_counted() -> None:
    fold = Fold()
    own = Intake(fold)
    for payload in (None, json_payload(b"[]"), fragment("x", 2, 1)):
        assert told(taken(own, payload)) == (Malformed(), [], "", 0, "")
    assert fold.malformed == 3


def test_a_batch_in_fragments_counts_when_its_last_fragment_comes() -> None:
    own = Intake(Fold())
    items = [("t", b"", Random(number).randbytes(1_000_000)) for number in range(3)]
    *first, last = compact_payloads(Batch(pack(items), "p", 1, "x"))
    assert len(first) == 2
    assert [taken(own, payload) for payload in first] == [None, None]
    assert own.waiting
    assert own.waiting_bytes == 2 * wire.FRAGMENT_BYTES
    between = taken(own, batch("q", 1, 0))
    assert told(between) == (Accepted(0, 1), plain("t", 0), "q", 1, "")
    judged = taken(own, last)
    assert told(judged) == (Accepted(1, 3), items, "p", 1, "x")
    assert judged is not None
    assert 3_000_000 < judged.size < 3_000_100
    assert not own.waiting
    assert own.waiting_bytes == 0


@given(st.lists(entries, max_size=6), st.integers(1, 60), st.text(max_size=3))
def test_what_was_cut_is_judged_as_if_it_had_come_whole(
    items: list[Entry], size: int, tag: str
) -> None:
    whole = Batch(pack(items), "p", 1, tag, close=True, order="k")
    message = compact_payload([whole])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire, "FRAGMENT_BYTES", max(size, -(-len(message.data) // 60)))
        signals = list(compact_payloads(whole))
    assert len(signals) == 1 or sum(len(signal.data) for signal in signals) > len(message.data)
    own, other = Intake(Fold(closable=True)), Intake(Fold(closable=True))
    assert [taken(own, signal) for signal in signals[:-1]] == [None] * (len(signals) - 1)
    judged, expected = taken(own, signals[-1]), taken(other, message)
    assert told(judged) == told(expected) == (Accepted(0, len(items)), items, "p", 1, tag)
    assert (judged and judged.size) == (expected and expected.size)


@pytest.mark.parametrize("count", [1, 2])
def test_several_batches_in_fragments_are_judged_one_by_one(count: int) -> None:
    message = compact_payload([Batch(plain("t", n), "p", n) for n in (1, 1, 2)])
    own = Intake(Fold())
    signals = cut(message, "x", count)
    judged = [told(one) for signal in signals for one in own.take(signal)]
    assert judged == [
        (Accepted(0, 1), plain("t", 1), "p", 1, ""),
        (Duplicate(), plain("t", 1), "p", 1, ""),
        (Accepted(1, 1), plain("t", 2), "p", 2, ""),
    ]


def test_fragments_that_make_up_no_batch_are_malformed() -> None:
    fold = Fold()
    own = Intake(fold)
    nested = fragment("y", 0, 1, packed("p", 1, 0).data).data
    cuts = packed("p", 1, 0).data[:-6]
    pieces = [b"", b"{", b'{"items":[]}', nested, cuts, b"\x03" + packed("p", 1, 0).data[1:]]
    for piece in pieces:
        assert told(taken(own, fragment("x", 0, 1, piece))) == (Malformed(), [], "", 0, "")
    assert (fold.malformed, fold.head) == (len(pieces), 0)
    assert not own.waiting


@given(st.data())
def test_fragments_count_exactly_when_the_last_ones_came_complete_and_in_order(
    data: st.DataObject,
) -> None:
    """Several writers at once, with fragments lost, repeated and sent anew."""
    writers = {tag: cut(packed(tag, 1, 0), tag, count) for tag, count in (("x", 3), ("y", 2))}
    signals = data.draw(
        st.lists(st.sampled_from([(tag, i) for tag in writers for i in range(len(writers[tag]))]))
    )
    own, came = Intake(Fold()), dict[str, list[int]](x=[], y=[])
    head, accepted = 0, set[str]()
    for tag, index in signals:
        judged = taken(own, writers[tag][index])
        came[tag].append(index)
        count = len(writers[tag])
        if index < count - 1:
            assert judged is None
        elif came[tag][-count:] != list(range(count)):
            assert told(judged) == (Torn(), [], "", 0, tag)
        elif tag in accepted:
            assert judged is not None
            assert judged.verdict == Duplicate()
        else:
            assert told(judged) == (Accepted(head, 1), plain("t", 0), tag, 1, "")
            head += 1
            accepted.add(tag)


def test_half_sent_batches_are_held_within_bounds_and_the_oldest_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "MAX_PENDING_BYTES", 250)
    own = Intake(Fold())
    fragments = {tag: cut(random_batch(tag), tag, 2) for tag in "abcd"}
    for tag in "abcd":
        assert taken(own, fragments[tag][0]) is None
    verdicts = [
        judged.verdict for t in "abcd" if (judged := taken(own, fragments[t][1])) is not None
    ]
    assert verdicts == [Torn(), Accepted(0, 1), Accepted(1, 1), Accepted(2, 1)]
    assert not own.waiting


def test_batches_that_were_completed_no_longer_count_against_the_bounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "MAX_PENDING_BYTES", 250)
    own = Intake(Fold())
    for number in range(10):
        first, last = cut(random_batch(f"p{number}"), f"p{number}", 2)
        assert taken(own, first) is None
        assert taken(own, first) is None  # begun anew
        judged = taken(own, last)
        assert judged is not None
        assert judged.verdict == Accepted(number, 1)


def test_a_message_of_many_batches_is_unpacked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them could otherwise cost what the whole message does."""
    batches = [Batch(plain("t", number, "x"), f"p{number}", 1) for number in range(MOST_BATCHES)]
    payload = compact_payload([*batches[:-1], Batch([], "empty", 1)])
    unpacked: list[Body] = []
    unpack = Body._unpacked

    def noting(self: Body) -> bytes:
        unpacked.append(self)
        return unpack(self)

    monkeypatch.setattr(Body, "_unpacked", noting)
    judged = list(Intake(Fold(), unpacks=True).take(payload))
    assert len(unpacked) == 1
    assert [list(one.entries) for one in judged] == [
        *(plain("t", number, "x") for number in range(MOST_BATCHES - 1)), []
    ]  # fmt: skip
    assert [type(one.entries) for one in judged] == [list] * MOST_BATCHES
    assert len(unpacked) == 1
    [alone] = Intake(Fold(), unpacks=True).take(compact_payload(batches[:1]))
    assert list(alone.entries) == plain("t", 0, "x")
