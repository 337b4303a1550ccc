"""The fold: what becomes of each record, decided alike in the workflow and in every reader.

Pure: no clock, no I/O, no Temporal import. Offsets are dense integers from 0, one sequence
over all topics, assigned in the order in which records stand in the event history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_PREFIX = "wfs1"


@dataclass(frozen=True, slots=True, order=True)
class Attempt:
    """Which attempt of an activity publishes.

    Ordered by the server time at which the attempt was scheduled, then by its number: the
    number alone starts again at 1 when an operator resets the activity.
    """

    scheduled_us: int
    number: int


@dataclass(frozen=True, slots=True)
class ActivityPublisher:
    """The facts in the publisher id of an activity.

    ``source`` is run id and activity id together, since activity ids repeat from run to run.
    """

    run_id: str
    activity_id: str
    attempt: Attempt

    @property
    def source(self) -> str:
        """What all attempts of the one activity share."""
        return f"{self.run_id}/{self.activity_id}"

    def publisher_id(self, nonce: str) -> str:
        """Return the id; ``nonce`` tells the attempt's publishers apart."""
        a = self.attempt
        return f"{_PREFIX}/{self.run_id}/{a.scheduled_us}/{a.number}/{nonce}/{self.activity_id}"


def parse_publisher_id(publisher_id: str) -> ActivityPublisher | None:
    """Invert :meth:`ActivityPublisher.publisher_id`; None for ids of any other shape."""
    parts = publisher_id.split("/", 5)
    if len(parts) != 6 or parts[0] != _PREFIX:
        return None
    _, run_id, scheduled, number, _, activity_id = parts
    if not (scheduled.isascii() and scheduled.isdigit() and number.isascii() and number.isdigit()):
        return None
    if max(len(scheduled), len(number)) > 20:
        return None
    return ActivityPublisher(run_id, activity_id, Attempt(int(scheduled), int(number)))


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer attempt took over: the offsets that the older ones wrote."""

    ranges: tuple[range, ...]
    activity_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """The batch stands in the stream from ``offset`` on."""

    offset: int
    count: int
    superseded: Superseded | None = None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The batch came before under the same sequence, or a later one; dropped whole."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """A newer attempt of the activity has published; the batch is dropped whole."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Malformed:
    """The signal's argument is no batch; ignored and counted."""


Verdict = Accepted | Duplicate | Fenced | Malformed


@dataclass(slots=True)
class _Activity:
    attempt: Attempt
    written: list[range] = field(default_factory=list[range])


class Fold:
    """Head, base, and what is known of each publisher.

    Attributes:
        head: Offset that the next item gets.
        base: Lowest retained offset.
        keep_last: With a ring buffer, how many items are retained; else None.
        publishers: Last accepted sequence by publisher id.
        malformed: Signals ignored because their argument is no batch.
    """

    __slots__ = ("_activities", "_fences", "base", "head", "keep_last", "malformed", "publishers")

    def __init__(
        self,
        head: int = 0,
        base: int = 0,
        publishers: Mapping[str, int] | None = None,
        keep_last: int | None = None,
        *,
        fences: bool = True,
    ) -> None:
        """Start from what the run's opening record says.

        ``fences=False`` takes all attempts of an activity alike, as hosts of the contrib do.
        """
        self._fences = fences
        self.head = head
        self.base = base
        self.keep_last = keep_last
        self.publishers = dict(publishers or {})
        self.malformed = 0
        # What an activity wrote is known within its run only: it cannot be retried in another.
        self._activities: dict[str, _Activity] = {}
        for publisher_id in self.publishers:
            publisher = parse_publisher_id(publisher_id)
            if publisher is not None:
                known = self._activities.get(publisher.source)
                if known is None or known.attempt < publisher.attempt:
                    self._activities[publisher.source] = _Activity(publisher.attempt)

    def batch(self, publisher_id: str, sequence: int, count: int) -> Verdict:
        """Judge a signalled batch of ``count`` items."""
        publisher = parse_publisher_id(publisher_id) if self._fences else None
        superseded = None
        activity = None
        if publisher is not None:
            activity = self._activities.get(publisher.source)
            if activity is None:
                activity = self._activities[publisher.source] = _Activity(publisher.attempt)
            elif publisher.attempt < activity.attempt:
                return Fenced(activity.attempt.number)
            elif publisher.attempt > activity.attempt:
                superseded = Superseded(
                    tuple(activity.written), publisher.activity_id, publisher.attempt.number
                )
                activity.attempt, activity.written = publisher.attempt, []
        if publisher_id:
            last = self.publishers.get(publisher_id)
            if last is not None and sequence <= last:
                return Duplicate()
            self.publishers[publisher_id] = sequence
        offset = self._append(count)
        if activity is not None and count:
            _extend(activity.written, offset, offset + count)
        return Accepted(offset, count, superseded)

    def own(self, count: int) -> Accepted:
        """Append ``count`` items that the workflow itself published."""
        return Accepted(self._append(count), count)

    def truncate(self, base: int) -> None:
        """Move the base up to ``base``; never down, never past the head."""
        self.base = max(self.base, min(base, self.head))

    def reject(self) -> Malformed:
        """Count a malformed signal."""
        self.malformed += 1
        return Malformed()

    def fenced(self, publisher_id: str) -> bool:
        """Whether a newer attempt than this publisher's has published."""
        publisher = parse_publisher_id(publisher_id)
        if publisher is None:
            return False
        activity = self._activities.get(publisher.source)
        return activity is not None and publisher.attempt < activity.attempt

    def _append(self, count: int) -> int:
        offset = self.head
        self.head += count
        if self.keep_last is not None:
            self.base = max(self.base, self.head - self.keep_last)
        return offset


def _extend(ranges: list[range], start: int, stop: int) -> None:
    if ranges and ranges[-1].stop == start:
        ranges[-1] = range(ranges[-1].start, stop)
    else:
        ranges.append(range(start, stop))
