"""What a fold has to come to, by looking through all that happened, again and again.

Written from the rules, not from the code: it keeps every record, holds no table and no
counter, and knows who publishes from the test instead of reading it out of the id.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plain:
    """A publisher whose id says nothing of attempts; an empty id is not deduplicated."""

    id: str


@dataclass(frozen=True)
class FromActivity:
    """One of the publishers of one attempt of an activity."""

    run: str
    name: str
    scheduled: int
    number: int
    nonce: str

    @property
    def id(self) -> str:
        return f"wfs1/{self.run}/{self.scheduled}/{self.number}/{self.nonce}/{self.name}"

    @property
    def activity(self) -> tuple[str, str]:
        return self.run, self.name

    @property
    def attempt(self) -> tuple[int, int]:
        return self.scheduled, self.number


@dataclass(frozen=True)
class FromWorkflow:
    """One of the publishers of a run of another workflow."""

    first: str
    name: str
    begun: int
    number: int
    run: str
    before: str
    nonce: str

    @property
    def id(self) -> str:
        return (
            f"wfw1/{self.first}/{self.begun}/{self.number}"
            f"/{self.run}/{self.before}/{self.nonce}/{self.name}"
        )

    @property
    def activity(self) -> tuple[str, str]:
        return f"workflow {self.first}", self.name

    @property
    def attempt(self) -> tuple[int, int]:
        return self.begun, self.number


@dataclass(frozen=True)
class Session:
    """One session of a producer, whose batches are numbered from 1 without a gap."""

    producer: str
    epoch: int

    @property
    def id(self) -> str:
        return f"wfp1/{self.epoch}/{self.producer}"


Attempting = FromActivity | FromWorkflow
Who = Plain | FromActivity | FromWorkflow | Session


@dataclass(frozen=True)
class Batch:
    who: Who
    sequence: int
    count: int
    close: bool = False
    order: str | None = None


@dataclass(frozen=True)
class Own:
    count: int


@dataclass(frozen=True)
class Truncate:
    base: int


@dataclass(frozen=True)
class Garbage:
    """A publish signal whose argument is no batch."""


Step = Batch | Own | Truncate | Garbage


@dataclass(frozen=True)
class Outcome:
    """What became of a batch: "accepted", "duplicate", "fenced", "out of sequence" and so on.

    ``superseded`` holds the offsets that an accepted batch takes back, None without a newer
    attempt. ``fact`` is what else the writer is told: the number that fences or supersedes, the
    sequence or the ordering key that was expected, whether the batch itself closed the stream.
    """

    what: str
    offset: int | None = None
    superseded: frozenset[int] | None = None
    fact: object = None


@dataclass
class FoldModel:
    first: int = 0
    base: int = 0
    carried: list[tuple[Who, int]] = field(default_factory=list)
    keep_last: int | None = None
    fences: bool = True
    closable: bool = False
    order: str = ""
    written: list[Who | None] = field(default_factory=list)
    """Who wrote each offset from ``first`` on; None is the workflow itself."""
    accepted: list[Batch] = field(default_factory=list)

    @property
    def head(self) -> int:
        return self.first + len(self.written)

    def take(self, step: Step) -> Outcome | None:
        outcome = None
        match step:
            case Batch(who, _, count):
                outcome = self._judge(step)
                if outcome.what == "accepted":
                    self.accepted.append(step)
                    self._write(who, count)
            case Own(count):
                self._write(None, count)
            case Truncate(base):
                self.base = sorted([self.base, base, self.head])[1]
            case Garbage():
                pass
        return outcome

    def _write(self, who: Who | None, count: int) -> None:
        self.written += [who] * count
        if self.keep_last is not None and self.head - self.keep_last > self.base:
            self.base = self.head - self.keep_last

    def _judge(self, batch: Batch) -> Outcome:
        who = batch.who
        for earlier in self.accepted:
            if earlier.close and self.closable:
                same = (earlier.who, earlier.sequence) == (who, batch.sequence)
                return Outcome("closed", fact=same and who.id != "")
        if isinstance(who, Session):
            refused = self._judge_session(who, batch.sequence)
            if refused is not None:
                return refused
        newest = self._newest_attempt(who)
        if newest is not None and newest.attempt > who.attempt:  # type: ignore[union-attr]
            return Outcome("fenced", fact=newest.number)
        past = [sequence for other, sequence in self._sequences() if other == who and who.id]
        if past and max(past) >= batch.sequence:
            return Outcome("duplicate", fact=max(past))
        keys = [self.order, *(b.order for b in self.accepted if b.order is not None)]
        if batch.order is not None and batch.order <= max(keys):
            return Outcome("regression", fact=max(keys))
        if newest is not None and self._takes_back(who, newest):
            return Outcome("accepted", self.head, self._written_by(newest), who.number)  # type: ignore[union-attr]
        return Outcome("accepted", self.head)

    def _judge_session(self, who: Session, sequence: int) -> Outcome | None:
        sessions = [(w, s) for w, s in self._sequences() if isinstance(w, Session)]
        epochs = [w.epoch for w, _ in sessions if w.producer == who.producer]
        if epochs and max(epochs) > who.epoch:
            return Outcome("fenced", fact=max(epochs))
        due = max([0, *(s for w, s in sessions if w == who)]) + 1
        if sequence > due or sequence < 1:
            newer = bool(epochs) and max(epochs) < who.epoch
            return Outcome("out of sequence", fact=(due, newer))
        return None

    def _takes_back(self, who: Who, newest: Attempting) -> bool:
        if not isinstance(who, FromActivity | FromWorkflow) or who.attempt <= newest.attempt:
            return False
        if isinstance(who, FromActivity) or isinstance(newest, FromActivity):
            return True
        if who.number == 1:
            return False
        return newest.run == who.before or newest.number + 1 < who.number

    def _newest_attempt(self, who: Who) -> Attempting | None:
        """Who published last of the newest attempt; of those carried along, the first one."""
        if not isinstance(who, FromActivity | FromWorkflow) or not self.fences:
            return None
        said = [batch.who for batch in reversed(self.accepted)] + [who for who, _ in self.carried]
        rivals = [
            other
            for other in said
            if isinstance(other, FromActivity | FromWorkflow) and other.activity == who.activity
        ]
        return max(rivals, key=lambda rival: rival.attempt, default=None)

    def _written_by(self, attempt: Attempting) -> frozenset[int]:
        return frozenset(
            offset
            for offset, writer in enumerate(self.written, self.first)
            if isinstance(writer, FromActivity | FromWorkflow)
            and (writer.activity, writer.attempt) == (attempt.activity, attempt.attempt)
        )

    def _sequences(self) -> list[tuple[Who, int]]:
        return self.carried + [(batch.who, batch.sequence) for batch in self.accepted]
