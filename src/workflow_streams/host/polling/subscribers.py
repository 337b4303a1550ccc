"""The subscribers that poll: from where they ask, so that a rollover knows what they still need.

Runs in the workflow sandbox.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow

from ..log_copy import LogCopy

# A subscriber that has not come back for so long is not waited for any more.
_GONE = timedelta(seconds=10)
_MOST_KNOWN = 1000
# So many are told to the next run. The server lets ten polls of a workflow wait at a time.
_MOST_HANDED_OVER = 32


@dataclass(frozen=True, slots=True)
class _Subscriber:
    """Where a subscriber is that has been answered.

    Attributes:
        before: The offset that it had asked from.
        after: The one that it asks from next, if it gets the answer.
        answered: When it was answered.
        round: Between which calls of :meth:`Subscribers.next_round`.
        length: How long the history was.
    """

    before: int
    after: int
    answered: datetime
    round: int
    length: int


class Subscribers:
    """Subscribers that wait for an answer, and those that have had one.

    Attributes:
        steps: How many polls have come, and how many answers have been given.
        any_known: Whether there are subscribers at all, or have been.
    """

    def __init__(self, copy: LogCopy, expected: Iterable[int]) -> None:
        """Begin with the subscribers that the prior run has known.

        Args:
            copy: The workflow's copy of the log.
            expected: The offsets that they will poll from.
        """
        self._copy = copy
        self._waiting: list[int] = []
        # The oldest answer first.
        self._answered = [_Subscriber(offset, offset, workflow.now(), -1, 0) for offset in expected]
        self._round = 0
        self.steps = 0
        self.any_known = bool(self._answered)

    def begin(self, offset: int) -> None:
        """Note that a subscriber waits for what comes from this offset on."""
        for index, subscriber in enumerate(self._answered):
            if subscriber.after == offset:
                del self._answered[index]
                break
        self._waiting.append(offset)
        self.steps += 1
        self.any_known = True

    def end(self, offset: int) -> None:
        """Note that it does not wait any longer."""
        self._waiting.remove(offset)

    def answer(self, before: int, after: int) -> None:
        """Note that a subscriber has an answer, with which it gets from one offset to another."""
        self.steps += 1
        length = workflow.info().get_current_history_length()
        self._answered.append(_Subscriber(before, after, workflow.now(), self._round, length))
        del self._answered[:-_MOST_KNOWN]

    @property
    def with_news(self) -> int:
        """How many subscribers wait that have something to be answered with."""
        return sum(offset < self._copy.fold.head for offset in self._waiting)

    def next_round(self) -> None:
        """Tell the answers that have been given so far from those that are given from now on."""
        self._round += 1

    def needed_from(self) -> int:
        """Return the lowest offset that a subscriber polls, or will poll if it is still there."""
        return self._needed_from(lambda _: True)

    def needed_after_round(self) -> int:
        """Return the same if no answer since :meth:`next_round` arrives.

        An answer that is given in the run's last task does not reach its subscriber, which then
        asks again in the next run.
        """
        return self._needed_from(lambda subscriber: subscriber.round < self._round)

    def needed_after_task(self) -> int:
        """Return the same if the run ends in this task, so that none of its answers arrives.

        A replay may group tasks differently, and return something else.
        """
        return self._needed_from(self._arrives_after_task())

    def handed_over(self) -> list[int]:
        """Return where the subscribers poll next; if they are many, those furthest behind.

        The next run may end, too, before they have come back.
        """
        return sorted(self._offsets(self._arrives_after_task()))[:_MOST_HANDED_OVER]

    def _needed_from(self, arrives: Callable[[_Subscriber], bool]) -> int:
        return max(self._copy.log.start, min([self._copy.fold.head, *self._offsets(arrives)]))

    def _offsets(self, arrives: Callable[[_Subscriber], bool]) -> list[int]:
        now = workflow.now()
        here = [known for known in self._answered if now - known.answered < _GONE]
        return self._waiting + [known.after if arrives(known) else known.before for known in here]

    def _arrives_after_task(self) -> Callable[[_Subscriber], bool]:
        length, newest = workflow.info().get_current_history_length(), self._round
        return lambda known: known.length < length and (not newest or known.round < newest)
