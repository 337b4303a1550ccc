"""What passes from one run to the next, and what readers are told of it.

How the run before ended and how the next one began decide that together:

=================================  ========================================  ==================
the run before                     the next run                              readers are told
=================================  ========================================  ==================
continued as new                   opens with its head and base              nothing
was retried, or its cron came due  opens with the state of its first input   ``Rewind`` to there
was reset, and the next run is a   repeats events that were read, up to the  ``Rewind`` from the
copy of one that was read          fork where it begins to differ            head at the fork
was reset, and nothing is known    is read from its beginning                ``Rewind`` to 0
to be common to both
was hosted by a contrib            carries its items along                   nothing
=================================  ========================================  ==================

If no run follows, readers are told the ``End``. A run that has ended before any worker took its
first task opens as the one before it ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from temporalio.api.history.v1 import HistoryEvent

from ...events import Rewind, RewindReason
from ...log.fold import Fold
from ...log.wire import Opening, Rules, RunRef
from .lookup import check_continued
from .resets import Reset


@dataclass(frozen=True, slots=True)
class Left:
    """How the stream stood at the end of the run before, and whether that was polled."""

    fold: Fold
    polled: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """How the reading comes to a run.

    Attributes:
        run_id: The run.
        left: How the run before ended; None if the reading begins here.
        line: Runs whose items have been read and still stand, in order. After a reset, the last
            one is the first that does not stand any more: the run opens where that did.
        rules: What the stream asks of its writers, from the last opening record.
        restart: Why the server started the run anew, if it did. A run begun by retry or cron may
            tell so itself only, in its first event.
        reset: With "reset", what that has left of what was read.
        repeats: Whether the run begins with events that have been read before, in another run.
        by_path: Whether it was gone to past others, and what they took back with them.
        or_before: Whether to begin with the run before if this one has not opened yet.
    """

    run_id: str
    left: Left | None = None
    line: tuple[RunRef, ...] = ()
    rules: Rules | None = None
    restart: RewindReason | None = None
    reset: Reset | None = None
    repeats: bool = False
    by_path: bool = False
    or_before: bool = False


class Takeover:
    """What a run takes over from the one before it, until readers have been told.

    Attributes:
        left: How the run before ended; None once that does not matter any more.
        restart: Why the server started this run anew, until what that takes back has been told.
        reset: With "reset", what that has left of what was read.
        repeats: Whether this part of the run was read before, in another run of its family.
    """

    def __init__(self, workflow_id: str, entry: Entry) -> None:
        """Begin before the run's first event."""
        self.left: Left | None = entry.left
        self.restart: RewindReason | None = entry.restart
        self.reset: Reset | None = entry.reset
        self.repeats = entry.repeats
        self._workflow_id = workflow_id
        self._run_id = entry.run_id
        self._by_path = entry.by_path

    @property
    def pending(self) -> bool:
        """Whether readers are still to be told what the run's restart takes back."""
        return self.restart is not None and self.left is not None

    def begin(self, restart: RewindReason | None) -> None:
        """Take in why the run was started, as its first event says."""
        if self.restart is None and not self._by_path:
            self.restart = restart

    def parts(self, event: HistoryEvent) -> bool:
        """Whether from this event on the run differs from what was read before it."""
        if self.repeats and self.reset is not None and self.reset.parts(event):
            self.repeats = False
            return True
        return False

    def open(self, fold: Fold) -> Rewind | None:
        """Take in how the run opens; return what that takes back, as far as it is known here.

        Raises:
            StreamCorruptedError: It does not go on where the run before it ended.
        """
        if self.restart is None:
            left, self.left = self.left, None
            if left is not None and not left.polled:
                check_continued(self._workflow_id, self._run_id, left.fold, fold)
            return None
        return None if self.repeats else self.rewind(fold.head)

    def rewind(self, head: int) -> Rewind | None:
        """Return what the run's restart at ``head`` takes back; the run is live from here."""
        reason, left = self.restart, self.left
        if self.reset is not None and self.reset.replaced is None:
            head = 0
        self.restart = self.reset = self.left = None
        if reason is None or left is None:
            return None
        ranges = (range(head, left.fold.head),) if left.fold.head > head else ()
        return Rewind(ranges, reason, head)

    def unserved(self, line: Sequence[RunRef], rules: Rules | None) -> Opening:
        """Return how the run opens if it ended before any worker took its first task."""
        if self.left is None or not line:
            return Opening(0, 0, {}, [])
        before = self.left.fold
        if self.restart is None:
            return Opening(
                head=before.head,
                base=before.base,
                publishers=before.publishers,
                runs=list(line),
                keep_last=before.keep_last,
                rules=rules,
                order=before.order,
                written=before.written,
            )
        *runs, replaced = line
        head = replaced.first_offset
        return Opening(
            head=head,
            base=min(before.base, head),
            publishers={},
            runs=runs,
            keep_last=before.keep_last,
            rules=rules,
        )
