"""The fold decides as its rules say, whatever stands in the history."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_streams.log import wire
from workflow_streams.log.fold import (
    Accepted,
    Closed,
    Duplicate,
    Fenced,
    Fold,
    Malformed,
    OutOfSequence,
    Regression,
    Superseded,
    Verdict,
    note_verdict,
)
from workflow_streams.log.publisher_ids import (
    ActivityPublisher,
    Attempt,
    Producer,
    WorkflowPublisher,
)
from workflow_streams.log.records import parse_record, record_payload

from .fold_model import Batch, FoldModel, FromActivity, Garbage, Outcome, Own, Step, Truncate
from .stories import first_attempt, from_activity, openings, plain, stories


def fold_of(opening: FoldModel) -> Fold:
    return Fold(
        opening.first,
        opening.base,
        {who.id: sequence for who, sequence in opening.carried},
        opening.keep_last,
        fences=opening.fences,
        closable=opening.closable,
        order=opening.order,
    )


def take(fold: Fold, step: Step) -> Verdict | None:
    match step:
        case Batch(who, sequence, count, close, order):
            return fold.batch(who.id, sequence, count, close=close, order=order)
        case Own(count):
            return fold.own(count)
        case Truncate(base):
            return fold.truncate(base)
        case Garbage():
            return fold.reject()


def outcome(verdict: Verdict | None) -> Outcome | None:
    match verdict:
        case Accepted(offset, _, None):
            return Outcome("accepted", offset)
        case Accepted(offset, _, Superseded() as s):
            return Outcome("accepted", offset, offsets(s.ranges), s.attempt)
        case Duplicate(last):
            return Outcome("duplicate", fact=last)
        case Fenced(attempt):
            return Outcome("fenced", fact=attempt)
        case OutOfSequence(expected, new_session):
            return Outcome("out of sequence", fact=(expected, new_session))
        case Regression(last):
            return Outcome("regression", fact=last)
        case Closed(by_this):
            return Outcome("closed", fact=by_this)
        case _:
            return None


def offsets(ranges: tuple[range, ...]) -> frozenset[int]:
    return frozenset(offset for part in ranges for offset in part)


@settings(max_examples=4 * settings().max_examples)
@given(openings(), stories)
def test_every_verdict_and_every_bound_is_what_the_rules_say(
    model: FoldModel, story: list[Step]
) -> None:
    fold = fold_of(model)
    for step in story:
        expected, verdict = model.take(step), take(fold, step)
        if isinstance(step, Batch):
            assert outcome(verdict) == expected
        assert (fold.head, fold.base) == (model.head, model.base)


@given(openings(), stories)
def test_offsets_are_dense_and_the_base_never_falls_or_passes_the_head(
    opening: FoldModel, story: list[Step]
) -> None:
    fold = fold_of(opening)
    given_out: list[int] = []
    base = fold.base
    for step in story:
        verdict = take(fold, step)
        if isinstance(verdict, Accepted):
            given_out += range(verdict.offset, verdict.offset + verdict.count)
        assert base <= fold.base <= fold.head
        base = fold.base
    assert given_out == list(range(opening.first, fold.head))


@given(openings(), stories)
def test_superseded_ranges_ascend_and_are_as_few_as_can_be(
    opening: FoldModel, story: list[Step]
) -> None:
    fold = fold_of(opening)
    for step in story:
        verdict = take(fold, step)
        if isinstance(verdict, Accepted) and verdict.superseded is not None:
            ranges = verdict.superseded.ranges
            assert all(part.start < part.stop and part.step == 1 for part in ranges)
            assert all(a.stop < b.start for a, b in itertools.pairwise(ranges))


@given(openings(fences=True, closable=False), stories, stories)
def test_a_run_opened_by_the_record_of_the_one_before_decides_the_same(
    opening: FoldModel, before: list[Step], after: list[Step]
) -> None:
    through = fold_of(opening)
    for step in before:
        take(through, step)
    record = wire.Record(
        through.base,
        opening=wire.Opening(
            through.head,
            through.base,
            through.publishers,
            [],
            through.keep_last,
            order=through.order,
            written=through.written,
        ),
    )
    parsed = parse_record(record_payload(record))
    assert parsed is not None
    assert parsed.opening is not None
    o = parsed.opening
    anew = Fold(o.head, o.base, o.publishers, o.keep_last, order=o.order, written=o.written)
    seam = through.base
    for step in after:
        expected, got = outcome(take(through, step)), outcome(take(anew, step))
        if expected is not None and expected.superseded is not None and got is not None:
            # What has been truncated before need not be taken back any more.
            here = frozenset(offset for offset in expected.superseded if offset >= seam)
            expected = Outcome(expected.what, expected.offset, here, expected.fact)
            there = frozenset(offset for offset in got.superseded or () if offset >= seam)
            got = Outcome(got.what, got.offset, there, got.fact)
        assert got == expected
        assert (anew.head, anew.base) == (through.head, through.base)


@given(openings(), stories, st.randoms(use_true_random=False))
def test_batches_sent_again_at_any_later_time_change_nothing(
    opening: FoldModel, story: list[Step], dice: random.Random
) -> None:
    fold, echoed = fold_of(opening), fold_of(opening)
    sent: list[Batch] = []
    for step in story:
        verdict = take(fold, step)
        assert outcome(take(echoed, step)) == outcome(verdict)
        if isinstance(step, Batch) and step.who.id and isinstance(verdict, Accepted):
            sent.append(step)
        for again in dice.sample(sent, min(2, len(sent))):
            assert isinstance(take(echoed, again), Duplicate | Fenced | Closed)
        assert (echoed.head, echoed.base) == (fold.head, fold.base)


@given(
    st.lists(st.builds(Batch, plain | first_attempt, st.integers(1, 4), st.integers(0, 3))),
    st.randoms(use_true_random=False),
)
def test_publishers_do_not_affect_each_other_however_their_batches_interleave(
    story: list[Batch], dice: random.Random
) -> None:
    by_publisher: dict[str, list[Batch]] = {}
    for batch in story:
        by_publisher.setdefault(batch.who.id, []).append(batch)
    turns = [batch.who.id for batch in story]
    dice.shuffle(turns)
    queues = {who: iter(own) for who, own in by_publisher.items()}
    shuffled = [next(queues[who]) for who in turns]

    def accepted(order: list[Batch]) -> tuple[int, dict[str, list[Batch]]]:
        fold, kept = Fold(), dict[str, list[Batch]]()
        for batch in order:
            if isinstance(fold.batch(batch.who.id, batch.sequence, batch.count), Accepted):
                kept.setdefault(batch.who.id, []).append(batch)
        return fold.head, kept

    assert accepted(shuffled) == accepted(story)


@given(openings(), stories)
def test_malformed_signals_are_counted_and_take_no_offset(
    opening: FoldModel, story: list[Step]
) -> None:
    fold = fold_of(opening)
    for step in story:
        before = fold.head, fold.base, dict(fold.publishers), fold.malformed
        verdict = take(fold, step)
        if isinstance(step, Garbage):
            assert verdict == Malformed()
            assert (fold.head, fold.base, fold.publishers, fold.malformed - 1) == before
        else:
            assert fold.malformed == before[3]


@given(openings(fences=True, closable=False), stories, from_activity)
def test_fenced_tells_beforehand_whether_a_batch_would_be(
    opening: FoldModel, story: list[Step], who: FromActivity
) -> None:
    fold = fold_of(opening)
    for step in story:
        take(fold, step)
    told = fold.fenced(who.id)
    assert told == isinstance(fold.batch(who.id, 1_000, 1), Fenced)


def publisher(attempt: int, *, scheduled: int = 0, nonce: str = "n", name: str = "pay") -> str:
    who = ActivityPublisher("run", name, Attempt(scheduled, attempt))
    return who.publisher_id(nonce)


def test_a_newer_attempt_takes_back_all_that_the_older_one_wrote_and_fences_it() -> None:
    fold = Fold()
    assert fold.batch(publisher(1), 1, 2) == Accepted(0, 2)
    assert fold.batch(publisher(1), 2, 1) == Accepted(2, 1)
    assert fold.batch("service", 1, 1) == Accepted(3, 1)
    assert fold.batch(publisher(1, nonce="other"), 1, 2) == Accepted(4, 2)
    taken_back = Superseded((range(3), range(4, 6)), "pay", 2)
    assert fold.batch(publisher(2), 1, 0) == Accepted(6, 0, taken_back)
    assert fold.batch(publisher(1), 3, 9) == Fenced(2)
    assert fold.batch(publisher(2), 1, 0) == Duplicate()
    assert fold.batch(publisher(2), 2, 1) == Accepted(6, 1)
    assert fold.batch(publisher(2, name="ship"), 1, 1) == Accepted(7, 1)
    assert fold.batch(publisher(3), 1, 1) == Accepted(8, 1, Superseded((range(6, 7),), "pay", 3))


def test_empty_batches_leave_nothing_to_take_back() -> None:
    fold = Fold()
    fold.batch(publisher(1), 1, 0)
    fold.own(1)
    fold.batch(publisher(1), 2, 1)
    fold.own(1)
    fold.batch(publisher(1), 3, 0)
    assert fold.batch(publisher(2), 1, 0) == Accepted(3, 0, Superseded((range(1, 2),), "pay", 2))


def test_a_refused_batch_of_a_newer_attempt_does_not_take_over() -> None:
    fold = Fold(order="k")
    assert fold.batch(publisher(1), 1, 1) == Accepted(0, 1)
    assert fold.batch(publisher(2), 1, 1, order="a") == Regression("k")
    assert fold.batch(publisher(1), 2, 1) == Accepted(1, 1)
    assert fold.batch(publisher(2), 1, 1) == Accepted(2, 1, Superseded((range(2),), "pay", 2))


def test_an_activity_that_was_reset_starts_at_attempt_1_again_and_still_takes_over() -> None:
    fold = Fold()
    assert fold.batch(publisher(5, scheduled=1_000), 1, 1) == Accepted(0, 1)
    assert fold.batch(publisher(1, scheduled=2_000), 1, 1) == Accepted(
        1, 1, Superseded((range(1),), "pay", 1)
    )
    assert fold.batch(publisher(6, scheduled=1_500), 1, 1) == Fenced(1)


def test_without_fences_all_attempts_count_alike_and_are_deduplicated() -> None:
    fold = Fold(fences=False)
    assert fold.batch(publisher(2), 1, 1) == Accepted(0, 1)
    assert fold.batch(publisher(1), 1, 1) == Accepted(1, 1)
    assert fold.batch(publisher(1), 1, 1) == Duplicate()


def test_of_the_attempts_in_the_opening_record_the_newest_counts() -> None:
    for table in ({publisher(1): 4, publisher(2): 1}, {publisher(2): 1, publisher(1): 4}):
        fold = Fold(publishers=table)
        assert fold.fenced(publisher(1))
        assert not fold.fenced(publisher(2))
        assert not fold.fenced(publisher(9, name="unknown"))
        assert not fold.fenced("service")
        assert fold.batch(publisher(1), 5, 1) == Fenced(2)
        assert fold.batch(publisher(2), 1, 1) == Duplicate()
        assert fold.batch(publisher(3), 1, 1) == Accepted(0, 1, Superseded((), "pay", 3))


def child(run: int, attempt: int, *, name: str = "ship", retries: int | None = None) -> str:
    """Workflow code that publishes elsewhere; its runs begin one after the other."""
    before = run - 1 if retries is None else retries
    at = Attempt(run, attempt)
    who = WorkflowPublisher("first", name, at, f"run {run}", f"run {before}" if before else "")
    return who.publisher_id("n")


def test_a_retry_of_another_workflow_takes_back_what_its_failed_run_wrote() -> None:
    fold = Fold()
    assert fold.batch(child(1, 1), 1, 2) == Accepted(0, 2)
    assert fold.batch(child(1, 1, name="pay"), 1, 1) == Accepted(2, 1)
    assert fold.batch(child(2, 2), 1, 0) == Accepted(3, 0, Superseded((range(2),), "ship", 2))
    assert fold.batch(child(1, 1), 2, 1) == Fenced(2)
    assert fold.fenced(child(1, 1))
    assert fold.batch(child(2, 2), 2, 1) == Accepted(3, 1)
    assert fold.batch(child(3, 3), 1, 1) == Accepted(4, 1, Superseded((range(3, 4),), "ship", 3))


def test_a_run_that_continues_another_workflow_leaves_standing_what_that_wrote() -> None:
    fold = Fold()
    assert fold.batch(child(1, 1), 1, 2) == Accepted(0, 2)
    assert fold.batch(child(2, 2), 1, 1) == Accepted(2, 1, Superseded((range(2),), "ship", 2))
    assert fold.batch(child(3, 1), 1, 1) == Accepted(3, 1)
    assert fold.batch(child(4, 2), 1, 1) == Accepted(4, 1, Superseded((range(3, 4),), "ship", 2))


def test_a_retry_of_a_run_that_wrote_nothing_takes_back_nothing_of_the_one_before() -> None:
    fold = Fold()
    assert fold.batch(child(1, 1), 1, 2) == Accepted(0, 2)
    assert fold.batch(child(3, 2), 1, 1) == Accepted(2, 1)
    # After a retry that has written nothing, an earlier attempt is taken for the same run's.
    taken_back = Superseded((range(2, 3),), "ship", 4)
    assert fold.batch(child(5, 4), 1, 1) == Accepted(3, 1, taken_back)


def test_a_workflow_and_an_activity_of_the_same_name_have_nothing_to_do_with_each_other() -> None:
    workflow = WorkflowPublisher("run", "pay", Attempt(1, 2), "run 2", "run 1")
    activity = ActivityPublisher("run", "pay", Attempt(0, 1))
    assert not workflow.supersedes(activity)
    fold = Fold()
    assert fold.batch(activity.publisher_id("n"), 1, 1) == Accepted(0, 1)
    assert fold.batch(workflow.publisher_id("n"), 1, 1) == Accepted(1, 1)


def test_what_the_newest_attempt_wrote_is_handed_on_as_far_as_it_is_retained() -> None:
    fold = Fold(10, written={"run/pay": [range(2)]}, publishers={publisher(1): 1})
    assert fold.written == {"run/pay": [range(2)]}
    fold.batch(publisher(1), 2, 2)
    fold.batch("service", 1, 1)
    fold.batch(publisher(1, nonce="other"), 1, 2)
    fold.truncate(11)
    expected = [range(11, 12), range(13, 15)]
    assert fold.written == {"run/pay": expected}
    assert fold.written_by(publisher(1)) == ("run/pay", expected)
    assert fold.written_by(publisher(1, nonce="other")) == ("run/pay", expected)
    assert fold.written_by(publisher(2)) == fold.written_by("service") == ("", [])
    assert fold.written_by(publisher(1, name="ship")) == ("", [])
    fold.batch(publisher(2), 1, 0)
    assert fold.written_by(publisher(1)) == ("", [])
    assert fold.written == {}


def test_a_ring_buffer_keeps_the_newest_items_and_never_brings_back_truncated_ones() -> None:
    fold = Fold(keep_last=3)
    fold.own(2)
    assert (fold.base, fold.head) == (0, 2)
    fold.batch("", 0, 5)
    assert (fold.base, fold.head) == (4, 7)
    fold.truncate(6)
    fold.own(1)
    assert (fold.base, fold.head) == (6, 8)
    fold.truncate(99)
    assert (fold.base, fold.head) == (8, 8)


def test_a_producer_numbers_its_batches_without_a_gap_and_a_new_session_begins_anew() -> None:
    fold = Fold()
    first, second = Producer("browser", 1).publisher_id, Producer("browser", 2).publisher_id
    assert fold.batch(first, 2, 1) == OutOfSequence(1)
    assert fold.batch(first, 1, 1) == Accepted(0, 1)
    assert fold.batch(first, 1, 1) == Duplicate(1)
    assert fold.batch(first, 3, 1) == OutOfSequence(2)
    assert fold.batch(second, 2, 1) == OutOfSequence(1, new_session=True)
    assert fold.batch(first, 2, 1) == Accepted(1, 1)
    assert fold.batch(second, 1, 1) == Accepted(2, 1)
    assert fold.batch(first, 3, 1) == Fenced(2)
    # What older sessions wrote stands; what is known of them is forgotten.
    assert fold.publishers == {second: 1}
    for table in ({first: 2, second: 1}, {second: 1, first: 2}):
        assert Fold(publishers=table).batch(first, 3, 1) == Fenced(2)


def test_after_the_batch_that_closes_a_stream_nothing_is_taken() -> None:
    fold = Fold(closable=True)
    assert fold.batch("a", 1, 2) == Accepted(0, 2)
    assert fold.batch("a", 2, 1, close=True) == Accepted(2, 1)
    assert fold.closed
    assert fold.batch("a", 2, 1, close=True) == Closed(by_this=True)
    assert fold.batch("a", 3, 1) == Closed(by_this=False)
    assert fold.batch("b", 1, 0) == Closed(by_this=False)
    assert fold.head == 3
    # Nobody in particular cannot tell that it was itself.
    fold = Fold(closable=True)
    assert fold.batch("", 0, 1, close=True) == Accepted(0, 1)
    assert fold.batch("", 0, 1, close=True) == Closed(by_this=False)


def test_a_stream_that_was_closed_in_an_earlier_run_stays_closed() -> None:
    fold = Fold(3, publishers={"a": 2}, closable=True, closed_by=("a", 2))
    assert fold.closed
    assert fold.batch("a", 2, 1, close=True) == Closed(by_this=True)
    assert fold.batch("a", 3, 1) == Closed(by_this=False)
    assert fold.head == 3


def test_a_stream_that_its_workflow_ends_cannot_be_closed_by_a_batch() -> None:
    fold = Fold()
    assert fold.batch("a", 1, 1, close=True) == Accepted(0, 1)
    assert not fold.closed
    assert fold.batch("a", 2, 1) == Accepted(1, 1)


def test_an_ordering_key_has_to_rise_over_all_writers_that_give_one() -> None:
    fold = Fold()
    assert fold.batch("a", 1, 1, order="k2") == Accepted(0, 1)
    assert fold.batch("b", 1, 1, order="k2") == Regression("k2")
    assert fold.batch("b", 1, 1, order="k10") == Regression("k2")
    assert fold.batch("b", 1, 1) == Accepted(1, 1)
    assert fold.batch("b", 2, 1, order="k3") == Accepted(2, 1)
    assert fold.order == "k3"


@pytest.mark.parametrize("sequence", [0, -1, 10**40])
def test_any_sequence_counts_once(sequence: int) -> None:
    fold = Fold()
    assert fold.batch("service", sequence, 1) == Accepted(0, 1)
    assert fold.batch("service", sequence, 1) == Duplicate()
    assert fold.batch("service", sequence + 1, 1) == Accepted(1, 1)


def test_verdict_on_what_stands_is_kept_when_copies_of_it_come() -> None:
    verdicts: dict[int, Verdict] = {}
    for verdict in (Accepted(4, 1), Duplicate(1), Fenced(2), Closed(by_this=False)):
        note_verdict(verdicts, 1, verdict)
    note_verdict(verdicts, 2, Duplicate(2))
    note_verdict(verdicts, 3, Fenced(2))
    note_verdict(verdicts, 3, Closed(by_this=False))
    assert verdicts == {1: Accepted(4, 1), 3: Fenced(2)}


def test_verdict_of_a_workflow_started_anew_takes_the_place_of_the_one_before() -> None:
    verdicts: dict[int, Verdict] = {}
    for verdict in (Accepted(4, 1), Accepted(2, 1)):
        note_verdict(verdicts, 1, verdict)
    assert verdicts == {1: Accepted(2, 1)}
