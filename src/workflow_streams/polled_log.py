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

from .hand_over import carried_bytes
from .wire import (
    MAX_ITEM_BYTES,
    MAX_POLL_BYTES,
    Entry,
    PollInput,
    PollResult,
    WireItem,
    entry_bytes,
)

_SEGMENT_BYTES = 32 * 1024


class ItemOverPollLimitError(ValueError):
    """An item that no poll result can carry, as it came in parts."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """Items that are packed together.

    ``size`` is that of their text, ``carried`` what they take in a state.
    """

    count: int
    size: int
    carried: int
    packed: bytes

    @staticmethod
    def of(entries: Sequence[Entry]) -> _Segment:
        packed = zlib.compress(json.dumps(entries).encode(), 1)
        return _Segment(len(entries), _size(entries), _carried(entries), packed)

    def entries(self) -> list[Entry]:
        return [(topic, data) for topic, data in json.loads(zlib.decompress(self.packed))]


class PolledLog:
    """A tail of the stream, bounded in bytes of text.

    Not of what that takes when it is packed: another version of the packer must not change what
    a replay finds.

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
        self._sealed_bytes = 0
        self._open: list[Entry] = []
        self._open_bytes = 0
        self.extend(entries)

    def __len__(self) -> int:
        """How many items it holds."""
        return self._sealed_count - self._dropped + len(self._open)

    @property
    def text_bytes(self) -> int:
        """How many bytes of text its items are, with those dropped that are packed with others."""
        return self._sealed_bytes + self._open_bytes

    @property
    def kept_bytes(self) -> int:
        """How many bytes it takes in memory, about."""
        return sum(len(segment.packed) for segment in self._sealed) + self._open_bytes

    def extend(self, entries: Sequence[Entry]) -> None:
        """Append the stream's next items."""
        self._open.extend(entries)
        self._open_bytes += _size(entries)
        if self._open_bytes >= _SEGMENT_BYTES:
            segment = _Segment.of(self._open)
            self._sealed.append(segment)
            self._sealed_count += segment.count
            self._sealed_bytes += segment.size
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
            self._sealed_bytes -= segment.size
        if not self._sealed and self._dropped:
            self._open_bytes -= _size(self._open[: self._dropped])
            del self._open[: self._dropped]
            self._dropped = 0

    def bound(self, limit: int) -> None:
        """If it keeps more than ``limit`` bytes of text, drop the oldest: down to 3/4 of it."""
        if self.text_bytes <= limit:
            return
        while self._sealed and self.text_bytes > limit * 3 // 4:
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
                total += segment.carried
            skip = max(0, skip - segment.count)
        return total + _carried(self._open[skip:])

    def newest(self, room: int) -> list[Entry]:
        """Return the newest items, as many as take ``room`` bytes in a state, and some more."""
        offset = self.start + len(self)
        offset -= len(self._open)
        held = _carried(self._open)
        for segment in reversed(self._sealed):
            if held >= room:
                break
            offset -= segment.count
            held += segment.carried
        return self.entries_from(offset)

    def page(self, poll: PollInput, head: int, sharers: int = 1) -> PollResult:
        """Return what a poll gets: about 1 MB of items, at least one if there is one.

        If several polls are answered at a time, each gets less.

        Raises:
            ItemOverPollLimitError: The next item is larger than any answer may be.
        """
        limit = MAX_POLL_BYTES // max(1, sharers // 2)
        topics = set(poll.topics)
        items: list[WireItem] = []
        size = 0
        for offset, (topic, data) in self._numbered(poll.from_offset):
            if topics and topic not in topics:
                continue
            size += entry_bytes(topic, data)
            if items and size > limit:
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
    return sum(entry_bytes(*entry) for entry in entries)


def _carried(entries: Sequence[Entry]) -> int:
    return sum(carried_bytes(*entry) for entry in entries)
