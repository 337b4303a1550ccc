"""Answers clients that poll, from the workflow's memory. Runs in the workflow sandbox."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from ...log import wire
from ...log.wire import MAX_POLL_BYTES, PollInput, PollResult
from ..log_copy import LogCopy
from .answer_room import AnswerRoom, Hold
from .polled_log import ItemOverPollLimitError, NoRoomError, answer_bytes
from .subscribers import Subscribers


class PollServer:
    """The handlers of the poll Update, the poll Query and the offset Query.

    Attributes:
        count: Polls of this run by Update; the server has a limit for these.
        detaching: Whether the workflow hands over: waiting polls return, new ones are refused.
        tells_end: Whether polls past the last item of a closed stream are refused. Otherwise they
            wait for the workflow's end, as they did in runs of earlier versions.
        subscribers: Those that poll, and where they are.
        room: What a workflow task has for answers.
    """

    def __init__(
        self,
        copy: LogCopy,
        settle: Callable[[], None],
        *,
        native: bool,
        expected: Iterable[int] = (),
    ) -> None:
        """Serve the items of ``copy``, once ``settle`` has brought it up to now.

        Args:
            copy: The workflow's copy of the log.
            settle: Brings it up to what is known, in a place where all handlers of the workflow
                task have run.
            native: Whether what the workflow publishes stands in the history. In a run that began
                under the contrib it does not, and no timer may be set: it would not replay.
            expected: Where the subscribers that the prior run has known will poll.
        """
        self.count = 0
        self.detaching = False
        self.tells_end = False
        self.subscribers = Subscribers(copy, expected)
        self.room = AnswerRoom(native=native)
        self._copy = copy
        self._settle = settle
        self._native = native

    def register(self) -> None:
        """Have the current workflow answer polls."""
        workflow.set_update_handler(wire.POLL, self._wait, validator=self._validate)
        workflow.set_query_handler(wire.POLL, self._collect)
        workflow.set_query_handler(wire.OFFSET_QUERY, self._offset)

    def _offset(self) -> int:
        self._settle()
        return self._copy.fold.head

    def _validate(self, poll: PollInput | None) -> None:
        if poll is None:
            # The converter takes null for any type; a handler that fails stops the workflow.
            raise ApplicationError("A poll has an argument", type=wire.NOT_A_POLL)
        if self.detaching:
            raise ApplicationError(
                "The workflow is handing over to its next run; poll again",
                type=wire.STREAM_DRAINING,
            )
        if self._is_over(poll.from_offset):
            raise _closed()

    async def _wait(self, poll: PollInput) -> PollResult:
        self.room.on_arrival()
        self.count += 1
        self._copy.polled = True
        self.subscribers.begin(poll.from_offset)
        try:
            await workflow.wait_condition(
                lambda: self._has_news(poll.from_offset) or self._is_over(poll.from_offset)
            )
            # What has been settled for the condition is all there is.
            if self._is_over(poll.from_offset):
                raise _closed()
            page = await self._answer(poll)
        finally:
            self.subscribers.end(poll.from_offset)
        self.subscribers.answer(poll.from_offset, page.next_offset)
        return page

    async def _answer(self, poll: PollInput) -> PollResult:
        """Return a page; if its item has no room now, an empty one, to have it asked again."""
        try:
            return self._page(poll)
        except NoRoomError as err:
            # Whether a timer is set must depend on the item alone, not on what else is answered.
            if self._native and err.size > self.room.whole(large=False):
                return await self._large_answer(poll)
        return self._ask_again(poll)

    async def _large_answer(self, poll: PollInput) -> PollResult:
        """Return a page whose item needs the room that other workflows' streams have in a task."""
        hold = Hold(self.room.on_arrival)
        try:
            if not hold.held:
                await workflow.wait_condition(lambda: hold.held or self.detaching)
            return self._page(poll, large=hold.held)
        except NoRoomError:
            return self._ask_again(poll)
        finally:
            hold.end()

    def _ask_again(self, poll: PollInput) -> PollResult:
        self.room.take_for_answer(0)
        return PollResult([], poll.from_offset, more_ready=True)

    def _page(self, poll: PollInput, *, large: bool = False) -> PollResult:
        """Return a page that leaves the other polls with news their share of the room.

        Raises:
            ApplicationError: There is no such item any more, or it is larger than any answer.
            NoRoomError: The first item does not fit into what is left of the room.
        """
        self._settle()
        log = self._copy.log
        if poll.from_offset != 0 and poll.from_offset < log.start:
            raise ApplicationError(
                f"Offset {poll.from_offset} has been truncated; "
                f"the retained stream starts at {log.start}",
                type=wire.TRUNCATED_OFFSET,
            )
        room = self.room.left(large=large)
        share = min(MAX_POLL_BYTES, room // max(1, self.subscribers.with_news))
        page = self._collect_within(poll, share, room)
        self.room.take_for_answer(answer_bytes(page.items))
        return page

    def _has_news(self, offset: int) -> bool:
        self._settle()
        copy = self._copy
        return offset < copy.log.start or offset < copy.fold.head or self.detaching

    def _is_over(self, offset: int) -> bool:
        """Whether the stream is closed, and has nothing more for a poll from this offset.

        It settles nothing: a validator, which asks as well, does not run in a replay.
        """
        fold = self._copy.fold
        return self.tells_end and fold.closed and offset >= max(fold.head, self._copy.log.start)

    def _collect(self, poll: PollInput) -> PollResult:
        self._settle()
        return self._collect_within(poll)

    def _collect_within(
        self, poll: PollInput, limit: int | None = None, room: int | None = None
    ) -> PollResult:
        try:
            return self._copy.log.page(poll, self._copy.fold.head, limit, room)
        except ItemOverPollLimitError as err:
            # Sent all the same, it would fail the workflow task, again and again.
            raise ApplicationError(str(err), type=type(err).__name__, non_retryable=True) from err


def _closed() -> ApplicationError:
    return ApplicationError(
        "The stream has been closed; nothing more comes",
        type=wire.STREAM_CLOSED,
        non_retryable=True,
    )
