"""What reading a stream brings, step by step: the type between history and subscribers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from ..events import End, Gap, Outcome, Rewind
from ..log.fold import Accepted
from ..log.intake import Judged
from ..log.wire import DELETION_PUBLISHER, Entry, Rules, RunRef

Place = tuple[int, int]
"""Where a moment stands in its run: event id, and which of the moments of that event."""

BEFORE_ALL: Place = (0, -1)

# What a moment, an item of it and a range that it takes back hold in memory beside their content.
_MOMENT_BYTES = 300
_ENTRY_BYTES = 130
_RANGE_BYTES = 150


def content_size(entries: Sequence[Entry]) -> int:
    """Return the bytes of items: all data, and each topic and kind once, as they share these."""
    if not entries:
        return 0
    topics, kinds, datas = zip(*entries, strict=True)
    return sum(sum(map(len, parts)) for parts in (set(topics), set(kinds), datas))


def entries_size(entries: Sequence[Entry]) -> int:
    """Return the bytes that items hold in memory, roughly."""
    return content_size(entries) + _ENTRY_BYTES * len(entries)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Items that came together, the first at ``offset``; ``size`` is that of their content."""

    offset: int
    entries: list[Entry]
    size: int
    time: datetime | None = None

    @property
    def end(self) -> int:
        """Offset after the last item."""
        return self.offset + len(self.entries)


@dataclass(frozen=True, slots=True)
class Opened:
    """How a run begins.

    Attributes:
        line: The stream's runs up to this one, in order; the record names a limited number.
        rules: What the stream asks of its writers.
        keep_last: With a ring buffer, how many items are retained; else None.
        closed_by: Publisher id and sequence of the batch that closed it in an earlier run.
    """

    line: tuple[RunRef, ...] = ()
    rules: Rules | None = None
    keep_last: int | None = None
    closed_by: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """What one record did to the stream.

    ``rewind`` comes before ``chunk``. ``run_id``, ``event_id`` and ``nth`` are the record's
    place; on a polled stream the event id is the offset after the page. ``opened`` begins a
    run; ``midway`` says that the reading of the run began here, not at its first item: on a
    polled stream, or where a run ceases to repeat one that was read before.
    """

    run_id: str
    event_id: int
    head: int
    base: int
    rewind: Rewind | None = None
    chunk: Chunk | None = None
    gap: Gap | None = None
    end: End | None = None
    judged: Judged | None = None
    opened: Opened | None = None
    midway: bool = False
    nth: int = 0

    @property
    def place(self) -> Place:
        """Where it stands in its run."""
        return self.event_id, self.nth

    @property
    def restarts(self) -> bool:
        """Whether the workflow was restarted, so that offsets are used again from here on."""
        return self.rewind is not None and self.rewind.reason != "attempt"

    @property
    def size(self) -> int:
        """Bytes that it holds, roughly."""
        size = _MOMENT_BYTES
        if self.judged is not None:
            size += len(self.judged.tag)
        if self.rewind is not None:
            size += _RANGE_BYTES * len(self.rewind.ranges)
        if self.chunk is not None:
            size += self.chunk.size + _ENTRY_BYTES * len(self.chunk.entries)
        return size


class Effect(NamedTuple):
    """What a batch did to the stream, as a :class:`Moment` has it."""

    judged: Judged
    rewind: Rewind | None = None
    chunk: Chunk | None = None
    end: End | None = None


def effect_of(judged: Judged, run_id: str, time: datetime | None, *, closed: bool) -> Effect:
    """Return what a batch did.

    Args:
        judged: The batch, and the verdict on it.
        run_id: The run that took it.
        time: When it came.
        closed: Whether the stream is closed after it, so that it has closed the stream.
    """
    verdict = judged.verdict
    if not isinstance(verdict, Accepted):
        # No reader gets its items, so they are not kept.
        return Effect(replace(judged, entries=[]))
    rewind = end = None
    if (s := verdict.superseded) is not None:
        rewind = Rewind(s.ranges, "attempt", verdict.offset, s.activity_id, s.attempt)
    if closed:
        # A writer has closed the stream; its workflow ends when it comes to it.
        outcome = outcome_of_close(judged.publisher_id)
        end = End(outcome, verdict.offset + verdict.count, run_id)
    chunk = Chunk(verdict.offset, list(judged.entries), judged.size, time)
    return Effect(replace(judged, entries=chunk.entries), rewind, chunk, end)


def outcome_of_close(publisher_id: str) -> Outcome:
    """Return how a stream has ended that a batch of this publisher has closed."""
    # A stream that is deleted ends like one whose workflow is ended from outside, as that of other
    # deleted streams is.
    return "terminated" if publisher_id == DELETION_PUBLISHER else "completed"


@dataclass(frozen=True, slots=True)
class Page:
    """Moments that were read together, and how far the reading has come with them.

    Attributes:
        moments: In order, all of one run; there may be none.
        run_id: The run being read.
        place: Where in the run the last moment stands.
        seen_id: Last event read that is settled.
        polled: Whether the run is hosted by a contrib and has to be polled.
        line: Runs whose items have been read and still stand, in order; the last one may be one
            that is being replaced.
        restarting: Whether the next page tells what the run's restart takes back.
        holds_early: Whether batches wait for the run to open, and have no offsets before.
        held_bytes: What is held of batches that have no offsets yet.
        unreadable: Whether what comes after it is an error, to be raised next.
        fetched_bytes: Size of the server's page that it comes from, and that is still held.
    """

    moments: Sequence[Moment]
    run_id: str
    place: Place
    seen_id: int
    polled: bool
    line: tuple[RunRef, ...]
    restarting: bool
    holds_early: bool
    held_bytes: int
    unreadable: bool
    fetched_bytes: int = 0

    @property
    def read_to(self) -> Place:
        """Up to where in the run all moments have been told."""
        return self.place if self.polled else max(self.place, (self.seen_id, sys.maxsize))
