"""Publisher ids: what one is made of comes back, and nothing else is taken for one."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from workflow_streams.fold import Accepted, Fold
from workflow_streams.publisher_ids import (
    ActivityPublisher,
    Attempt,
    parse_publisher_id,
)

no_slash = st.text(st.characters(exclude_characters="/"))
numbers = st.integers(0, 10**20 - 1)


@given(
    run_id=st.text(st.characters(exclude_characters="/")),
    activity_id=st.text(),
    scheduled=st.integers(0, 10**20 - 1),
    number=st.integers(0, 10**20 - 1),
    nonce=st.text(st.characters(exclude_characters="/")),
)
def test_a_publisher_id_tells_the_activity_and_attempt_it_was_made_of(
    run_id: str, activity_id: str, scheduled: int, number: int, nonce: str
) -> None:
    who = ActivityPublisher(run_id, activity_id, Attempt(scheduled, number))
    assert parse_publisher_id(who.publisher_id(nonce)) == who


@given(st.text() | st.lists(st.text(max_size=3), max_size=8).map("/".join))
@example("wfs1/run/1/2/nonce")
@example("wfs1/run/+1/2/nonce/activity")
@example("wfs1/run/1/²/nonce/activity")
@example("wfs1/run/1/٣/nonce/activity")
@example("wfs1/run//2/nonce/activity")
@example("wfs2/run/1/2/nonce/activity")
@example(f"wfs1/run/{'9' * 5_000}/1/nonce/activity")
def test_ids_of_any_other_shape_have_no_attempts(publisher_id: str) -> None:
    assert parse_publisher_id(publisher_id) is None
    fold = Fold()
    assert fold.batch(publisher_id, 1, 1) == Accepted(0, 1)
    assert not fold.fenced(publisher_id)
