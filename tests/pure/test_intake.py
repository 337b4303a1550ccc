"""Signals to verdicts: batches in fragments are judged as if they had come whole."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from temporalio.api.common.v1 import Payload

from workflow_streams.log import intake
from workflow_streams.log.batches import batch_payload, fragment_payloads
from workflow_streams.log.entries import entry_json
from workflow_streams.log.fold import Accepted, Duplicate, Fold, Malformed, Torn
from workflow_streams.log.intake import Intake, Judged
from workflow_streams.log.payloads import json_payload


def batch(publisher: str, sequence: int, *data: str, tag: str = "") -> Payload:
    return batch_payload([entry_json("t", d) for d in data], publisher, sequence, tag=tag)


def fragment(tag: str, index: int, count: int, text: str = "") -> Payload:
    return json_payload(json.dumps({"tag": tag, "part": [index, count], "text": text}).encode())


def cut(payload: Payload, tag: str, count: int) -> list[Payload]:
    text = payload.data.decode()
    step = -(-len(text) // count)
    return [fragment(tag, i, count, text[i * step : (i + 1) * step]) for i in range(count)]


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
    payload = batch("p", 1, "AA==", "AQ==", tag="x")
    judged = taken(Intake(Fold()), payload)
    assert judged is not None
    assert told(judged) == (Accepted(0, 2), [("t", "AA=="), ("t", "AQ==")], "p", 1, "x")
    assert judged.size == len(payload.data)


def test_what_is_no_batch_is_malformed_and_counted() -> None:
    fold = Fold()
    own = Intake(fold)
    for payload in (None, json_payload(b"[]"), fragment("x", 2, 1)):
        assert told(taken(own, payload)) == (Malformed(), [], "", 0, "")
    assert fold.malformed == 3


def test_a_batch_in_fragments_counts_when_its_last_fragment_comes() -> None:
    own = Intake(Fold())
    large = batch("p", 1, "A" * 3_000_000)
    *first, last = fragment_payloads([large.data], "x")
    assert [taken(own, payload) for payload in first] == [None] * len(first)
    assert own.waiting
    assert 2_000_000 < own.waiting_bytes < 3_100_000
    between = taken(own, batch("q", 1, "AA=="))
    assert told(between) == (Accepted(0, 1), [("t", "AA==")], "q", 1, "")
    judged = taken(own, last)
    assert told(judged) == (Accepted(1, 1), [("t", "A" * 3_000_000)], "p", 1, "")
    assert judged is not None
    assert judged.size == len(large.data)
    assert not own.waiting


def test_fragments_that_make_up_no_batch_are_malformed() -> None:
    own = Intake(Fold())
    for nested in (b"{", fragment("y", 0, 1, "").data):
        assert told(taken(own, fragment("x", 0, 1, nested.decode()))) == (
            Malformed(),
            [],
            "",
            0,
            "",
        )


@given(st.data())
def test_fragments_count_exactly_when_the_last_ones_came_complete_and_in_order(
    data: st.DataObject,
) -> None:
    """Several writers at once, with fragments lost, repeated and sent anew."""
    writers = {tag: cut(batch(tag, 1, "AA=="), tag, count) for tag, count in (("x", 3), ("y", 2))}
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
            assert told(judged) == (Accepted(head, 1), [("t", "AA==")], tag, 1, "")
            head += 1
            accepted.add(tag)


def test_half_sent_batches_are_held_within_bounds_and_the_oldest_goes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "MAX_PENDING_BYTES", 250)
    own = Intake(Fold())
    fragments = {tag: cut(batch(tag, 1, "A" * 80), tag, 2) for tag in "abcd"}
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
        first, last = cut(batch(f"p{number}", 1, "A" * 80), f"p{number}", 2)
        assert taken(own, first) is None
        assert taken(own, first) is None  # begun anew
        judged = taken(own, last)
        assert judged is not None
        assert judged.verdict == Accepted(number, 1)
