"""The publisher's buffer: order kept, nothing lost or double, limits and due times held."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from workflow_streams.publish.batcher import Batcher, Outgoing

AT_ONCE = float("-inf")


@dataclass
class Waiting:
    number: int
    entry: str
    forced: bool = False


class Buffering(RuleBasedStateMachine):
    """A publisher, its clock and its network, in any order; beside it a plain list."""

    @initialize(
        interval=st.sampled_from([0.0, 0.1, 2.0]),
        max_batch_bytes=st.integers(5, 60),
        max_batch_size=st.none() | st.integers(1, 6),
        max_items=st.integers(1, 12),
        max_bytes=st.integers(5, 150),
    )
    def begin(
        self,
        interval: float,
        max_batch_bytes: int,
        max_batch_size: int | None,
        max_items: int,
        max_bytes: int,
    ) -> None:
        self.batcher = Batcher(
            interval=interval,
            max_batch_bytes=max_batch_bytes,
            max_batch_size=max_batch_size,
            max_items=max_items,
            max_bytes=max_bytes,
        )
        self.interval = interval
        self.max_batch_bytes = max_batch_bytes
        self.max_batch_size = max_batch_size or 1_000
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.now = 100.0
        self.last_taken: float | None = None
        self.added = 0
        self.sequence = 0
        self.waiting: list[Waiting] = []

    @rule(size=st.integers(1, 40))
    def publish(self, size: int) -> None:
        entry = f"{self.added:x}".ljust(size, ".")
        held = sum(len(w.entry) for w in self.waiting)
        room = len(self.waiting) < self.max_items and held + len(entry) <= self.max_bytes
        assert self.batcher.has_room(len(entry)) == (room or not self.waiting)
        if not self.batcher.has_room(len(entry)):
            return
        assert self.batcher.add(entry) == self.added
        self.waiting.append(Waiting(self.added, entry))
        self.added += 1
        full = held + len(entry) >= self.max_batch_bytes
        if full or len(self.waiting) >= self.max_batch_size:
            self.force_all()

    @rule()
    def force(self) -> None:
        self.batcher.force()
        self.force_all()

    def force_all(self) -> None:
        for waiting in self.waiting:
            waiting.forced = True

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.waiting)
    @rule()
    def send(self) -> None:
        """As a stopping publisher does: whatever the clock says."""
        batch = self.batcher.take(self.now)
        self.sequence += 1
        count = len(batch.entries)
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        assert batch == Outgoing(self.sequence, [w.entry for w in taken], taken[-1].number)
        self.last_taken = self.now

        assert count <= self.max_batch_size
        assert count == 1 or len(",".join(batch.entries)) <= self.max_batch_bytes
        # No smaller than it had to be.
        if self.waiting and count < self.max_batch_size:
            more = [*batch.entries, self.waiting[0].entry]
            assert len(",".join(more)) > self.max_batch_bytes

    @rule()
    def announce(self) -> None:
        """An empty batch takes a number and leaves what waits, and when, as it was."""
        before = self.batcher.due()
        self.sequence += 1
        last = self.added - len(self.waiting) - 1
        assert self.batcher.take_empty() == Outgoing(self.sequence, [], last)
        assert self.batcher.due() == before

    @rule()
    def give_up(self) -> None:
        assert self.batcher.clear() == len(self.waiting)
        self.waiting = []

    @invariant()
    def it_is_due_when_it_should_be(self) -> None:
        if not self.waiting:
            assert self.batcher.due() is None
        elif self.waiting[0].forced or self.last_taken is None:
            assert self.batcher.due() == AT_ONCE
        else:
            assert self.batcher.due() == self.last_taken + self.interval

    @invariant()
    def it_holds_what_waits_and_no_more_than_it_may(self) -> None:
        assert len(self.batcher) == len(self.waiting) <= self.max_items
        assert self.batcher.added == self.added
        held = sum(len(w.entry) for w in self.waiting)
        assert held <= self.max_bytes or len(self.waiting) == 1


TestBuffering = Buffering.TestCase


def batcher(**limits: int) -> Batcher:
    return Batcher(
        interval=0.1,
        max_batch_bytes=limits.get("max_batch_bytes", 1_000),
        max_batch_size=limits.get("max_batch_size"),
        max_items=limits.get("max_items", 100),
        max_bytes=limits.get("max_bytes", 10_000),
    )


def test_the_first_item_after_a_pause_goes_at_once_and_later_ones_once_per_interval() -> None:
    buffer = batcher()
    assert buffer.due() is None
    buffer.add("a")
    assert buffer.due() == AT_ONCE
    assert buffer.take(50.0) == Outgoing(1, ["a"], 0)
    buffer.add("b")
    buffer.add("c")
    assert buffer.due() == 50.1
    assert buffer.take(50.1) == Outgoing(2, ["b", "c"], 2)


def test_what_was_forced_is_due_and_what_came_later_waits_its_turn() -> None:
    buffer = batcher(max_batch_size=2)
    buffer.add("a")
    buffer.take(50.0)
    buffer.add("b")
    buffer.force()
    assert buffer.due() == AT_ONCE
    assert buffer.take(50.0).entries == ["b"]
    buffer.add("c")
    assert buffer.due() == 50.1


def test_a_full_batch_is_due_by_count_or_by_bytes() -> None:
    for limits in ({"max_batch_size": 3}, {"max_batch_bytes": 9}):
        buffer = batcher(**limits)
        buffer.add("xxx")
        buffer.take(50.0)
        buffer.add("xxx")
        buffer.add("xxx")
        assert buffer.due() == 50.1
        buffer.add("xxx")
        assert buffer.due() == AT_ONCE


def test_batches_are_no_larger_than_allowed_by_count_and_by_bytes() -> None:
    for limits in ({"max_batch_size": 3}, {"max_batch_bytes": len("xxx,xxx,xxx")}):
        buffer = batcher(**limits)
        for _ in range(8):
            buffer.add("xxx")
        assert [len(buffer.take(0.0).entries) for _ in range(3)] == [3, 3, 2]


def test_an_entry_larger_than_a_batch_goes_alone() -> None:
    buffer = batcher(max_batch_bytes=10)
    for entry in ("small", "x" * 50, "small"):
        buffer.add(entry)
    sizes = []
    while buffer:
        sizes.append([len(entry) for entry in buffer.take(0.0).entries])
    assert sizes == [[5], [50], [5]]


def test_an_empty_buffer_takes_any_entry_and_a_full_one_none() -> None:
    buffer = batcher(max_items=2, max_bytes=100)
    assert buffer.has_room(500)
    buffer.add("x" * 60)
    assert not buffer.has_room(41)
    assert buffer.has_room(40)
    buffer.add("x")
    assert not buffer.has_room(1)
    assert buffer.clear() == 2
    assert buffer.has_room(500)
    assert buffer.added == 2
