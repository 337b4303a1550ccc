"""Publisher ids: what one is made of comes back, and nothing else is taken for one."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from workflow_streams.log.fold import Accepted, Fold
from workflow_streams.log.publisher_ids import (
    ActivityPublisher,
    Attempt,
    Producer,
    WorkflowPublisher,
    nonce_of,
    parse_producer,
    parse_publisher_id,
    parse_retried,
    parse_workflow_publisher,
    short,
)

no_slash = st.text(st.characters(exclude_characters="/"))
numbers = st.integers(0, 10**20 - 1)


@given(no_slash, st.text(), numbers, numbers, no_slash)
def test_an_activitys_id_tells_activity_and_attempt(
    run_id: str, activity_id: str, scheduled: int, number: int, nonce: str
) -> None:
    who = ActivityPublisher(run_id, activity_id, Attempt(scheduled, number))
    assert parse_publisher_id(who.publisher_id(nonce)) == who
    assert parse_producer(who.publisher_id(nonce)) is None
    assert parse_workflow_publisher(who.publisher_id(nonce)) is None


@given(no_slash, st.text(), numbers, numbers, no_slash, no_slash, no_slash)
def test_a_workflows_id_tells_workflow_and_run(
    first: str, workflow_id: str, begun: int, number: int, run: str, before: str, nonce: str
) -> None:
    who = WorkflowPublisher(first, workflow_id, Attempt(begun, number), run, before)
    assert parse_retried(who.publisher_id(nonce)) == who
    assert parse_publisher_id(who.publisher_id(nonce)) is None
    assert parse_producer(who.publisher_id(nonce)) is None


@given(st.text(), numbers)
def test_a_producers_id_tells_producer_and_session(producer_id: str, epoch: int) -> None:
    producer = Producer(producer_id, epoch)
    assert parse_producer(producer.publisher_id) == producer
    assert parse_publisher_id(producer.publisher_id) is None


@given(st.text() | st.lists(st.text(max_size=3), max_size=8).map("/".join))
@example("wfs1/run/1/2/nonce")
@example("wfs1/run/+1/2/nonce/activity")
@example("wfs1/run/1/²/nonce/activity")
@example("wfs1/run/1/\N{ARABIC-INDIC DIGIT THREE}/nonce/activity")
@example("wfs1/run//2/nonce/activity")
@example("wfs2/run/1/2/nonce/activity")
@example(f"wfs1/run/{'9' * 5_000}/1/nonce/activity")
@example(f"wfs1/run/1/{'1' * 21}/nonce/activity")
@example("wfw1/first/1/2/run/before/nonce")
@example("wfw1/first/1/-2/run/before/nonce/workflow")
@example("wfw2/first/1/2/run/before/nonce/workflow")
@example("wfp1/1")
@example("wfp1/-1/producer")
@example("wfp1//producer")
@example("wfp1/²/producer")
@example(f"wfp1/{'9' * 5_000}/producer")
@example(f"wfp1/{'1' * 21}/producer")
def test_ids_of_any_other_shape_say_nothing(publisher_id: str) -> None:
    assert parse_retried(publisher_id) is None
    assert parse_producer(publisher_id) is None
    fold = Fold()
    assert fold.batch(publisher_id, 7, 1) == Accepted(0, 1)
    assert not fold.fenced(publisher_id)


@given(st.text(max_size=100))
@example("1a2b3c4d5e6f7a8b")
@example("a/b")
@example("x" * 33)
@example("\ud800" * 33)
def test_a_nonce_is_short_and_fits_into_an_id(name: str) -> None:
    nonce = nonce_of(name)
    assert nonce == nonce_of(name)
    assert len(nonce) <= 32
    who = ActivityPublisher("run", "activity", Attempt(1, 1))
    assert parse_publisher_id(who.publisher_id(nonce)) == who
    assert (nonce == name) == (len(name) <= 32 and "/" not in name)


@given(st.text(st.characters(codec=None), min_size=250, max_size=300))
def test_a_long_activity_id_is_shortened_to_one_that_is_its_own(activity_id: str) -> None:
    shortened = short(activity_id)
    assert len(shortened) == min(len(activity_id), 256)
    assert (shortened == activity_id) == (len(activity_id) <= 256)
    assert short(activity_id) == shortened
    assert short(activity_id + "x") != shortened
    publisher = ActivityPublisher("run", shortened, Attempt(1, 1))
    assert parse_publisher_id(publisher.publisher_id("nonce")) == publisher
