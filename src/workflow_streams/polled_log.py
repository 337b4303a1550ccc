"""The newest items of a stream, in the workflow's memory, for clients that poll. Pure.

Most streams are never polled, and a worker keeps many workflows in memory. So all but the very
newest items are kept compressed, in segments that are unpacked when somebody asks for them.
"""

from __future__ import annotations

import json
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .hand_over import ITEM_BYTES
from .wire import MAX_ITEM_BYTES, MAX_POLL_BYTES, Entry, PollInput, PollResult, WireItem

_SEGMENT_BYTES = 32 * 1024


class ItemOverPollLimitError(ValueError):
    """An item that no poll result can carry, as it came in parts."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """Items that are packed together; ``size`` is that of their text."""

    count: int
    size: int
    packed: bytes

    @staticmethod
    def of(entries: Sequence[Entry]) -> _Segment:
        packed = zlib.compress(json.dumps(entries).encode(), 1)
        return _Segment(len(entries), _size(entries), packed)

    def entries(self) -> list[Entry]:
        return [(topic, data) for topic, data in json.loads(zlib.decompress(self.packed))]


class PolledLog:
    """A tail of the stream, bounded in bytes.

    Attributes:
        start: Offset of its first item.
    """

    def __init__(self, entries: Sequence[Entry], start: int) -> None:
        """Hold ``entries``, the first of which stands at ``start``."""
        self.start = start
        # The first segment may begin with items that have been dropped.
        self._dropped = 0
        self._sealed: deque[_Segment] = deque()
        self._sealed_count = 0
        self._packed_bytes = 0
        self._open: list[Entry] = []
        self._open_bytes = 0
        self.extend(entries)

    def __len__(self) -> int:
        """How many items it holds."""
        return self._sealed_count - self._dropped + len(self._open)

    @property
    def kept_bytes(self) -> int:
        """How many bytes its items take, packed as they are."""
        return self._packed_bytes + self._open_bytes

    def extend(self, entries: Sequence[Entry]) -> None:
        """Append the stream's next items."""
        self._open.extend(entries)
        self._open_bytes += _size(entries)
        if self._open_bytes >= _SEGMENT_BYTES:
            segment = _Segment.of(self._open)
            self._sealed.append(segment)
            self._sealed_count += segment.count
            self._packed_bytes += len(segment.packed)
            self._open, self._open_bytes = [], 0

    def drop_below(self, base: int) -> None:
        """Drop the items below offset ``base``."""
        if base <= self.start:
            return
        self._dropped += base - self.start
        self.start = base
        while self._sealed and self._dropped >= self._sealed[0].count:
            segment = self._sealed.popleft()
            self._dropped -= segment.count
            self._sealed_count -= segment.count
            self._packed_bytes -= len(segment.packed)
        if not self._sealed and self._dropped:
            self._open_bytes -= _size(self._open[: self._dropped])
            del self._open[: self._dropped]
            self._dropped = 0

    def bound(self, limit: int) -> None:
        """If it keeps more than ``limit`` bytes, drop the oldest down to three quarters."""
        if self.kept_bytes <= limit:
            return
        while self._sealed and self.kept_bytes > limit * 3 // 4:
            self.drop_below(self.start + self._sealed[0].count - self._dropped)

    def entries_from(self, offset: int) -> list[Entry]:
        """Return the items from ``offset`` on."""
        return [entry for _, entry in self._numbered(offset)]

    def bytes_from(self, offset: int) -> int:
        """Return how many bytes the items from ``offset`` on take in a state, or more."""
        skip = max(0, offset - self.start) + self._dropped
        total = 0
        for segment in self._sealed:
            if skip < segment.count:
                total += segment.size + ITEM_BYTES * segment.count
            skip = max(0, skip - segment.count)
        rest = self._open[skip:]
        return total + _size(rest) + ITEM_BYTES * len(rest)

    def page(self, poll: PollInput, head: int) -> PollResult:
        """Return what a poll gets: about 1 MB of items, at least one if there is one.

        Raises:
            ItemOverPollLimitError: The next item is larger than any answer may be.
        """
        topics = set(poll.topics)
        items: list[WireItem] = []
        size = 0
        for offset, (topic, data) in self._numbered(poll.from_offset):
            if topics and topic not in topics:
                continue
            size += len(data) + len(topic)
            if items and size > MAX_POLL_BYTES:
                return PollResult(items, offset, more_ready=True)
            if size > MAX_ITEM_BYTES:
                raise ItemOverPollLimitError(
                    f"Item {offset} takes {size:,} bytes, more than a poll can carry"
                )
            items.append(WireItem(topic, data, offset))
        return PollResult(items, head)

    def _numbered(self, offset: int) -> Iterator[tuple[int, Entry]]:
        """Yield the items from ``offset`` on with their offsets."""
        first = max(offset, self.start)
        at = self.start - self._dropped
        for segment in self._sealed:
            end = at + segment.count
            if end > first:
                skip = max(0, first - at)
                yield from enumerate(segment.entries()[skip:], at + skip)
            at = end
        skip = max(0, first - at)
        yield from enumerate(self._open[skip:], at + skip)


def _size(entries: Sequence[Entry]) -> int:
    return sum(len(topic) + len(data) for topic, data in entries)
