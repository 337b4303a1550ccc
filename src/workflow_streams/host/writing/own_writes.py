"""What workflow code itself writes: items and truncations, until log and history have them.

Runs in the workflow sandbox.

In the history, what a task writes stands after all signals that the task handles. So in memory it
is held until these are in the log.

Each call makes a record in the history at once, since a replay may group differently what comes in
between, above all local activities. That costs the SDK and the server a third of a millisecond
each, and a task has 10 s. So after many calls, what a task publishes is recorded in larger steps.
"""

from __future__ import annotations

from collections.abc import Callable

from ...log.batches import batches_of
from ...log.entries import entries_bytes
from ...log.wire import Entry

# These decide how many records there are, and a replay has to find the same. With other values,
# runs that are under way would need the old ones: another flag (see run_sign.py) tells them apart.
_CALLS_RECORDED_AT_ONCE = 1000
_STEP_BYTES = 64 * 1024

Operation = list[Entry] | int
"""Items, or the offset up to which is truncated."""


class OwnWrites:
    """The workflow's own writes in order, and how they change head and base.

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
        self._calls = 0
        self._calls_at = 0
        self._unrecorded: list[Entry] = []
        self._unrecorded_bytes = 0

    def publish(self, entries: list[Entry]) -> None:
        """Add items."""
        self._held.append(entries)
        self.count += len(entries)

    def truncate(self, base: int) -> None:
        """Add a truncation."""
        self._held.append(base)
        self.base = max(self.base, base)

    def to_record(self, entries: list[Entry], length: int) -> list[list[Entry]]:
        """Return the records that are to be written now that these items are published.

        Args:
            entries: The items.
            length: Length of the history, which tells tasks apart.
        """
        if length != self._calls_at:
            self._calls, self._calls_at = 0, length
        self._calls += 1
        if self._calls <= _CALLS_RECORDED_AT_ONCE:
            return list(batches_of(entries))
        self._unrecorded += entries
        self._unrecorded_bytes += entries_bytes(entries)
        return self.take_unrecorded() if self._unrecorded_bytes > _STEP_BYTES else []

    def take_unrecorded(self) -> list[list[Entry]]:
        """Return the records that are still to be written."""
        entries, self._unrecorded, self._unrecorded_bytes = self._unrecorded, [], 0
        return list(batches_of(entries))

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
