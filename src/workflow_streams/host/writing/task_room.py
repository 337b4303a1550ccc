"""How much one workflow task may write to the stream. Runs in the workflow sandbox."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio.exceptions import ApplicationError

from ...log.entries import entries_bytes
from ...log.wire import Entry
from ..tasks import TaskCount

# The server takes 4 MiB in one message, and ends a workflow whose task brings more. Beside 64 KiB
# for everything else, this is half of it, enough for the largest item. The other half is for
# answers to polls (see polling/answer_room.py) and for the streams of other workflows (see
# external/signalling.py).
_TASK_BYTES = 2016 * 1024


class TaskRoom:
    """Counts the bytes that a workflow task writes to the stream."""

    def __init__(self) -> None:
        """Begin with all room free."""
        self._taken = TaskCount()

    def check(self, entries: Sequence[Entry]) -> None:
        """Raise if these items are too many for the current workflow task.

        Raises:
            ApplicationError: Type ``TaskFullError``.
        """
        size = entries_bytes(entries)
        if self._taken.value + size > _TASK_BYTES:
            raise ApplicationError(
                f"One workflow task can write {_TASK_BYTES:,} bytes to the stream; it has written "
                f"{self._taken.value:,}, and {size:,} more are too many. Let the task end in "
                "between, for example by `await workflow.sleep(0.001)`",
                type="TaskFullError",
                non_retryable=True,
            )

    def take(self, size: int) -> None:
        """Count bytes that the current workflow task writes."""
        self._taken.add(size)
