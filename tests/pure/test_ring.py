"""The ring finds each place again, or says that not all that comes after it is there."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from workflow_streams.events import Rewind
from workflow_streams.log.fold import Duplicate
from workflow_streams.log.intake import Judged
from workflow_streams.log.wire import Entry
from workflow_streams.read.feeds.ring import Ring
from workflow_streams.read.moments import BEFORE_ALL, Chunk, Moment, Opened, Place

# How many moments each run brings, and how many of the oldest are dropped in the end.
Story = tuple[list[int], int]


@st.composite
def stories(draw: st.DrawFn) -> Story:
    runs = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    return runs, draw(st.integers(0, sum(runs)))


def moments_of(runs: list[int]) -> list[Moment]:
    return [
        Moment(f"run-{k}", 10 * (n // 2) + 1, 0, 0, nth=n % 2, opened=None if n else Opened())
        for k, count in enumerate(runs)
        for n in range(count)
    ]


def ring_of(moments: list[Moment], dropped: int) -> Ring:
    ring = Ring()
    for moment in moments:
        ring.append(moment)
    for moment in moments[:dropped]:
        assert ring[ring.start] is moment
        ring.drop()
    return ring


@given(stories())
def test_it_counts_on_and_holds_what_was_not_dropped(story: Story) -> None:
    runs, dropped = story
    moments = moments_of(runs)
    ring = ring_of(moments, dropped)
    assert (ring.start, ring.stop, len(ring)) == (dropped, len(moments), len(moments) - dropped)
    assert [ring[i] for i in range(ring.start, ring.stop)] == moments[dropped:]
    assert ring.size == sum(moment.size for moment in moments[dropped:])
    if len(ring):
        assert ring[-1] is moments[-1]


@given(stories(), st.data())
def test_after_a_place_comes_what_came_after_it_or_it_is_not_all_here(
    story: Story, data: st.DataObject
) -> None:
    runs, dropped = story
    moments = moments_of(runs)
    ring = ring_of(moments, dropped)
    reading = moments[-1].run_id
    run_id = data.draw(st.sampled_from([f"run-{k}" for k in range(len(runs))]))
    places = [BEFORE_ALL, *(m.place for m in moments if m.run_id == run_id), (10**6, 0)]
    place: Place = data.draw(st.sampled_from(places))
    runs_so_far = [f"run-{k}" for k in range(len(runs))]
    rank = runs_so_far.index
    after = [
        i
        for i, m in enumerate(moments)
        if rank(m.run_id) > rank(run_id) or (m.run_id == run_id and m.place > place)
    ]
    first = after[0] if after else len(moments)
    found = ring.index_after(run_id, place, reading=reading)
    if found is None:
        # Something that comes after the place was dropped, or nothing tells that it was not.
        assert first < dropped or all(m.run_id != run_id for m in moments[dropped:])
    else:
        assert found == first >= dropped


@given(stories())
def test_the_place_before_an_index_leads_back_to_it(story: Story) -> None:
    runs, dropped = story
    moments = moments_of(runs)
    ring = ring_of(moments, dropped)
    for index in range(ring.start, ring.stop):
        run_id, place = ring.place_before(index)
        found = ring.index_after(run_id, place, reading=moments[-1].run_id)
        # Of a run that is not here any more nothing tells that it had no more to bring.
        assert found == index or (found is None and run_id != moments[index].run_id)


def test_a_reading_that_began_midway_does_not_know_what_came_before() -> None:
    midway = Moment("run", 7, 3, 0, midway=True, chunk=Chunk(2, [("t", b"", b"x")], 2))
    ring = Ring()
    ring.append(midway)
    assert ring.index_after("run", (3, 0), reading="run") is None
    assert ring.index_after("run", (7, 0), reading="run") == 1
    assert ring.index_after("another", (3, 0), reading="run") is None
    assert ring.place_before(0) == ("run", (7, 0))
    assert ring.size == midway.size > Moment("run", 7, 3, 0).size


def test_what_was_dropped_is_not_passed_over() -> None:
    moments = moments_of([3])
    ring = ring_of(moments, 3)
    assert ring.index_after("run-0", BEFORE_ALL, reading="run-0") is None
    assert ring.index_after("run-0", moments[0].place, reading="run-0") is None
    assert ring.index_after("run-0", moments[-1].place, reading="run-0") == 3


BEFORE_ALL_OF_RUN = ("run", BEFORE_ALL)


class Entries(list[Entry]):
    """A list that can be watched."""


def test_of_what_was_dropped_nothing_is_held_but_its_place() -> None:
    entries = Entries([("t", b"", b"x" * 1000)])
    alive = weakref.ref(entries)
    ring = Ring()
    ring.append(Moment("run", 7, 1, 0, chunk=Chunk(0, entries, 1000)))
    del entries
    ring.drop()
    gc.collect()
    assert alive() is None
    assert ring.size == 0
    assert ring.place_before(1) == ("run", (7, 0))


def test_all_that_a_moment_holds_is_counted() -> None:
    ranges = tuple(range(k, k + 1) for k in range(0, 2000, 2))
    plain = Moment("run", 7, 3, 0)
    taken_back = Moment("run", 7, 3, 0, rewind=Rewind(ranges, "attempt", 9))
    assert taken_back.size > plain.size + 50 * len(ranges)
    tagged = Moment("run", 7, 3, 0, judged=Judged(Duplicate(1), [], tag="t" * 5000))
    assert tagged.size >= plain.size + 5000


def items(offset: int, count: int) -> Chunk:
    return Chunk(offset, [("t", b"", b"x")] * count, count)


def test_the_floor_is_where_all_items_from_there_on_are_in_the_ring() -> None:
    ring = Ring()
    assert ring.floor is None
    ring.append(Moment("run", 5, 10, 0, opened=Opened(), chunk=items(7, 3)))
    ring.append(Moment("run", 9, 12, 0, chunk=items(10, 2)))
    assert (ring.floor, ring.place_before_floor()) == (7, BEFORE_ALL_OF_RUN)
    ring.drop()
    assert (ring.floor, ring.place_before_floor()) == (10, ("run", (5, 0)))
    # Opening the next run does not bring back what has been dropped.
    ring.append(Moment("next", 5, 12, 0, opened=Opened()))
    assert (ring.floor, ring.place_before_floor()) == (10, ("run", (5, 0)))


def test_whoever_joins_after_a_restart_begins_after_what_took_items_back() -> None:
    ring = Ring()
    ring.append(Moment("run", 5, 2, 0, opened=Opened(), chunk=items(0, 2)))
    rewind = Rewind((range(1, 2),), "reset", 1)
    ring.append(Moment("again", 5, 1, 0, opened=Opened(), rewind=rewind))
    ring.append(Moment("again", 9, 3, 0, chunk=items(1, 2)))
    assert (ring.floor, ring.place_before_floor()) == (1, ("again", (5, 0)))
    ring.drop()
    assert (ring.floor, ring.place_before_floor()) == (1, ("again", (5, 0)))
    for _ in range(2):
        ring.drop()
    assert (ring.floor, ring.place_before_floor()) == (3, ("again", (9, 0)))
