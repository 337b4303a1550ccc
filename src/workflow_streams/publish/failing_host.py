"""Reports workflows whose task fails again and again, so that they process nothing.

The server goes on taking signals for them. So publishing works until the run is full, and before
that nobody would notice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
)

from ..errors import WorkflowStreamError
from ..read.waiting import ended
from ..temporal.link import rpc

if TYPE_CHECKING:
    from ..read.feeds.feed import Feed

logger = logging.getLogger("workflow_streams")

# The server holds signals back while a task runs: for 10 s if its worker reports no end of it.
_PATIENCE_SECONDS = 5.0


def failing_attempt(described: WorkflowExecutionDescription) -> int:
    """Return which attempt the run's workflow task is at; 0 if none has failed or timed out.

    New signals make the server count from 1 again, so the number is seldom far over 2.
    """
    if described.status != WorkflowExecutionStatus.RUNNING:
        return 0
    attempt = described.raw_description.pending_workflow_task.attempt
    return attempt if attempt > 1 else 0


def explain_failing(workflow_id: str, attempt: int) -> str:
    """Return the text that reports a failing task."""
    return (
        f"Workflow {workflow_id!r}: its workflow task has failed or timed out, and is at attempt "
        f"{attempt}. Until it succeeds, the workflow does nothing, and its run only grows; its "
        "worker's log says what is wrong"
    )


class _Watch:
    """Watches one stream's host for all callers that have waited for it for long.

    Attributes:
        waiting: How many callers there are.
    """

    def __init__(self, handle: WorkflowHandle[Any, Any]) -> None:
        self.waiting = 0
        self.task = asyncio.create_task(_watch(handle), name="watch the host")


_watches: WeakKeyDictionary[Feed, _Watch] = WeakKeyDictionary()


@asynccontextmanager
async def told_if_failing(feed: Feed, handle: WorkflowHandle[Any, Any]) -> AsyncIterator[None]:
    """Wait for a stream in the block; if that takes long and the task fails, the log says so.

    All who wait for a stream at the same time share the calls that find this out, and one log line.
    """
    joined: list[_Watch] = []

    def join() -> None:
        watch = _watches.get(feed)
        if watch is None:
            watch = _watches[feed] = _Watch(handle)
        watch.waiting += 1
        joined.append(watch)

    timer = feed.loop.call_later(_PATIENCE_SECONDS, join)
    try:
        yield
    finally:
        timer.cancel()
        for watch in joined:
            watch.waiting -= 1
            if not watch.waiting:
                del _watches[feed]
                await ended(watch.task)


async def _watch(handle: WorkflowHandle[Any, Any]) -> None:
    while True:
        with suppress(WorkflowStreamError):
            if attempt := failing_attempt(await rpc(handle.describe(), handle.id)):
                logger.warning(explain_failing(handle.id, attempt))
                return
        await asyncio.sleep(_PATIENCE_SECONDS / 5)
