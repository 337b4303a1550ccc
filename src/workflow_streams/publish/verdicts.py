"""Looks up in the history what became of a publisher's batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeAlias

from temporalio.api.enums.v1 import PendingWorkflowTaskState
from temporalio.client import WorkflowExecutionDescription, WorkflowHandle

from ..errors import FencedError, StreamClosedError
from ..events import LATEST
from ..log.fold import Accepted, Fenced, Verdict
from ..read.feeds.feed import Feed
from ..read.moments import Place
from ..read.tip import wait_for_tip
from ..temporal.link import rpc

_ASK_AGAIN_SECONDS = 0.1

Handle: TypeAlias = WorkflowHandle[Any, Any]

Batch = tuple[str, int]
"""Publisher id and sequence."""


async def offset_of(
    feed: Feed, handle: Handle, verdicts: Mapping[int, Verdict], batch: Batch, index: int
) -> int:
    """Wait for the verdict on a batch; return the offset of its item ``index``.

    Args:
        feed: The stream's feed, which brings the verdicts.
        handle: The stream's workflow.
        verdicts: Those that have come, by sequence.
        batch: Which batch.
        index: Which of its items.

    Raises:
        FencedError: A newer attempt of the activity has published.
        StreamClosedError: The stream was closed before the batch.
    """
    sequence = batch[1]
    await feed.wait_known(lambda: sequence in verdicts)
    match verdicts.get(sequence) or await _verdict_elsewhere(feed, handle, *batch):
        case Accepted(offset):
            return offset + index
        case Fenced(attempt):
            raise FencedError(
                feed.workflow_id, f"attempt {attempt} of this activity publishes now; item dropped"
            )
        case _:
            raise StreamClosedError(feed.workflow_id, "the stream was closed before the item came")


async def _verdict_elsewhere(
    feed: Feed, handle: Handle, publisher_id: str, sequence: int
) -> Verdict | None:
    """Look for a batch that came after the feed's chain of runs had ended.

    That is possible if the workflow has been started again under the same id; the batch stands in
    the new history then.
    """
    anew = Feed(feed.source)
    with anew.mailbox.watched(publisher_id, sequence - 1) as verdicts:
        anew.retain(LATEST)
        try:
            await head_past(anew, handle, lambda: sequence in verdicts)
            return verdicts.get(sequence)
        finally:
            anew.stop()


def seen_by(feed: Feed, publisher_id: str, acknowledged: int) -> Callable[[], bool]:
    """Return a function that tells whether the feed's head includes the batch ``acknowledged``.

    The feed has a page of history only when all of its events have been judged, which may take a
    while if the codec is slow. So a judged batch counts only once the feed has come to its place.
    """
    standing: tuple[str, Place] | None = None

    def seen() -> bool:
        nonlocal standing
        if not acknowledged or feed.view.polled:
            return True
        if standing is None:
            standing = feed.standing(publisher_id, acknowledged)
        return standing is not None and feed.has_come_to(*standing)

    return seen


async def head_past(feed: Feed, handle: Handle, seen: Callable[[], bool]) -> int:
    """Return the head after all that the server took before this call.

    The server holds signals back from the history while a workflow task runs. So unless our last
    batch has been ``seen``, the task that runs now has to end first.
    """
    head = await wait_for_tip(feed)
    before = None
    while not (seen() or feed.done):
        running = _running_task(await rpc(handle.describe(), handle.id))
        head = await wait_for_tip(feed)
        if running is None or (before is not None and running != before):
            break
        before = running
        with suppress(TimeoutError):
            async with asyncio.timeout(_ASK_AGAIN_SECONDS):
                await feed.wait(lambda: seen() or feed.done)
    return max(head, feed.head)


def _running_task(described: WorkflowExecutionDescription) -> bytes | None:
    task = described.raw_description.pending_workflow_task
    if task.state != PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED:
        return None
    return task.started_time.SerializeToString(deterministic=True)
