"""What reading a stream brings, step by step: the type between history and subscribers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ..events import End, Gap, Rewind
from ..intake import Judged
from ..wire import Entry


@dataclass(frozen=True, slots=True)
class Chunk:
    """Items that came together, the first at ``offset``."""

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

    ``rewind`` comes before ``chunk``. ``run_id`` and ``event_id`` are the record's place;
    on a polled stream the event id is the offset after the page.
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

    @property
    def size(self) -> int:
        """Bytes that it holds, roughly."""
        return 300 + (self.chunk.size if self.chunk else 0)
