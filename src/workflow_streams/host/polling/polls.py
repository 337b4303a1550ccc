"""Answers clients that poll, from the workflow's memory. Runs in the workflow sandbox.

All answers that a workflow task gives go to the server in one message, together with what the
workflow publishes. The server takes 4 MiB in one message, and ends a workflow whose task brings
more. So the polls that are answered in the same task share a fixed part of it.

How much is left of that part must be the same in a replay, since the places of subscribers decide
when a rollover goes on. A replay may group tasks differently, so the part is whole again only when
a message arrives, or a timer fires, in a later task than the last answer. Until then a later task
may have less than it could, but never more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from ...log import wire
from ...log.fold import Fold
from ...log.wire import MAX_POLL_BYTES, PollInput, PollResult
from ..external.signalling import MAX_IN_FLIGHT_BYTES, Signalling, in_flight_here
from .polled_log import ItemOverPollLimitError, NoRoomError, PolledLog, answer_bytes

# A subscriber that has not come back for so long is not waited for any more.
_GONE = timedelta(seconds=10)
_MOST_PLACES = 1000
# The answers of one task, together with what it sends to other workflows' streams. Half of what
# is left of 4 MiB beside 64 KiB for everything else; what the task itself publishes has the other
# half (see stream.py).
_ANSWERS_BYTES = 2016 * 1024
A_MOMENT = 0.001
"""Any time at all, in seconds: a timer fires in a later workflow task."""


class _Hold:
    """Holds all the room that streams of other workflows have in a task, for one large answer.

    It waits for its turn like a batch for such a stream, until nothing is in flight. It ends by a
    timer, which fires in a later task than the answer was given in, so each task has one at most.

    Attributes:
        held: Whether its turn has come.
        next_bytes: How much room it takes.
    """

    next_bytes = MAX_IN_FLIGHT_BYTES

    def __init__(self, on_next_task: Callable[[], None]) -> None:
        """Begin to wait.

        Args:
            on_next_task: Called in a later task, before the next one has its turn.
        """
        self.held = False
        self._is_over = False
        self._on_next_task = on_next_task
        self._in_flight = in_flight_here()
        self._in_flight.admit(cast("Signalling", self))

    def send(self) -> None:
        """Take the room. Called when there is room and the turn has come."""
        self.held = True
        if self._is_over:
            self._in_flight.settle(self.next_bytes)

    def end(self) -> None:
        """Give the room back in the next task, or give up waiting."""
        self._is_over = True
        if self.held:
            asyncio.get_running_loop().call_later(A_MOMENT, self._give_back)

    def _give_back(self) -> None:
        self._on_next_task()
        self._in_flight.settle(self.next_bytes)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a subscriber is that has been answered.

    Attributes:
        before: The offset that it had asked from.
        after: The one that it asks from next, if it gets the answer.
        answered: When it was answered.
        moment: Between which calls of :meth:`PollServer.next_moment`.
        length: How long the history was.
    """

    before: int
    after: int
    answered: datetime
    moment: int
    length: int


