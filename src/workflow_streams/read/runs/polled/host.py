"""What only the host of a polled stream knows: where its log begins and ends now."""

from __future__ import annotations

import asyncio
import logging
import uuid

from temporalio.client import (
    Client,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError

from ....errors import WorkflowStreamError
from ....log import wire
from ....log.wire import PollInput, PollResult
from ...waiting import unless
from .calls import Handle, asked, awaited, closed, decoding, head_of, kind_of

logger = logging.getLogger("workflow_streams")

# Without an answer, readers are served what the feed has; with no worker, nothing is truncated.
_PATIENCE_SECONDS = 5.0

# A run has 2,000 Updates in all, so a host that takes nothing else is not asked for each reader.
_UPDATE_SECONDS = 1.0

# A poll of a topic without items brings none, so that it takes little room in the history.
_NO_TOPIC = "__temporal_workflow_stream_none"


class PolledHost:
    """Asks a contrib's host, once for all readers that come at a time."""

    def __init__(self, client: Client, workflow_id: str) -> None:
        """Prepare to ask the workflow."""
        self._client = client
        self._workflow_id = workflow_id
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._has_query = True

    async def base(self, run_id: str, known: int, head: int, since: float) -> int:
        """Return where a run's log began at the time ``since``, or after it.

        Args:
            run_id: The run.
            known: Where it begins at the least; this is the answer as well if there is no other.
            head: An offset that the log has come to.
            since: Time of the event loop.
        """
        handle = self._handle(run_id)
        async with self._asking:
            if self._asked_at >= since - (0 if self._has_query else _UPDATE_SECONDS):
                return known
            now = asyncio.get_running_loop().time()
            found = None
            try:
                asking = awaited(lambda: self._ask(handle, known, head))
                found = await unless(asking, seconds=_PATIENCE_SECONDS)
            except (
                RPCError,
                WorkflowStreamError,
                WorkflowUpdateFailedError,
                WorkflowUpdateRPCTimeoutOrCancelledError,
            ) as err:
                logger.info("Workflow %r does not tell its base: %s", self._workflow_id, err)
            self._asked_at = now
        return known if found is None else found

    async def head(self, run_id: str) -> int:
        """Return a run's head.

        Raises:
            HostUnavailableError: No worker answers.
            StreamNotFoundError: The workflow hosts no stream.
        """
        return await head_of(self._handle(run_id), wait=False)

    async def has_closed(self, run_id: str) -> bool:
        """Return whether a run has closed."""
        return await closed(self._handle(run_id))

    def _handle(self, run_id: str) -> Handle:
        return self._client.get_workflow_handle(self._workflow_id, run_id=run_id)

    async def _ask(self, handle: Handle, known: int, head: int) -> int:
        if self._has_query:
            try:
                page: PollResult = await asked(
                    handle, wire.POLL, PollInput([], known), PollResult, wait=False
                )
                return _first(page)
            except WorkflowQueryFailedError:
                self._has_query = False
        # Offset 0 would mean the base, so that the loss of item 0 alone stays unnoticed.
        lowest = max(known, 1)
        if lowest >= head or not await self._lacks(handle, lowest):
            return known
        # A poll of the base would wait if there were nothing.
        if await self._lacks(handle, head - 1):
            return head
        return _first(await self._poll(handle, PollInput([], 0)))

    async def _lacks(self, handle: Handle, offset: int) -> bool:
        try:
            await self._poll(handle, PollInput([_NO_TOPIC], offset))
        except WorkflowUpdateFailedError as err:
            if kind_of(err) == wire.TRUNCATED_OFFSET:
                return True
            raise
        return False

    async def _poll(self, handle: Handle, poll: PollInput) -> PollResult:
        with decoding(self._workflow_id):
            page: PollResult = await handle.execute_update(
                wire.POLL,
                poll,
                id=f"workflow-streams-base-{uuid.uuid4().hex}",
                result_type=PollResult,
            )
        return page


def _first(page: PollResult) -> int:
    return page.items[0].offset if page.items else page.next_offset
