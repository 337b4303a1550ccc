"""Reads a stream that a contrib hosts, in any language: by polling its workflow."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, TypeAlias

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from .. import wire
from ..errors import HostUnavailableError, StreamNotFoundError
from ..events import Gap, Last, Rewind
from ..rpc import explain, is_transient
from ..wire import PollInput, PollResult
from .history import until_answered
from .moments import Chunk, Moment

logger = logging.getLogger("workflow_streams")
_Handle: TypeAlias = WorkflowHandle[Any, Any]

_COOLDOWN_SECONDS = 0.1
_RETRY_SECONDS = 0.5
QUERY_SECONDS = 30.0

# The server's answer for an Update that a worker has passed over; it may take the next one.
_UNPROCESSED = "UnprocessedUpdate"

# What the server answers to a query or an Update that no worker takes.
_NO_ANSWER = frozenset(
    {
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.FAILED_PRECONDITION,
    }
)


class Poller:
    """Polls one run.

    The Update's id is made of run and offset, so that all processes at the same place share
    one: a run takes 10 Updates at a time and 2,000 in all. What stands in the log already is
    asked for by Query, where the host has it, and so is everything when the Updates are used up.

    Attributes:
        offset: Where the next page starts.
    """

    def __init__(self, client: Client, workflow_id: str, run_id: str, offset: int) -> None:
        """Prepare to poll from ``offset``, which is not past the head."""
        self._handle: _Handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        self._run_id = run_id
        self._has_query = True
        self._updates_left = True
        self.offset = offset

    def opening(self, rewind: Rewind | None) -> Moment:
        """Return the moment that the run begins with, and what its restart takes back."""
        start = self.offset
        return self._moment(start, 0, rewind=rewind, opened=True, midway=start > 0)

    async def pages(self) -> AsyncGenerator[Moment]:
        """Yield what is published until the run closes; the last of it may be missing."""
        more = True
        while True:
            result = await self._query() if more else None
            if result is not None:
                for moment in self._moments(result):
                    yield moment
            if result is None or not result.items:
                result = await self._wait_for_page()
                if result is None:
                    return
                for moment in self._moments(result):
                    yield moment
            more = result.more_ready
            if not more:
                await asyncio.sleep(_COOLDOWN_SECONDS)

    async def remaining(self) -> AsyncGenerator[Moment]:
        """Yield what a closed run still holds.

        Raises:
            HostUnavailableError: There is no worker to ask.
        """
        more = True
        while more:
            result = await self._query()
            if result is None:
                # Closed runs answer queries only.
                head = await head_of(self._handle)
                if head > self.offset:
                    yield self._moment(head, head, gap=Gap(self.offset, head, "unserved"))
                    self.offset = head
                return
            for moment in self._moments(result):
                yield moment
            more = result.more_ready

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

    async def _wait_for_page(self) -> PollResult | None:
        """Wait until there is a page; None once the run has closed."""
        while True:
            result: PollResult | None = None
            refused: Exception | None = None
            pause = _RETRY_SECONDS
            try:
                result = await self._ask()
            except WorkflowUpdateFailedError as err:
                kind = err.cause.type if isinstance(err.cause, ApplicationError) else None
                if kind == wire.STREAM_DRAINING:
                    pause = _COOLDOWN_SECONDS
                elif kind != _UNPROCESSED:
                    refused = StreamNotFoundError(self._handle.id, f"serves no polls: {err.cause}")
                    refused.__cause__ = err
            except WorkflowUpdateRPCTimeoutOrCancelledError as err:
                if isinstance(err.__cause__, asyncio.CancelledError):
                    raise err.__cause__ from None
            except RPCError as err:
                refused = self._refusal(err)
            if result is not None and result.next_offset > self.offset:
                return result
            # An empty page is that of a run that hands over, and will be the same again.
            if await closed(self._handle):
                return None
            if refused is not None:
                raise refused
            await asyncio.sleep(pause)

    async def _ask(self) -> PollResult | None:
        if not self._updates_left:
            return await self._query()
        try:
            return await self._update(self.offset)
        except WorkflowUpdateFailedError as err:
            if not isinstance(err.cause, ApplicationError) or (
                err.cause.type != wire.TRUNCATED_OFFSET
            ):
                raise
        result = await self._query()
        # To a poll, offset 0 means the base, too.
        return result if result is not None else await self._update(0)

    def _refusal(self, error: RPCError) -> Exception | None:
        """Return what to raise for a refused Update, unless the run has just closed."""
        if error.status == RPCStatusCode.FAILED_PRECONDITION and self._has_query:
            # This run has had its 2,000 Updates.
            self._updates_left = False
            return None
        if error.status == RPCStatusCode.NOT_FOUND or is_transient(error):
            return None
        return explain(error, self._handle.id)

    async def _update(self, offset: int) -> PollResult:
        # A finished poll of offset 0 would tell of the base as it once was; where there is no
        # query that was asked first, it is not shared.
        place = offset or (0 if self._has_query else uuid.uuid4().hex)
        update = await self._handle.start_update(
            wire.POLL,
            PollInput([], offset),
            id=f"workflow-streams-poll-{self._run_id}-{place}",
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
            result_type=PollResult,
        )
        result: PollResult = await update.result()
        return result

    def _moments(self, result: PollResult) -> list[Moment]:
        before, self.offset = self.offset, max(self.offset, result.next_offset)
        first = result.items[0].offset if result.items else self.offset
        moments: list[Moment] = []
        base = 0
        if first > before:
            base = first
            moments.append(self._moment(first, base, gap=Gap(before, first, "truncated")))
        if result.items:
            entries = [(item.topic, item.data) for item in result.items]
            size = sum(len(topic) + len(data) for topic, data in entries)
            moments.append(self._moment(self.offset, base, chunk=Chunk(first, entries, size)))
        return moments

    def _moment(self, head: int, base: int, **what: Any) -> Moment:
        return Moment(self._run_id, head, head, base, **what)


def first_of(offset: int | Last, head: int) -> int:
    """Return where to begin, which is not past the head."""
    return max(0, head - offset.n) if isinstance(offset, Last) else min(offset, head)


async def head_of(handle: _Handle, *, wait: bool = True) -> int:
    """Ask a contrib's host for its head; see :func:`asked`.

    Raises:
        StreamNotFoundError: The workflow hosts no stream.
        HostUnavailableError: There is no worker to ask.
    """
    try:
        head: int = await asked(handle, wire.OFFSET_QUERY, None, int, wait=wait)
        return head
    except WorkflowQueryFailedError as err:
        raise StreamNotFoundError(handle.id, f"hosts no stream: {err}") from err


async def asked(
    handle: _Handle, query: str, argument: Any, result_type: Any, *, wait: bool = True
) -> Any:
    """Make a query; while the run is open, and with ``wait``, wait for a worker that answers.

    Raises:
        HostUnavailableError: No worker answers.
        WorkflowQueryFailedError: The workflow has no such query.
    """
    arguments = [] if argument is None else [argument]
    while True:
        try:
            return await handle.query(
                query,
                args=arguments,
                result_type=result_type,
                rpc_timeout=timedelta(seconds=QUERY_SECONDS),
            )
        except RPCError as err:
            if err.status not in _NO_ANSWER and not is_transient(err):
                raise explain(err, handle.id) from err
            if err.status in _NO_ANSWER and (not wait or await closed(handle)):
                raise HostUnavailableError(
                    handle.id,
                    "holds no stream in its history. If a contrib hosts one, it takes a worker to "
                    f"read it, and none answers: {err.message}",
                ) from err
            logger.info("Asking workflow %r is retried: %s", handle.id, err)
        await asyncio.sleep(_RETRY_SECONDS)


async def closed(handle: _Handle) -> bool:
    """Whether the run has closed."""
    described = await until_answered(handle.describe, handle.id)
    return described.status != WorkflowExecutionStatus.RUNNING
