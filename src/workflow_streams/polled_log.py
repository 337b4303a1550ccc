"""The newest items of a stream, in the workflow's memory, for clients that poll. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from .hand_over import ITEM_BYTES
from .wire import MAX_ITEM_BYTES, MAX_POLL_BYTES, Entry, PollInput, PollResult, WireItem


class ItemOverPollLimitError(ValueError):
    """An item that no poll result can carry, as it came in parts."""


class PolledLog:
    """A tail of the stream, bounded in bytes.

    Attributes:
        start: Offset of its first item.
    """

    def __init__(self, entries: Sequence[Entry], start: int) -> None:
        """Hold ``entries``, the first of which stands at ``start``."""
        self._entries = list(entries)
        self._bytes = _size(self._entries)
        self.start = start

    def __len__(self) -> int:
        """How many items it holds."""
        return len(self._entries)

    def extend(self, entries: Sequence[Entry]) -> None:
        """Append the stream's next items."""
        self._entries.extend(entries)
        self._bytes += _size(entries)

    def drop_below(self, base: int) -> None:
        """Drop the items below offset ``base``."""
        self._drop(base - self.start)

    def bound(self, limit: int) -> None:
        """If it holds more than ``limit`` bytes, drop the oldest down to three quarters."""
        if self._bytes > limit:
            self._drop(len(self._entries) - _fitting(self._entries, limit * 3 // 4))

    def entries_from(self, offset: int) -> list[Entry]:
        """Return the items from ``offset`` on."""
        return self._entries[max(0, offset - self.start) :]

    def bytes_from(self, offset: int) -> int:
        """Return how many bytes the items from ``offset`` on take in a state."""
        entries = self.entries_from(offset)
        return _size(entries) + ITEM_BYTES * len(entries)

    def page(self, poll: PollInput, head: int) -> PollResult:
        """Return what a poll gets: about 1 MB of items, at least one if there is one.

        Raises:
            ItemOverPollLimitError: The next item is larger than any answer may be.
        """
        topics = set(poll.topics)
        items: list[WireItem] = []
        size = 0
        for index in range(max(0, poll.from_offset - self.start), len(self._entries)):
            topic, data = self._entries[index]
            if topics and topic not in topics:
                continue
            size += len(data) + len(topic)
            offset = self.start + index
            if items and size > MAX_POLL_BYTES:
                return PollResult(items, offset, more_ready=True)
            if size > MAX_ITEM_BYTES:
                raise ItemOverPollLimitError(
                    f"Item {offset} takes {size:,} bytes, more than a poll can carry"
                )
            items.append(WireItem(topic, data, offset))
        return PollResult(items, head)

    def _drop(self, count: int) -> None:
        if count > 0:
            self._bytes -= _size(self._entries[:count])
            del self._entries[:count]
            self.start += count


def _size(entries: Sequence[Entry]) -> int:
    return sum(len(topic) + len(data) for topic, data in entries)


def _fitting(entries: Sequence[Entry], limit: int) -> int:
    """Return how many of the last entries fit into ``limit`` bytes."""
    size = 0
    for count, (topic, data) in enumerate(reversed(entries)):
        size += len(topic) + len(data)
        if size > limit:
            return count
    return len(entries)
