"""The workflow's own copy of the log. Runs in the workflow sandbox.

It has the numbers of the whole stream, and the newest items in memory for clients that poll.
Readers of this package follow the history instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow

from ..log.fold import Fold
from ..log.wire import Entry, Rules
from ..log.wire import WorkflowStreamState as State
from .hand_over import UNPOLLED_RUNS, EarlierRuns, entries_of, written_of
from .polling.polled_log import PolledLog
from .tasks import TaskCount
from .writing.own_writes import Operation

# How far back clients that poll can reach within a run. It bounds the worker's memory, where the
# items are packed. Streams made over HTTP are read there, and hardly ever polled.
_LOG_BYTES = 64 * 1024 * 1024
_UNPOLLED_HOSTED_LOG_BYTES = 4 * 1024 * 1024
# How many items are packed in one workflow task, which has 2 s in all.
_PACKED_ITEMS = 50_000


class LogCopy:
    """What this run knows of the stream.

    Attributes:
        fold: Head and base, and what is known of publishers.
        log: The newest items.
        polled: Whether there are subscribers that poll, or have been not long ago.
    """

    def __init__(
        self,
        fold: Fold,
        log: PolledLog,
        *,
        polled: bool,
        native: bool,
        hosted: bool,
        keep_last: int | None,
    ) -> None:
        """Begin with what the prior run has handed over; see :func:`restored`.

        Args:
            fold: The numbers.
            log: The items.
            polled: Whether there have been subscribers that poll in one of the last runs.
            native: Whether the run's history holds records.
            hosted: Whether the workflow is one of this package.
            keep_last: How many items the workflow's code asks to keep.
        """
        self.fold = fold
        self.log = log
        self.polled = polled
        self._native = native
        self._hosted = hosted
        self._ignored = keep_last is not None and not native
        self._packed = TaskCount()

    def apply(self, operation: Operation) -> None:
        """Take in items, or a truncation, that the workflow has written itself."""
        if isinstance(operation, int):
            self.fold.truncate(operation)
            self._trim()
        else:
            self.fold.own(len(operation))
            self.append(operation)

    def append(self, entries: Sequence[Entry]) -> None:
        """Take in items to which the fold has given their offsets."""
        self.log.extend(entries)
        self._trim()
        self.pack()

    def pack(self) -> None:
        """Pack what is to be packed, as far as there is time in this workflow task."""
        self._packed.add(self.log.pack(_PACKED_ITEMS - self._packed.value))

    def _trim(self) -> None:
        self.log.drop_below(self.fold.base)
        if self._native:
            spare = self._hosted and not self.polled
            self.log.bound(_UNPOLLED_HOSTED_LOG_BYTES if spare else _LOG_BYTES)
        elif self._ignored and not workflow.unsafe.is_replaying():
            # Logged here and not when the run opens, since at that time it is being replayed.
            self._ignored = False
            workflow.logger.warning(
                "keep_last is ignored until the next run: this one began under the contrib"
            )


def restored(
    state: State,
    earlier: EarlierRuns,
    *,
    native: bool,
    rules: Rules | None,
    keep_last: int | None,
) -> tuple[LogCopy, list[Entry]]:
    """Return the log as the prior run has handed it over, and which items are to be recorded.

    If that was a run as the contrib has it, its items are in no history. So they go into ours with
    the opening record, before what has been signalled before the first task.

    Args:
        state: What the prior run has handed over.
        earlier: What that says of earlier runs.
        native: Whether the run's history holds records.
        rules: The rules of a hosted stream; None if the workflow is one of the user's.
        keep_last: How many items the workflow's code asks to keep.
    """
    entries, start = entries_of(state)
    head = start + len(entries) if state.head is None else state.head
    base = start if state.base is None else state.base
    unrecorded: list[Entry] = []
    if native and state.head is None:
        unrecorded, entries, head = entries, [], start
    closing = earlier.closing
    fold = Fold(
        head,
        base,
        {publisher_id: p.sequence for publisher_id, p in state.publishers.items()},
        keep_last if native else None,
        fences=native,
        closable=rules is not None and rules.closable,
        order=state.order,
        written=written_of(state),
        closed_by=None if closing is None else (closing.publisher_id, closing.sequence),
    )
    copy = LogCopy(
        fold,
        PolledLog(entries, start),
        polled=earlier.unpolled < UNPOLLED_RUNS,
        native=native,
        hosted=rules is not None,
        keep_last=keep_last,
    )
    return copy, unrecorded
