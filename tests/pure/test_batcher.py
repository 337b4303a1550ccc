"""The publisher's buffer: order kept, nothing lost or double, limits and due times held."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.texts import entry_json
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.compact import compact_payload, parse_compact
from workflow_streams.log.payloads import JSON_KIND
from workflow_streams.log.wire import Batch, Entry
from workflow_streams.publish.batcher import Batcher, Outgoing, compact_bytes

from .messages import entries, plain

AT_ONCE = float("-inf")


def entry_of(size: int, number: int = 0) -> Entry:
    """Return an entry that counts so many bytes in the compact form, 16 at least."""
    return "", b"", f"{number:x}".ljust(size - 2, ".")[: size - 2].encode()


def size_of(entry: Entry, *, compact: bool) -> int:
    """Return how much an entry counts: in JSON, with the comma after it."""
    topic, kind, data = entry
    if compact:
        return max(16, len(json.dumps(topic)) + len(kind) + len(data))
    return len(entry_json(*entry) + ",")


@dataclass
class Waiting:
    number: int
    entry: Entry
    forced: bool = False


class Buffering(RuleBasedStateMachine):
    """A publisher, its clock and its network, in any order; beside it a plain list."""

    @initialize(
        interval=st.sampled_from([0.0, 0.1, 2.0]),
        max_batch_bytes=st.integers(5, 120),
        max_batch_size=st.none() | st.integers(1, 6),
        max_items=st.integers(1, 12),
        max_bytes=st.integers(5, 300),
        compact=st.booleans(),
    )
    def begin(
        self,
        interval: float,
        max_batch_bytes: int,
        max_batch_size: int | None,
        max_items: int,
        max_bytes: int,
        compact: bool,
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
        self.compact = False
        if compact:
            self.measure(compact=True)

    def size_of(self, *entries: Entry) -> int:
        return sum(size_of(entry, compact=self.compact) for entry in entries)

    @property
    def held(self) -> int:
        return self.size_of(*(waiting.entry for waiting in self.waiting))

    @rule(compact=st.booleans())
    def measure(self, compact: bool) -> None:
        """It was found out whether the host reads the compact form."""
        self.batcher.measure_compact(compact=compact)
        self.compact = compact

    @rule(entry=st.builds(entry_of, st.integers(16, 60)) | entries)
    def publish(self, entry: Entry) -> None:
        size, held = self.size_of(entry), self.held
        room = len(self.waiting) < self.max_items and held + size <= self.max_bytes
        number = self.batcher.add(entry)
        if self.waiting and not room:
            assert number is None
            return
        assert number == self.added
        self.waiting.append(Waiting(self.added, entry))
        self.added += 1
        full = held + size >= self.max_batch_bytes
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
        entries = [w.entry for w in taken]
        size = self.size_of(*entries)
        assert batch == Outgoing(self.sequence, entries, taken[-1].number, size)
        self.last_taken = self.now

        assert count <= self.max_batch_size
        assert count == 1 or self.size_of(*batch.entries) <= self.max_batch_bytes
        # No smaller than it had to be.
        if self.waiting and count < self.max_batch_size:
            more = [*batch.entries, self.waiting[0].entry]
            assert self.size_of(*more) > self.max_batch_bytes

    @rule()
    def announce(self) -> None:
        """An empty batch takes a number and leaves what waits, and when, as it was."""
        before = self.batcher.due()
        self.sequence += 1
        last = self.added - len(self.waiting) - 1
        assert self.batcher.take_empty() == Outgoing(self.sequence, [], last, 0)
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
        # Items may have been added when they counted less.
        least = sum(size_of(w.entry, compact=True) for w in self.waiting)
        assert least <= self.max_bytes or len(self.waiting) == 1


TestBuffering = Buffering.TestCase


def batcher(**limits: int) -> Batcher:
    buffer = Batcher(
        interval=0.1,
        max_batch_bytes=limits.get("max_batch_bytes", 1_000),
        max_batch_size=limits.get("max_batch_size"),
        max_items=limits.get("max_items", 100),
        max_bytes=limits.get("max_bytes", 10_000),
    )
    buffer.measure_compact(compact=True)
    return buffer


A, B, C = (("t", b"", data) for data in (b"a", b"b", b"c"))


def test_the_first_item_after_a_pause_goes_at_once_and_later_ones_once_per_interval() -> None:
    buffer = batcher()
    assert buffer.due() is None
    buffer.add(A)
    assert buffer.due() == AT_ONCE
    assert buffer.take(50.0) == Outgoing(1, [A], 0, compact_bytes(*A))
    buffer.add(B)
    buffer.add(C)
    assert buffer.due() == 50.1
    assert buffer.take(50.1) == Outgoing(2, [B, C], 2, 2 * compact_bytes(*B))


def test_what_was_forced_is_due_and_what_came_later_waits_its_turn() -> None:
    buffer = batcher(max_batch_size=2)
    buffer.add(A)
    buffer.take(50.0)
    buffer.add(B)
    buffer.force()
    assert buffer.due() == AT_ONCE
    assert buffer.take(50.0).entries == [B]
    buffer.add(C)
    assert buffer.due() == 50.1


def test_a_full_batch_is_due_by_count_or_by_bytes() -> None:
    for limits in ({"max_batch_size": 3}, {"max_batch_bytes": 60}):
        buffer = batcher(**limits)
        buffer.add(entry_of(20))
        buffer.take(50.0)
        buffer.add(entry_of(20))
        buffer.add(entry_of(20))
        assert buffer.due() == 50.1
        buffer.add(entry_of(20))
        assert buffer.due() == AT_ONCE


def test_batches_are_no_larger_than_allowed_by_count_and_by_bytes() -> None:
    for limits in ({"max_batch_size": 3}, {"max_batch_bytes": 3 * 20}):
        buffer = batcher(**limits)
        for _ in range(8):
            buffer.add(entry_of(20))
        assert [len(buffer.take(0.0).entries) for _ in range(3)] == [3, 3, 2]


def test_an_entry_larger_than_a_batch_goes_alone() -> None:
    buffer = batcher(max_batch_bytes=30)
    for size in (20, 50, 20):
        buffer.add(entry_of(size))
    sizes = []
    while buffer:
        sizes.append([compact_bytes(*entry) for entry in buffer.take(0.0).entries])
    assert sizes == [[20], [50], [20]]


def test_an_empty_buffer_takes_any_entry_and_a_full_one_none() -> None:
    buffer = batcher(max_items=2, max_bytes=100)
    assert buffer.add(entry_of(500)) == 0
    assert buffer.clear() == 1
    assert buffer.add(entry_of(60)) == 1
    assert buffer.add(entry_of(41)) is None
    assert buffer.add(entry_of(40)) == 2
    assert buffer.add(entry_of(16)) is None
    assert buffer.clear() == 2
    assert buffer.add(entry_of(500)) == 3
    assert buffer.added == 4


def test_items_that_wait_are_measured_anew_once_it_is_known_how_they_are_sent() -> None:
    buffer, entry = batcher(max_batch_bytes=200), ("topic", b"k" * 24, b"x")
    in_json, in_compact = (size_of(entry, compact=compact) for compact in (False, True))
    assert (in_json, in_compact) == (len(entry_json(*entry)) + 1, 7 + 24 + 1)
    for _ in range(100):
        buffer.add(entry)
    for compact, size in ((False, in_json), (True, in_compact), (True, in_compact)):
        buffer.measure_compact(compact=compact)
        assert len(buffer.take(0.0).entries) == 200 // size
    assert buffer.clear() == 100 - 200 // in_json - 2 * (200 // in_compact)
    buffer.measure_compact(compact=False)
    assert [buffer.add(entry), buffer.add(entry)] == [100, 101]


@pytest.mark.parametrize(
    "entry",
    [
        ("", b"", b""),
        ("t", b"", b""),
        ("t", b"", b"x" * 13),
        ("", b"", b"x" * 15),
        *plain("t", 1),
        ("", JSON_KIND, b"x" * 200),
        ("é\ud83d", JSON_KIND, b"1"),
    ],
)
def test_a_batch_that_was_measured_in_the_compact_form_fits_into_a_signal_in_either(
    entry: Entry,
) -> None:
    buffer = batcher(
        max_batch_bytes=wire.MAX_BATCH_BYTES, max_items=10**6, max_bytes=3 * wire.MAX_BATCH_BYTES
    )
    while buffer.add(entry) is not None:
        pass
    taken = buffer.take(0.0).entries
    assert buffer
    payload = compact_payload([Batch(taken, "p", 1)])
    assert isinstance(parse_compact(payload.data), list)
    assert len(batch_payload(taken, "p", 1).data) < wire.MAX_SIGNAL_BYTES - 64 * 1024
