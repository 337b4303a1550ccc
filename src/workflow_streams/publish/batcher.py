"""The publisher's buffer, what makes a batch, and when it is due. Pure: time is passed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ..log.entries import entry_bytes, topic_bytes
from ..log.wire import Entry

# What an item counts at least, so that a batch of items without metadata and data does not have
# more of them than a signal may.
_LEAST = 16


def compact_bytes(topic: str, kind: bytes, data: bytes) -> int:
    """Return how much of a batch an entry takes up in the compact form.

    It takes less, as topic and kind are written once for many. They count all the same, so that the
    batch fits into a signal in JSON as well, should its host not read the compact form any more.
    """
    return max(_LEAST, topic_bytes(topic) + len(kind) + len(data))


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A batch that has left the buffer; its sequence stays the same however often it is sent.

    Attributes:
        sequence: Its number among the publisher's batches.
        entries: Its items.
        last_index: The number of the last of them among all that the publisher has taken.
        size: How much of a signal it takes up, in bytes, as the batcher measures it.
    """

    sequence: int
    entries: list[Entry]
    last_index: int
    size: int


class Batcher:
    """Bounded buffer of encoded entries.

    The first entry after a pause is due at once, later ones at most once per ``interval``
    seconds. Entries are numbered from 0 in the order in which they came.
    """

    def __init__(
        self,
        *,
        interval: float,
        max_batch_bytes: int,
        max_batch_size: int | None,
        max_items: int,
        max_bytes: int,
    ) -> None:
        """Set the limits: seconds, bytes and items."""
        self._interval = interval
        self._max_batch_bytes = max_batch_bytes
        self._max_batch_size = max_batch_size
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._entries: deque[Entry] = deque()
        self._sizes: deque[int] = deque()
        self._size_of: Callable[[str, bytes, bytes], int] = entry_bytes
        self._bytes = 0
        self._sequence = 0
        self._added = 0
        self._forced_to = 0
        self._not_before = float("-inf")

    def __len__(self) -> int:
        """Entries that wait."""
        return len(self._entries)

    @property
    def added(self) -> int:
        """Entries ever added; the next one gets this number."""
        return self._added

    def measure_compact(self, *, compact: bool) -> None:
        """Measure entries as they are in the compact form from now on, or as in JSON (default)."""
        size_of = compact_bytes if compact else entry_bytes
        if size_of is not self._size_of:
            self._size_of = size_of
            self._sizes = deque(size_of(*entry) for entry in self._entries)
            self._bytes = sum(self._sizes)

    def add(self, entry: Entry) -> int | None:
        """Take an entry in; return its number, or None if there is no room for it.

        An empty buffer takes any entry.
        """
        size = self._size_of(*entry)
        count = len(self._entries) + 1
        if count > 1 and (count > self._max_items or self._bytes + size > self._max_bytes):
            return None
        self._entries.append(entry)
        self._sizes.append(size)
        self._bytes += size
        self._added += 1
        full = self._max_batch_size is not None and count >= self._max_batch_size
        if full or self._bytes >= self._max_batch_bytes:
            self.force()
        return self._added - 1

    def force(self) -> None:
        """Make everything that is in the buffer now due at once."""
        self._forced_to = self._added

    @property
    def is_forced(self) -> bool:
        """Whether the next batch is due at once, since somebody waits for it or it is full."""
        return bool(self._entries) and self._added - len(self._entries) < self._forced_to

    def due(self) -> float | None:
        """Time from which a batch may be taken; None if there is nothing to send."""
        if not self._entries:
            return None
        return float("-inf") if self.is_forced else self._not_before

    def take(self, now: float) -> Outgoing:
        """Remove the next batch: whole entries up to the limits, at least one."""
        taken: list[Entry] = []
        size = 0
        while self._entries:
            more = size + self._sizes[0]
            if taken and (more > self._max_batch_bytes or len(taken) == self._max_batch_size):
                break
            taken.append(self._entries.popleft())
            self._sizes.popleft()
            size = more
        self._bytes -= size
        self._not_before = now + self._interval
        self._sequence += 1
        return Outgoing(self._sequence, taken, self._added - len(self._entries) - 1, size)

    def take_empty(self) -> Outgoing:
        """Return an empty batch, by which a retried activity announces itself."""
        self._sequence += 1
        return Outgoing(self._sequence, [], self._added - len(self._entries) - 1, 0)

    def clear(self) -> int:
        """Drop what waits, after a final error; return how many entries that were."""
        dropped = len(self._entries)
        self._entries.clear()
        self._sizes.clear()
        self._bytes = 0
        return dropped