class PollServer:
    """The handlers of the poll Update, the poll Query and the offset Query.

    Attributes:
        count: Polls of this run by Update; the server has a limit for these.
        detaching: The workflow hands over: waiting polls return, and new ones are refused.
    """

    def __init__(
        self, fold: Fold, log: PolledLog, settle: Callable[[], None], *, native: bool
    ) -> None:
        """Serve ``log``, up to the head of ``fold``, once ``settle`` has brought both up to now.

        Args:
            fold: The stream's head.
            log: The stream's newest items.
            settle: Brings both up to what is known.
            native: Whether what the workflow publishes stands in the history. In a run that began
                under the contrib it does not, and no timer may be set: it would not replay.
        """
        self._fold = fold
        self._log = log
        self._settle = settle
        self._native = native
        self.count = 0
        self.detaching = False
        # Offsets of the polls that wait, and where the others are, the oldest answer first.
        self._waiting: list[int] = []
        self._places: list[_Place] = []
        self._moment = 0
        # What has been taken of the room for answers, and the history's length at the last one.
        self._taken = 0
        self._answered_at: int | None = None

    def register(self) -> None:
        """Have the current workflow answer polls."""
        workflow.set_update_handler(wire.POLL, self._wait, validator=self._validate)
        workflow.set_query_handler(wire.POLL, self._collect)
        workflow.set_query_handler(wire.OFFSET_QUERY, self._offset)

    def take_room(self, size: int) -> int:
        """Take room for something else that the run's first task brings; return what has none."""
        taken = min(size, self._room(large=False))
        self._taken += taken
        return size - taken

    def on_arrival(self) -> None:
        """Know that a message or a timer has come: if this is a later task, all room is free.

        Not the length alone decides, as it may have grown in a replay where it has not live, or
        the other way round. It tells only that no poll has been answered in this task before.
        """
        length = workflow.info().get_current_history_length()
        if self._answered_at is not None and length != self._answered_at:
            self._taken, self._answered_at = 0, None

    def next_moment(self) -> None:
        """Tell those that have been answered so far from those to be answered from now on."""
        self._moment += 1

    def needed_from(self) -> int:
        """Return the lowest offset that a subscriber polls, or will poll if it is still there."""
        return self._needed_from(lambda _: True)

    def needed_after_moment(self) -> int:
        """Return the same if no answer since :meth:`next_moment` arrives.

        An answer of the run's last task does not reach its subscriber, who asks again in the next
        run.
        """
        return self._needed_from(lambda place: place.moment < self._moment)

    def needed_after_task(self) -> int:
        """Return the same if the run ends in this task, so that none of its answers arrives.

        A replay may group tasks differently, and return something else.
        """
        length = workflow.info().get_current_history_length()
        return min(
            self._needed_from(lambda place: place.length < length),
            self.needed_after_moment() if self._moment else self._fold.head,
        )

    def _needed_from(self, arrives: Callable[[_Place], bool]) -> int:
        now = workflow.now()
        here = [place for place in self._places if now - place.answered < _GONE]
        places = [place.after if arrives(place) else place.before for place in here]
        return max(self._log.start, min([self._fold.head, *self._waiting, *places]))

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
        self.on_arrival()
        self.count += 1
        self._came_back(poll.from_offset)
        self._waiting.append(poll.from_offset)
        try:
            await workflow.wait_condition(lambda: self._has_news(poll.from_offset))
            page = await self._answer(poll)
        finally:
            self._waiting.remove(poll.from_offset)
        length = workflow.info().get_current_history_length()
        place = _Place(poll.from_offset, page.next_offset, workflow.now(), self._moment, length)
        self._places.append(place)
        del self._places[:-_MOST_PLACES]
        return page

    async def _answer(self, poll: PollInput) -> PollResult:
        """Return a page; an empty one that has the client ask again if its item has no room now."""
        try:
            return self._page(poll)
        except NoRoomError as err:
            # Whether a timer is set must depend on the item alone, not on what else is answered.
            if self._native and err.size > self._whole_room(large=False):
                return await self._large_answer(poll)
        return self._ask_again(poll)

    async def _large_answer(self, poll: PollInput) -> PollResult:
        """Return a page whose item needs the room that other workflows' streams have in a task."""
        hold = _Hold(self.on_arrival)
        try:
            if not hold.held:
                await workflow.wait_condition(lambda: hold.held or self.detaching)
            return self._page(poll, large=hold.held)
        except NoRoomError:
            return self._ask_again(poll)
        finally:
            hold.end()

    def _ask_again(self, poll: PollInput) -> PollResult:
        self._answered_at = workflow.info().get_current_history_length()
        return PollResult([], poll.from_offset, more_ready=True)

    def _page(self, poll: PollInput, *, large: bool = False) -> PollResult:
        """Return a page that leaves their share to the other polls with news.

        Raises:
            ApplicationError: There is no such item any more, or it is larger than any answer.
            NoRoomError: The first item does not fit into what is left of the room.
        """
        self._settle()
        if poll.from_offset != 0 and poll.from_offset < self._log.start:
            raise ApplicationError(
                f"Offset {poll.from_offset} has been truncated; "
                f"the retained stream starts at {self._log.start}",
                type=wire.TRUNCATED_OFFSET,
            )
        room = self._room(large=large)
        sharers = sum(offset < self._fold.head for offset in self._waiting)
        page = self._collect_within(poll, min(MAX_POLL_BYTES, room // max(1, sharers)), room)
        self._taken += answer_bytes(page.items)
        self._answered_at = workflow.info().get_current_history_length()
        return page

    def _room(self, *, large: bool) -> int:
        return max(0, self._whole_room(large=large) - self._taken)

    def _whole_room(self, *, large: bool) -> int:
        # Where the workflow's own items are no commands, the streams of others can have their room.
        return _ANSWERS_BYTES - (MAX_IN_FLIGHT_BYTES if self._native and not large else 0)

    def _came_back(self, offset: int) -> None:
        """Forget one place at this offset: its subscriber is the one who polls."""
        for index, place in enumerate(self._places):
            if place.after == offset:
                del self._places[index]
                return

    def _has_news(self, offset: int) -> bool:
        self._settle()
        return offset < self._log.start or offset < self._fold.head or self.detaching

    def _collect(self, poll: PollInput) -> PollResult:
        self._settle()
        return self._collect_within(poll)

    def _collect_within(
        self, poll: PollInput, limit: int | None = None, room: int | None = None
    ) -> PollResult:
        try:
            return self._log.page(poll, self._fold.head, limit, room)
        except ItemOverPollLimitError as err:
            # Sent all the same, it would fail the workflow task, again and again.
            raise ApplicationError(str(err), type=type(err).__name__, non_retryable=True) from err
