"""The fold: what becomes of each record, decided alike in the workflow and in every reader.

Pure: no clock, no I/O, no Temporal import. Offsets are dense integers from 0, one sequence
over all topics, assigned in the order in which records stand in the event history.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .publisher_ids import Producer, Retried, parse_producer, parse_retried
from .ranges import above


@dataclass(frozen=True, slots=True)
class Superseded:
    """What older attempts wrote, which a newer attempt takes back.

    Attributes:
        ranges: The offsets that the older attempts wrote.
        activity_id: Id of the activity, or of the workflow that publishes here and was retried.
        attempt: Number of the newer attempt.
    """

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
    """A batch with this sequence or a later one came before; this one is dropped whole.

    ``last`` is the publisher's last accepted sequence.
    """

    last: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Fenced:
    """A newer attempt or session of the publisher has published; the batch is dropped whole.

    ``attempt`` is the newer one's number: of an activity's attempt, or a producer's epoch.
    """

    attempt: int


@dataclass(frozen=True, slots=True)
class OutOfSequence:
    """A producer skipped a number; the batch is dropped whole.

    ``new_session`` tells that the epoch is newer, and has to begin with ``expected``.
    """

    expected: int
    new_session: bool = False


@dataclass(frozen=True, slots=True)
class Regression:
    """The writer's own ordering key does not rise; the batch is dropped whole."""

    last: str


@dataclass(frozen=True, slots=True)
class Closed:
    """The stream had been closed; the batch is dropped whole.

    ``by_this`` tells whether an earlier copy of this very batch closed it.
    """

    by_this: bool


@dataclass(frozen=True, slots=True)
class Torn:
    """Fragments of the batch are missing; it is dropped whole and may be sent again."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """The signal's argument is no batch; ignored and counted."""


Key = TypeVar("Key")
Verdict = Accepted | Duplicate | Fenced | OutOfSequence | Regression | Closed | Torn | Malformed


def note_verdict(verdicts: MutableMapping[Key, Verdict], batch: Key, verdict: Verdict) -> None:
    """Note a verdict, unless it only concerns a copy of a batch that has one already.

    A copy of a batch is a duplicate, or it is fenced if a newer attempt has published meanwhile;
    the first copy stands all the same. Only if the workflow was started anew can the same batch
    be accepted again; the earlier verdict is void then.
    """
    if isinstance(verdict, Accepted):
        verdicts[batch] = verdict
    elif not isinstance(verdict, Duplicate):
        verdicts.setdefault(batch, verdict)


@dataclass(slots=True)
class _Execution:
    """What is known of an activity or another workflow: its newest attempt, and what that wrote."""

    publisher: Retried
    written: list[range] = field(default_factory=list[range])


