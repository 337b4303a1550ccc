"""What workflow code itself writes: items and truncations, until log and history have them.

Runs in the workflow sandbox.

A task's own writes stand in the history after all signals that the task handles, so in memory
they are held until then. They become a record of the history once all that is ready has run, in
one record as far as possible: publishing in a loop costs one event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import wire
from .wire import Entry

# JSON around each entry of a record.
_ENTRY_BYTES = 24

Operation = list[Entry] | int
"""Items, or the offset up to which is truncated."""


@dataclass(frozen=True, slots=True)
class Written:
    """The content of one record: items, and the base after them."""

    base: int
    entries: list[Entry]


class OwnWrites:
    """Own writes in order, with what they do to head and base.

    Attributes:
        count: Items that are not in the log yet.
        base: Highest offset that was truncated up to and is not in the log yet; else 0.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.count = 0
        self.base = 0
        self._held: list[Operation] = []
        self._held_at = 0
        self._unwritten: list[Entry] = []
        self._unwritten_base: int | None = None

    def publish(self, entries: list[Entry]) -> None:
        """Add items."""
        self._held.append(entries)
        self.count += len(entries)
        self._unwritten.extend(entries)

    def truncate(self, base: int) -> None:
        """Add a truncation."""
        self._held.append(base)
        self.base = max(self.base, base)
        self._unwritten_base = base

    @property
    def entries(self) -> list[Entry]:
        """The items that are not in the log yet."""
        return [entry for op in self._held if not isinstance(op, int) for entry in op]

    def settle(self, length: int, apply: Callable[[Operation], None], *, now: bool) -> None:
        """Apply to the log what earlier tasks wrote, and with ``now`` what this one has.

        Args:
            length: Length of the history, which tells tasks apart.
            apply: Applies one operation.
            now: All handlers of the task have run.
        """
        if self._held and (now or length != self._held_at):
            held, self._held = self._held, []
            self.count = self.base = 0
            for operation in held:
                apply(operation)
        self._held_at = length

    def take_unwritten(self, base: int) -> list[Written]:
        """Return what has to be recorded, in records of a size that the SDK takes.

        Args:
            base: The base, where no truncation has to be recorded.
        """
        if not self._unwritten and self._unwritten_base is None:
            return []
        entries, last = self._unwritten, self._unwritten_base
        self._unwritten, self._unwritten_base = [], None
        parts = list(_parts(entries)) or [entries]
        written = [Written(base, part) for part in parts]
        if last is not None:
            written[-1] = Written(max(base, last), parts[-1])
        return written


def _parts(entries: list[Entry]) -> list[list[Entry]]:
    """Cut items so that each part holds as many as fit into a batch, or one."""
    parts: list[list[Entry]] = []
    start = size = 0
    for index, (topic, data) in enumerate(entries):
        length = len(topic) + len(data) + _ENTRY_BYTES
        if index > start and size + length > wire.MAX_BATCH_BYTES:
            parts.append(entries[start:index])
            start, size = index, 0
        size += length
    if entries:
        parts.append(entries[start:])
    return parts
