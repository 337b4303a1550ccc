"""Answers clients that poll, from the workflow's memory. Runs in the workflow sandbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from ..log import wire
from ..log.fold import Fold
from ..log.wire import PollInput, PollResult
from .polled_log import ItemOverPollLimitError, PolledLog

# A subscriber that has not come back for so long is not waited for any more.
_GONE = timedelta(seconds=10)
_MOST_PLACES = 1000


class PollServer:
    """The handlers of the poll Update, the poll Query and the offset Query.

    Attributes:
        count: Polls of this run by Update; the server has a limit for these.
        detaching: The workflow hands over: waiting polls return, and new ones are refused.
    """

    def __init__(self, fold: Fold, log: PolledLog, settle: Callable[[], None]) -> None:
        """Serve ``log``, up to the head of ``fold``, once ``settle`` has brought both up to now."""
        self._fold = fold
        self._log = log
        self._settle = settle
        self.count = 0
        self.detaching = False
        # Offsets of the polls that wait, and those that subscribers will poll next, with the time
        # at which they were answered; the oldest first.
        self._waiting: list[int] = []
        self._places: list[tuple[int, datetime]] = []

    def register(self) -> None:
        """Have the current workflow answer polls."""
        workflow.set_update_handler(wire.POLL, self._wait, validator=self._validate)
        workflow.set_query_handler(wire.POLL, self._collect)
        workflow.set_query_handler(wire.OFFSET_QUERY, self._offset)

    def needed_from(self) -> int:
        """Return the lowest offset that a subscriber polls, or will poll if it is still there."""
        here = [place for place, answered in self._places if workflow.now() - answered < _GONE]
        return max(self._log.start, min([*here, *self._waiting], default=self._fold.head))

    def _offset(self) -> int:
        self._settle()
        return self._fold.head

    def _validate(self, _poll: PollInput) -> None:
        if self.detaching:
            raise ApplicationError(
                "The workflow is handing over to its next run; poll again",
                type=wire.STREAM_DRAINING,
            )

    async def _wait(self, poll: PollInput) -> PollResult:
        self.count += 1
        self._came_back(poll.from_offset)
        self._waiting.append(poll.from_offset)
        try:
            await workflow.wait_condition(lambda: self._has_news(poll.from_offset))
        finally:
            self._waiting.remove(poll.from_offset)
        if poll.from_offset != 0 and poll.from_offset < self._log.start:
            raise ApplicationError(
                f"Offset {poll.from_offset} has been truncated; "
                f"the retained stream starts at {self._log.start}",
                type=wire.TRUNCATED_OFFSET,
            )
        page = self._collect(poll)
        # An answer of the run's last task may not reach the subscriber, who then asks again.
        place = poll.from_offset if self.detaching else page.next_offset
        self._places.append((place, workflow.now()))
        del self._places[:-_MOST_PLACES]
        return page

    def _came_back(self, offset: int) -> None:
        """Forget one place at this offset: its subscriber is the one who polls."""
        for index, (place, _) in enumerate(self._places):
            if place == offset:
                del self._places[index]
                return

    def _has_news(self, offset: int) -> bool:
        self._settle()
        return offset < self._log.start or offset < self._fold.head or self.detaching

    def _collect(self, poll: PollInput) -> PollResult:
        self._settle()
        try:
            # A task's answers go to the server in one message, which holds 4 MiB.
            return self._log.page(poll, self._fold.head, 1 + len(self._waiting))
        except ItemOverPollLimitError as err:
            # Sent all the same, it would fail the workflow task, again and again.
            raise ApplicationError(str(err), type=type(err).__name__, non_retryable=True) from err
