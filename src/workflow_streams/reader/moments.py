"""What reading a stream brings, step by step: the type between history and subscribers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ..events import End, Gap, Rewind
from ..intake import Judged
from ..wire import Entry

Place = tuple[int, int]
"""Where a moment stands in its run: event id, and which of the moments of that event."""

BEFORE_ALL: Place = (0, -1)

# What a moment, an item of it and a range that it takes back hold in memory beside their text.
_MOMENT_BYTES = 300
_ENTRY_BYTES = 170
_RANGE_BYTES = 150


def entries_size(entries: Iterable[Entry]) -> int:
    """Return the bytes that items hold in memory, roughly."""
    return sum(len(topic) + len(data) + _ENTRY_BYTES for topic, data in entries)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Items that came together, the first at ``offset``; ``size`` is that of their text."""

    offset: int
    entries: list[Entry]
    size: int
    time: datetime | None = None

    @property
    def end(self) -> int:
        """Offset after the last item."""
        return self.offset + len(self.entries)


@dataclass(frozen=True, slots=True)
class Moment:
    """What one record did to the stream.

    ``rewind`` comes before ``chunk``. ``run_id``, ``event_id`` and ``nth`` are the record's
    place; on a polled stream the event id is the offset after the page. ``opened`` begins a
    run, ``midway`` says that the reading of the run began here, not at its first item: on a
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
    opened: bool = False
    midway: bool = False
    nth: int = 0

    @property
    def place(self) -> Place:
        """Where it stands in its run."""
        return self.event_id, self.nth

    @property
    def restarts(self) -> bool:
        """Whether the workflow was started anew, so that offsets are used again from here on."""
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