class Fold:
    """Head, base, and what is known of each publisher.

    Attributes:
        head: Offset that the next item gets.
        base: Lowest retained offset.
        keep_last: With a ring buffer, how many items are retained; else None.
        publishers: Last accepted sequence by publisher id.
        malformed: Signals ignored because their argument is no batch.
        closed_by: Publisher id and sequence of the batch that closed the stream; else None.
        order: Highest ordering key that a batch came with; empty if none did.
    """

    __slots__ = (
        "_closable",
        "_epochs",
        "_executions",
        "_fences",
        "base",
        "closed_by",
        "head",
        "keep_last",
        "malformed",
        "order",
        "publishers",
    )

    def __init__(
        self,
        head: int = 0,
        base: int = 0,
        publishers: Mapping[str, int] | None = None,
        keep_last: int | None = None,
        *,
        fences: bool = True,
        closable: bool = False,
        order: str = "",
        written: Mapping[str, Sequence[range]] | None = None,
        closed_by: tuple[str, int] | None = None,
    ) -> None:
        """Start from what the run's opening record says.

        Args:
            head: Offset that the next item gets.
            base: Lowest retained offset.
            publishers: Last accepted sequence by publisher id.
            keep_last: Size of the ring buffer; None if there is none.
            fences: Whether newer attempts supersede and fence older ones. False for hosts of the
                contrib, which treat all attempts alike.
            closable: Whether batches may close the stream.
            order: Highest ordering key so far.
            written: What the newest attempts wrote in earlier runs, by execution.
            closed_by: Publisher id and sequence of the batch that closed the stream in an earlier
                run; None if it is open.
        """
        self._fences = fences
        self._closable = closable
        self.closed_by = closed_by
        self.order = order
        self.head = head
        self.base = base
        self.keep_last = keep_last
        self.publishers = dict(publishers or {})
        self.malformed = 0
        self._executions: dict[str, _Execution] = {}
        self._epochs: dict[str, int] = {}
        for publisher_id in self.publishers:
            if (publisher := parse_retried(publisher_id)) is not None:
                known = self._executions.get(publisher.execution)
                if known is None or known.publisher.attempt < publisher.attempt:
                    ranges = (written or {}).get(publisher.execution, ())
                    self._executions[publisher.execution] = _Execution(publisher, list(ranges))
            elif (producer := parse_producer(publisher_id)) is not None:
                epoch = self._epochs.get(producer.producer_id, 0)
                self._epochs[producer.producer_id] = max(epoch, producer.epoch)

    @property
    def closed(self) -> bool:
        """Whether a batch has closed the stream."""
        return self.closed_by is not None

    def batch(
        self,
        publisher_id: str,
        sequence: int,
        count: int,
        *,
        close: bool = False,
        order: str | None = None,
    ) -> Verdict:
        """Judge a signalled batch of ``count`` items.

        Args:
            publisher_id: Identifies the publisher; if empty, nothing is deduplicated.
            sequence: The batch's number among the publisher's.
            count: How many items it holds.
            close: Whether it closes the stream, where the stream allows that.
            order: Key that has to rise from batch to batch, over all writers that give one.
        """
        if self.closed:
            return Closed(bool(publisher_id) and self.closed_by == (publisher_id, sequence))
        producer = None
        publisher = parse_retried(publisher_id) if self._fences else None
        if publisher is not None:
            newest = self._executions.get(publisher.execution)
            if newest is not None and publisher.attempt < newest.publisher.attempt:
                return Fenced(newest.publisher.attempt.number)
        elif (producer := parse_producer(publisher_id)) is not None:
            refused = self._admit(producer, sequence)
            if refused is not None:
                return refused
        last = self.publishers.get(publisher_id) if publisher_id else None
        if last is not None and sequence <= last:
            return Duplicate(last)
        if order is not None and order <= self.order:
            return Regression(self.order)
        self._note(publisher_id, sequence, producer)
        self.order = self.order if order is None else order
        if close and self._closable:
            self.closed_by = (publisher_id, sequence)
        offset = self._append(count)
        superseded = self._enter(publisher, offset, count) if publisher is not None else None
        return Accepted(offset, count, superseded)

    def _enter(self, publisher: Retried, offset: int, count: int) -> Superseded | None:
        """Note what an attempt wrote; return what it supersedes, if it is a newer one."""
        superseded = None
        execution = self._executions.setdefault(publisher.execution, _Execution(publisher))
        if execution.publisher.attempt != publisher.attempt:
            if publisher.supersedes(execution.publisher):
                superseded = Superseded(
                    tuple(execution.written), publisher.name, publisher.attempt.number
                )
            execution.written = []
        execution.publisher = publisher
        if count:
            _extend(execution.written, offset, offset + count)
        return superseded

    def _admit(self, producer: Producer, sequence: int) -> Fenced | OutOfSequence | None:
        """Return why a producer's batch is refused; None if it is not."""
        epoch = self._epochs.get(producer.producer_id)
        if epoch is not None and producer.epoch < epoch:
            return Fenced(epoch)
        last = self.publishers.get(producer.publisher_id, 0)
        if sequence > last + 1 or sequence < 1:
            return OutOfSequence(last + 1, epoch is not None and producer.epoch > epoch)
        return None

    def _note(self, publisher_id: str, sequence: int, producer: Producer | None) -> None:
        if not publisher_id:
            return
        if producer is not None:
            epoch = self._epochs.get(producer.producer_id)
            if epoch is not None and epoch < producer.epoch:
                self.publishers.pop(Producer(producer.producer_id, epoch).publisher_id, None)
            self._epochs[producer.producer_id] = producer.epoch
        self.publishers[publisher_id] = sequence

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
        publisher = parse_retried(publisher_id)
        if publisher is None:
            return False
        execution = self._executions.get(publisher.execution)
        return execution is not None and publisher.attempt < execution.publisher.attempt

    def written_by(self, publisher_id: str) -> tuple[str, list[range]]:
        """Return a publisher's execution, and what the stream retains of what its attempt wrote.

        Both are empty for publishers without attempts, and once a newer attempt has published.
        """
        publisher = parse_retried(publisher_id) if self._fences else None
        execution = self._executions.get(publisher.execution) if publisher is not None else None
        if (
            publisher is None
            or execution is None
            or publisher.attempt != execution.publisher.attempt
        ):
            return "", []
        return publisher.execution, above(execution.written, self.base)

    @property
    def written(self) -> dict[str, list[range]]:
        """What the stream retains of what the newest attempts wrote, by execution."""
        known = (
            (name, above(execution.written, self.base))
            for name, execution in self._executions.items()
        )
        return {name: ranges for name, ranges in known if ranges}

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
