"""Reads a stream that a contrib hosts, in any language: by polling its workflow."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal, TypeVar

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.service import RPCError, RPCStatusCode

from ....errors import HostUnavailableError, StreamNotFoundError
from ....events import Gap, Last, Rewind
from ....log import wire
from ....log.entries import entries_of
from ....log.wire import PollInput, PollResult
from ....temporal import messages
from ....temporal.handles import client_of
from ....temporal.rpc import explain, is_transient
from ...history import outage
from ...history.pages import close_event
from ...moments import Chunk, Moment, Opened, content_size
from ...waiting import ended, unless
from .calls import (
    RETRY_SECONDS,
    Handle,
    asked,
    awaited,
    closed,
    decoding,
    head_of,
    kind_of,
)

T = TypeVar("T")
_Update = WorkflowUpdateHandle[PollResult]

_COOLDOWN_SECONDS = 0.1


class Poller:
    """Polls one run, until that closes.

    The Update's id is made of run and offset, so that all processes that wait at the same place
    share one: a run takes 10 Updates at a time and 2,000 in all. What stands in the log already
    is asked for by Query, where the host has it, and so is everything when the Updates are used
    up.

    No call outlives the run: the server may let one wait long after the close, and answers the
    id of an Update that the close has cut off with "workflow is closing" again and again.

    Attributes:
        offset: Where the next page starts.
    """

    def __init__(
        self,
        client: Client,
        workflow_id: str,
        run_id: str,
        closing: asyncio.Future[HistoryEvent],
        *,
        behind: bool,
    ) -> None:
        """Prepare to poll.

        Args:
            client: Temporal client.
            workflow_id: Workflow that hosts the stream.
            run_id: Run to poll.
            closing: Done when the run has closed.
            behind: Whether the log is known to hold more than what is before the start.
        """
        self._handle: Handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        self._run_id = run_id
        self._closing = closing
        self._behind = behind
        self._has_query = True
        self._used_up: Exception | None = None
        self._accepted: _Update | None = None
        self._stored: PollResult | None = None
        self.offset = 0

    async def begin(self, offset: int | Last, *, reached: bool) -> bool:
        """Find out where to begin; return False if the run has closed before that was known.

        Where the log is known to reach to, a poll is all it takes; past the head, it would wait
        there. A query takes longer: of these, the server keeps one waiting per workflow, and
        refuses others.

        Args:
            offset: Where to begin, unless the head is before it.
            reached: Whether it is known not to be.

        Raises:
            StreamNotFoundError: The workflow hosts no stream.
        """
        if self._closing.done():
            return False
        if isinstance(offset, int) and (reached or offset == 0):
            self.offset = offset
            return self._behind or await self._until_closed(self._start_waiting) is not None
        head = await self._unless_closed(lambda: head_of(self._handle))
        if head is None:
            return False
        self.offset = first_of(offset, head)
        self._behind = head > self.offset
        return True

    def begin_closed(self, offset: int | Last, head: int, *, reached: bool) -> None:
        """Begin to read a run that has closed, with its head known; see :meth:`begin`."""
        self.offset = offset if isinstance(offset, int) and reached else first_of(offset, head)

    def opening(self, rewind: Rewind | None, opened: Opened) -> Moment:
        """Return the moment that the run begins with, and what its restart takes back."""
        start = self.offset
        return self._moment(start, 0, rewind=rewind, opened=opened, midway=start > 0)

    async def pages(self) -> AsyncGenerator[Moment]:
        """Yield what is published until the run closes; the last of it may be missing."""
        more = self._behind
        while True:
            result = await self._unless_closed(self._query) if more else None
            if result is not None:
                for moment in self._moments(result):
                    yield moment
            if result is None or not result.items:
                result = await self._until_closed(self._poll)
                if result is None:
                    return
                for moment in self._moments(result):
                    yield moment
            self._behind = False
            more = result.more_ready
            if not more:
                await asyncio.wait({self._closing}, timeout=_COOLDOWN_SECONDS)

    async def remaining(self, last_head: Callable[[], Awaitable[int]]) -> AsyncGenerator[Moment]:
        """Yield what a closed run still holds, and a gap for what it does not tell any more.

        Args:
            last_head: Finds out how far the stream has come.

        Raises:
            HostUnavailableError: There is no worker to ask.
        """
        more = True
        while more:
            result = await self._query()
            if result is None:
                # Closed runs answer queries only.
                if self._stored is not None:
                    for moment in self._moments(self._stored):
                        yield moment
                head = await last_head()
                if head > self.offset:
                    yield self._moment(head, 0, gap=Gap(self.offset, head, "unserved"))
                    self.offset = head
                return
            for moment in self._moments(result):
                yield moment
            more = result.more_ready

    async def _unless_closed(self, call: Callable[[], Awaitable[T]]) -> T | None:
        """Make a call; None if the run closes first."""
        if self._closing.done():
            return None
        try:
            return await unless(awaited(call), over=self._closing)
        except (HostUnavailableError, StreamNotFoundError):
            if await closed(self._handle):
                return None
            raise

    async def _until_closed(self, call: Callable[[], Awaitable[T | None]]) -> T | None:
        """Make a call until it brings something; None once the run has closed."""
        client, workflow_id = client_of(self._handle), self._handle.id
        while not self._closing.done():
            refused: Exception | None = None
            pause = RETRY_SECONDS
            try:
                result = await self._unless_closed(call)
                if result is not None:
                    outage.answered(client, workflow_id, way="poll")
                    return result
            except WorkflowUpdateFailedError as err:
                kind = kind_of(err)
                if kind == wire.STREAM_DRAINING:
                    pause = _COOLDOWN_SECONDS
                elif not messages.update_passed_over(err):
                    refused = StreamNotFoundError(self._handle.id, f"hosts no stream: {err.cause}")
                    refused.__cause__ = err
            except WorkflowUpdateRPCTimeoutOrCancelledError:
                pass  # the server has not answered
            except RPCError as err:
                refused = self._refusal(err)
                if refused is None and is_transient(err):
                    outage.failed(client, workflow_id, err, way="poll")
            # The call that waits for the close event may hear of it later than this one.
            if self._closing.done() or await closed(self._handle):
                break
            if refused is not None:
                raise refused
            await asyncio.wait({self._closing}, timeout=pause)
        outage.answered(client, workflow_id, way="poll")
        return None

    def _refusal(self, error: RPCError) -> Exception | None:
        """Return what to raise for a refused Update, unless it is to be made again."""
        if error.status == RPCStatusCode.FAILED_PRECONDITION:
            # An Update whose workflow task fails is refused with the same status; it is made again.
            if messages.updates_used_up(error):
                self._used_up = explain(error, self._handle.id)
            return None
        if error.status == RPCStatusCode.NOT_FOUND or is_transient(error):
            return None
        return explain(error, self._handle.id)

    async def _poll(self) -> PollResult | None:
        """Wait for a page; None if there is nothing in it.

        An empty page is that of a run that hands over, and will be the same again.
        """
        result = await self._updated() if self._used_up is None else await self._query()
        if result is None:
            assert self._used_up is not None
            raise self._used_up.with_traceback(None)
        if result.next_offset > self.offset:
            return result
        # There are items, but the task that answered had no room for them. The id by which readers
        # share a poll would bring the same answer again.
        self._behind = self._behind or result.more_ready
        return None

    async def _updated(self) -> PollResult:
        update, self._accepted = self._accepted, None
        if update is None:
            # What is there already is not waited for, so nobody has to share that.
            update = await self._start(self.offset, shared=not self._behind)
        try:
            page = await self._result(update)
        except WorkflowUpdateFailedError as err:
            if kind_of(err) != wire.TRUNCATED_OFFSET:
                raise
            return await self._base_page()
        if self.offset == 0 and _outcome(update) is not None:
            # It may tell of the base as it was when another reader waited there.
            self._stored = page
            page = await self._base_page()
            self._stored = None
        return page

    async def _base_page(self) -> PollResult:
        """Ask for the page at the base, which is past ``offset``."""
        result = await self._query()
        # To a poll, offset 0 means the base, too.
        return result or await self._result(await self._start(0, shared=False))

    async def _start_waiting(self) -> Literal[True]:
        """Begin the poll that waits at ``offset``, and see it accepted."""
        if self._used_up is not None:
            if await self._query() is None:
                raise self._used_up.with_traceback(None)
            self._behind = True
            return True
        update = await self._start(self.offset, shared=True)
        outcome = _outcome(update)
        if outcome is not None and outcome.HasField("failure"):
            await self._result(update)
        self._accepted = update
        return True

    async def _start(self, offset: int, *, shared: bool) -> _Update:
        place = offset if shared else uuid.uuid4().hex
        with decoding(self._handle.id):
            return await self._handle.start_update(
                wire.POLL,
                PollInput([], offset),
                id=f"workflow-streams-poll-{self._run_id}-{place}",
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                result_type=PollResult,
            )

    async def _result(self, update: _Update) -> PollResult:
        with decoding(self._handle.id):
            return await update.result()

    async def _query(self) -> PollResult | None:
        """Ask for a page that is there; None if the host has no such query."""
        if not self._has_query:
            return None
        try:
            result: PollResult = await asked(
                self._handle, wire.POLL, PollInput([], self.offset), PollResult
            )
            return result
        except WorkflowQueryFailedError:
            self._has_query = False
            return None

    def _moments(self, result: PollResult) -> list[Moment]:
        before, self.offset = self.offset, max(self.offset, result.next_offset)
        first = result.items[0].offset if result.items else self.offset
        moments: list[Moment] = []
        base = 0
        if first > before:
            base = first
            moments.append(self._moment(first, base, gap=Gap(before, first, "truncated")))
        if result.items:
            entries = entries_of((item.topic, item.data) for item in result.items)
            chunk = Chunk(first, entries, content_size(entries))
            moments.append(self._moment(self.offset, base, chunk=chunk))
        return moments

    def _moment(self, head: int, base: int, **what: Any) -> Moment:
        return Moment(self._run_id, head, head, base, **what)


def first_of(offset: int | Last, head: int) -> int:
    """Return where to begin, which is not past the head."""
    return max(0, head - offset.n) if isinstance(offset, Last) else min(offset, head)


@asynccontextmanager
async def closing_of(
    client: Client, workflow_id: str, run_id: str, close: HistoryEvent | None
) -> AsyncGenerator[asyncio.Future[HistoryEvent]]:
    """Wait for a run's close event while in the block, unless it is there already: ``close``."""
    if close is not None:
        known: asyncio.Future[HistoryEvent] = asyncio.get_running_loop().create_future()
        known.set_result(close)
        yield known
        return
    waiting = asyncio.create_task(
        close_event(client, workflow_id, run_id), name=f"follow {workflow_id}"
    )
    try:
        yield waiting
    finally:
        await ended(waiting)


def _outcome(update: _Update) -> Any:
    """Return the outcome of an Update that came with its acceptance; the SDK has no name for it."""
    return getattr(update, "_known_outcome", None)
