"""Where the subscribers that poll are, by which a rollover knows what they still need.

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
_MOST_PLACES = 1000
# So many are told to the next run. The server lets ten polls of a workflow wait at a time.
_MOST_HANDED_OVER = 32


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a subscriber is that has been answered.

    Attributes:
        before: The offset that it had asked from.
        after: The one that it asks from next, if it gets the answer.
        answered: When it was answered.
        moment: Between which calls of :meth:`Places.next_moment`.
        length: How long the history was.
    """

    before: int
    after: int
    answered: datetime
    moment: int
    length: int


class Places:
    """The places of subscribers that wait for an answer, and of those that have had one.

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
        self._answered = [_Place(offset, offset, workflow.now(), -1, 0) for offset in expected]
        self._moment = 0
        self.steps = 0
        self.any_known = bool(self._answered)

    def begin(self, offset: int) -> None:
        """Note that a subscriber waits for what comes from this offset on."""
        for index, place in enumerate(self._answered):
            if place.after == offset:
                # That was this subscriber's place.
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
        self._answered.append(_Place(before, after, workflow.now(), self._moment, length))
        del self._answered[:-_MOST_PLACES]

    @property
    def with_news(self) -> int:
        """How many subscribers wait that have something to be answered with."""
        return sum(offset < self._copy.fold.head for offset in self._waiting)

    def next_moment(self) -> None:
        """Tell the answers that have been given so far from those that are given from now on."""
        self._moment += 1

    def needed_from(self) -> int:
        """Return the lowest offset that a subscriber polls, or will poll if it is still there."""
        return self._needed_from(lambda _: True)

    def needed_after_moment(self) -> int:
        """Return the same if no answer since :meth:`next_moment` arrives.

        An answer that is given in the run's last task does not reach its subscriber, which then
        asks again in the next run.
        """
        return self._needed_from(lambda place: place.moment < self._moment)

    def needed_after_task(self) -> int:
        """Return the same if the run ends in this task, so that none of its answers arrives.

        A replay may group tasks differently, and return something else.
        """
        return self._needed_from(self._arrives_after_task())

    def handed_over(self) -> list[int]:
        """Return where the subscribers poll next; if they are many, those furthest behind.

        The next run may end, too, before they have come back.
        """
        return sorted(self._places(self._arrives_after_task()))[:_MOST_HANDED_OVER]

    def _needed_from(self, arrives: Callable[[_Place], bool]) -> int:
        return max(self._copy.log.start, min([self._copy.fold.head, *self._places(arrives)]))

    def _places(self, arrives: Callable[[_Place], bool]) -> list[int]:
        now = workflow.now()
        here = [place for place in self._answered if now - place.answered < _GONE]
        return self._waiting + [place.after if arrives(place) else place.before for place in here]

    def _arrives_after_task(self) -> Callable[[_Place], bool]:
        length, moment = workflow.info().get_current_history_length(), self._moment
        return lambda place: place.length < length and (not moment or place.moment < moment)
