"""The publisher's buffer, what makes a batch, and when it is due. Pure: time is passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A batch that has left the buffer; its sequence stays the same however often it is sent.

    ``last_index`` is the number of its last entry among all that the publisher has taken.
    """

    sequence: int
    entries: list[str]
    last_index: int


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
        self._entries: deque[str] = deque()
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

    def has_room(self, size: int) -> bool:
        """Whether an entry of ``size`` bytes may be added; an empty buffer takes any."""
        if not self._entries:
            return True
        return len(self._entries) < self._max_items and self._bytes + size <= self._max_bytes

    def add(self, entry: str) -> int:
        """Take an entry in; return its number."""
        self._entries.append(entry)
        self._bytes += len(entry)
        self._added += 1
        full = self._max_batch_size is not None and len(self._entries) >= self._max_batch_size
        if full or self._bytes >= self._max_batch_bytes:
            self.force()
        return self._added - 1

    def force(self) -> None:
        """Make everything that is in the buffer now due at once."""
        self._forced_to = self._added

    def due(self) -> float | None:
        """Time from which a batch may be taken; None if there is nothing to send."""
        if not self._entries:
            return None
        taken = self._added - len(self._entries)
        return float("-inf") if taken < self._forced_to else self._not_before

    def take(self, now: float) -> Outgoing:
        """Remove the next batch: whole entries up to the limits, at least one."""
        taken: list[str] = []
        size = 0
        while self._entries:
            entry = self._entries[0]
            if taken and (
                size + len(entry) > self._max_batch_bytes or len(taken) == self._max_batch_size
            ):
                break
            taken.append(self._entries.popleft())
            size += len(entry) + 1
        self._bytes -= sum(map(len, taken))
        self._not_before = now + self._interval
        self._sequence += 1
        return Outgoing(self._sequence, taken, self._added - len(self._entries) - 1)

    def take_empty(self) -> Outgoing:
        """Return an empty batch, by which a retried activity announces itself."""
        self._sequence += 1
        return Outgoing(self._sequence, [], self._added - len(self._entries) - 1)

    def clear(self) -> int:
        """Drop what waits, after a final error; return how many entries that were."""
        dropped = len(self._entries)
        self._entries.clear()
        self._bytes = 0
        return dropped
