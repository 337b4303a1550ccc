"""The newest items of a stream, in the workflow's memory, for clients that poll. Pure.

Most streams are never polled, and a worker keeps many workflows in memory. So all but the very
newest items are kept compressed, in segments that are unpacked when somebody asks for them. They
are packed bit by bit: one workflow task may bring a million items, and has 2 s.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Set

from ...log.entries import ENTRY_BYTES, entries_bytes, entry_bytes, texts_length, topic_bytes
from ...log.packed import PackedEntries, pack
from ...log.payloads import text_of
from ...log.wire import (
    MAX_ITEM_BYTES,
    MAX_POLL_BYTES,
    Entry,
    PollInput,
    PollResult,
    WireItem,
)
from ..hand_over import ITEM_BYTES

_SEGMENT_BYTES = 32 * 1024
# All polls of a workflow task together have 2 s, and up to 10 wait at a time. For each of them, so
# many items of other topics are looked through; then its client asks again.
_MOST_PASSED_OVER = 25_000
# A segment knows its topics if there are no more. A worker keeps thousands of segments.
_MOST_TOPICS = 8
# The offset beside an item in an answer: `"offset":`, a comma and the number.
_OFFSET_OVERHEAD = 24


class ItemOverPollLimitError(ValueError):
    """An item that no poll result can carry, as it came in fragments."""


class NoRoomError(Exception):
    """The first item of an answer is larger than the room that there is for it now.

    Attributes:
        size: How many bytes it takes in an answer.
    """

    def __init__(self, size: int) -> None:
        """Say how much room it needs."""
        super().__init__(f"The next item takes {size:,} bytes")
        self.size = size


class _Segment:
    """Items that stand one after the other.

    Attributes:
        count: How many.
        size: Bytes of their text.
        topics: The topics that they may have; None if there are too many to know them.
    """

    __slots__ = ("_carried", "count", "size", "topics")

    def __init__(self, count: int, size: int, topics: frozenset[str]) -> None:
        self.count = count
        self.size = size
        self.topics = topics if len(topics) <= _MOST_TOPICS else None
        self._carried: int | None = None

    @property
    def carried(self) -> int:
        """How many bytes they take in a state."""
        if self._carried is None:
            self._carried = _carried(self.entries())
        return self._carried

    @property
    @abstractmethod
    def kept_bytes(self) -> int:
        """About how many bytes they take in memory."""

    @abstractmethod
    def entries(self) -> list[Entry]:
        """Return them."""

    def entries_from(self, skip: int) -> Iterable[Entry]:
        """Return them from an index on."""
        return self.entries()[skip:]


class _OwnSegment(_Segment):
    """Items that are packed here, at once or later.

    Attributes:
        packed: They themselves; None before :meth:`pack`.
    """

    __slots__ = ("_entries", "packed")

    def __init__(self, entries: list[Entry], size: int) -> None:
        super().__init__(len(entries), size, frozenset([topic for topic, _, _ in entries]))
        self.packed: PackedEntries | None = None
        self._entries = entries

    @property
    def kept_bytes(self) -> int:
        """About how many bytes they take in memory."""
        return self.size if self.packed is None else self.packed.packed_bytes

    def pack(self) -> None:
        if self.packed is None:
            self.packed, self._entries = pack(self._entries), []

    def entries(self) -> list[Entry]:
        return self._entries if self.packed is None else self.packed.unpacked()


class _PackedSegment(_Segment):
    """Items that came packed."""

    __slots__ = ("_entries",)

    def __init__(self, entries: PackedEntries) -> None:
        super().__init__(len(entries), entries.text_bytes, entries.topics)
        self._entries = entries

    @property
    def kept_bytes(self) -> int:
        return self._entries.packed_bytes

    def entries(self) -> list[Entry]:
        return list(self.entries_from(0))

    def entries_from(self, skip: int) -> Iterable[Entry]:
        # A message may hold half a million items, and ten polls may wait for them.
        return self._entries.entries_from(skip)


class PolledLog:
    """A tail of the stream, bounded in bytes of text.

    The bound does not count bytes as packed, since what a replay finds must depend neither on the
    packer's version nor on what has been packed so far.

    Attributes:
        start: Offset of its first item.
    """

    def __init__(self, entries: Sequence[Entry], start: int) -> None:
        """Hold ``entries``, the first of which stands at ``start``."""
        self.start = start
        # The first segment may begin with items that have been dropped.
        self._dropped = 0
        self._sealed: deque[_Segment] = deque()
        self._unpacked: deque[_OwnSegment] = deque()
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
        """How many bytes of text it keeps: also of dropped items in a segment with others."""
        return self._sealed_bytes + self._open_bytes

    @property
    def kept_bytes(self) -> int:
        """About how many bytes it takes in memory."""
        return sum(segment.kept_bytes for segment in self._sealed) + self._open_bytes

    def extend(self, entries: Sequence[Entry]) -> None:
        """Append the stream's next items; those that came packed stay so."""
        if isinstance(entries, PackedEntries):
            if entries:
                self._close_segment()
                self._seal(_PackedSegment(entries))
            return
        self._open.extend(entries)
        self._open_bytes += entries_bytes(entries)
        if self._open_bytes >= _SEGMENT_BYTES:
            self._close_segment()

    def _close_segment(self) -> None:
        """Have the next item begin another segment."""
        if self._open:
            segment = _OwnSegment(self._open, self._open_bytes)
            self._unpacked.append(segment)
            self._seal(segment)
            self._open, self._open_bytes = [], 0

    def _seal(self, segment: _Segment) -> None:
        self._sealed.append(segment)
        self._sealed_count += segment.count
        self._sealed_bytes += segment.size

    def pack(self, most: int) -> int:
        """Pack full segments until these have ``most`` items; return how many have been packed."""
        done = 0
        while self._unpacked and done < most:
            segment = self._unpacked.popleft()
            segment.pack()
            done += segment.count
        return done

    def drop_below(self, base: int) -> None:
        """Drop the items below offset ``base``."""
        if base <= self.start:
            return
        self._dropped += base - self.start
        self.start = base
        while self._sealed and self._dropped >= self._sealed[0].count:
            segment = self._sealed.popleft()
            if self._unpacked and self._unpacked[0] is segment:
                self._unpacked.popleft()
            self._dropped -= segment.count
            self._sealed_count -= segment.count
            self._sealed_bytes -= segment.size
        if not self._sealed and self._dropped:
            self._open_bytes -= entries_bytes(self._open[: self._dropped])
            del self._open[: self._dropped]
            self._dropped = 0

    def bound(self, limit: int) -> None:
        """If it keeps more than ``limit`` bytes of text, drop the oldest, down to 3/4 of that."""
        if self.text_bytes <= limit:
            return
        while self._sealed and self.text_bytes > limit * 3 // 4:
            self.drop_below(self.start + self._sealed[0].count - self._dropped)

    def entries_from(self, offset: int) -> list[Entry]:
        """Return the items from ``offset`` on."""
        return [entry for _, entry in self._numbered(offset)]

    def bytes_from(self, offset: int, most: int) -> int:
        """Return how many bytes the items from ``offset`` on take in a state, or more.

        It stops counting once they are more than ``most``, since it may have to unpack all of them.
        """
        at = self.start + len(self) - len(self._open)
        total = _carried(self._open[max(0, offset - at) :])
        for segment in reversed(self._sealed):
            if at <= offset or total > most:
                break
            total += segment.carried
            at -= segment.count
        return total

    def newest(self, room: int) -> list[Entry]:
        """Return the newest items: enough to take ``room`` bytes in a state, and some more."""
        offset = self.start + len(self)
        offset -= len(self._open)
        held = _carried(self._open)
        for segment in reversed(self._sealed):
            if held >= room:
                break
            offset -= segment.count
            held += segment.carried
        return self.entries_from(offset)

    def page(
        self, poll: PollInput, head: int, limit: int | None = None, room: int | None = None
    ) -> PollResult:
        """Return what a poll gets: at least one item if there is one not too far away.

        Otherwise the answer is empty, and says that there is more.

        Args:
            poll: What is asked for.
            head: Where the next poll starts if all items fit.
            limit: How many bytes the items take together, unless the first one alone takes more;
                about 1 MB by default.
            room: How many bytes the first item may take at most.

        Raises:
            ItemOverPollLimitError: The next item is larger than any answer may be.
            NoRoomError: The next item is larger than ``room``.
        """
        limit = MAX_POLL_BYTES if limit is None else limit
        topics = set(poll.topics)
        items: list[WireItem] = []
        size = 0
        passed_over = 0
        for offset, (topic, kind, data) in self._numbered(poll.from_offset, topics):
            if topics and topic not in topics:
                passed_over += 1
                if passed_over >= _MOST_PASSED_OVER:
                    return PollResult(items, offset + 1, more_ready=offset + 1 < head)
                continue
            length = entry_bytes(topic, kind, data)
            size += length + _OFFSET_OVERHEAD
            if items and size > limit:
                return PollResult(items, offset, more_ready=True)
            if length > MAX_ITEM_BYTES:
                raise ItemOverPollLimitError(
                    f"Item {offset} takes {length:,} bytes, more than a poll can carry"
                )
            if room is not None and not items and size > room:
                raise NoRoomError(size)
            items.append(WireItem(topic, text_of(kind, data), offset))
        return PollResult(items, head)

    def _numbered(self, offset: int, topics: Set[str] = frozenset()) -> Iterator[tuple[int, Entry]]:
        """Yield the items from ``offset`` on with their offsets.

        With ``topics``, those of other topics may be left out.
        """
        first = max(offset, self.start)
        at = self.start - self._dropped
        for segment in self._sealed:
            end = at + segment.count
            others = topics and segment.topics is not None and topics.isdisjoint(segment.topics)
            if end > first and not others:
                skip = max(0, first - at)
                yield from enumerate(segment.entries_from(skip), at + skip)
            at = end
        skip = max(0, first - at)
        yield from enumerate(self._open[skip:], at + skip)


def answer_bytes(items: Sequence[WireItem]) -> int:
    """Return how many bytes items take in an answer."""
    # As entries_bytes() counts them, without taking their texts apart again.
    around = ENTRY_BYTES + _OFFSET_OVERHEAD
    return sum([topic_bytes(item.topic) + len(item.data) + around for item in items])


def _carried(entries: Sequence[Entry]) -> int:
    """Return the sum of `carried_bytes` over all of them, in fewer steps."""
    if not entries:
        return 0
    topics = json.dumps(json.dumps([topic for topic, _, _ in entries]))
    return len(topics) - 2 + texts_length(entries) + (ITEM_BYTES - 2) * len(entries)
