"""What a reader sees: items, gaps, rewinds and the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, TypeAlias, TypeVar

from .log.positions import position_at

T = TypeVar("T")

GapReason = Literal["truncated", "expired", "unserved"]
RewindReason = Literal["attempt", "retry", "cron", "reset", "replaced"]
Outcome = Literal["completed", "failed", "canceled", "terminated", "timed_out"]


@dataclass(slots=True)
class WorkflowStreamItem(Generic[T]):
    """One item of the stream.

    Attributes:
        topic: Topic it was published on.
        data: The value, decoded as the subscription asked.
        offset: Its place in the stream, over all topics, from 0.
        skipped: Offsets lost right before it, 0 as a rule (see :class:`Gap`).
        time: When the server took it in; None where the host does not tell (polled streams).
    """

    topic: str
    data: T
    offset: int = 0
    skipped: int = field(default=0, compare=False)
    time: datetime | None = field(default=None, compare=False, repr=False)
    _tag: str = field(default="", compare=False, repr=False)

    @property
    def position(self) -> str:
        """Where to resume after this item, as ``from_position``; to be kept as it is.

        Besides an offset it says which run of which workflow was read. So a reader that resumes
        there is told if the workflow was started anew, reset or replaced meanwhile, and does
        not wait at an offset that belongs to something else.
        """
        return position_at(self.offset + 1, self._tag)


Item = WorkflowStreamItem


@dataclass(frozen=True, slots=True)
class Gap:
    """The offsets ``start`` to ``end - 1`` are lost to this reader.

    ``reason`` is "truncated" (the stream dropped them), "expired" (the namespace's
    retention deleted the run that held them) or "unserved" (hosted by a contrib that answers
    no reads once it has ended; told to every reader, wherever it started). ``position`` is
    where to resume after it.
    """

    start: int
    end: int
    reason: GapReason
    position: str = field(default="", compare=False, repr=False)

    @property
    def count(self) -> int:
        """How many offsets are lost."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Rewind:
    """What stands at the offsets in ``ranges`` is superseded: undo what it did.

    Attributes:
        ranges: Superseded offsets, ascending; over all topics.
        reason: "attempt": an activity was retried, the stream goes on at a higher offset;
            "retry", "cron", "reset": the workflow itself started again, and the offsets from
            ``next_offset`` on are used anew. Some of the items may come again. "replaced", only
            for who resumes at a position: another workflow has the id by now, whose stream is
            told from its start on.
        next_offset: Offset of the next item.
        activity_id: With "attempt", which activity, or the id of a workflow that publishes to this
            one's stream and was retried.
        attempt: With "attempt", the number of the attempt that took over.
        position: Where to resume after it.
    """

    ranges: tuple[range, ...]
    reason: RewindReason
    next_offset: int
    activity_id: str | None = None
    attempt: int = 0
    position: str = field(default="", compare=False, repr=False)

    @property
    def count(self) -> int:
        """How many offsets are superseded."""
        return sum(len(r) for r in self.ranges)


@dataclass(frozen=True, slots=True)
class End:
    """The stream is over: its workflow has ended.

    Attributes:
        outcome: How the workflow ended.
        offset: Head of the stream: one more than the last item's offset. Where a contrib's host
            does not tell its head any more, what is known of it.
        run_id: The run that ended.
        failure: The workflow's failure, with "failed", as the SDK decodes it.
        position: Where to resume, which brings this end again, or what a new start, a reset or
            another workflow of that id has brought.
    """

    outcome: Outcome
    offset: int
    run_id: str
    failure: BaseException | None = field(default=None, compare=False)
    position: str = field(default="", compare=False, repr=False)


Event: TypeAlias = Item[T] | Gap | Rewind | End
"""What ``follow()`` yields."""


@dataclass(frozen=True, slots=True)
class Last:
    """A start ``n`` items before the stream's head, as ``from_offset``."""

    n: int


LATEST = Last(0)
"""Start at the head: only what is published from now on."""
