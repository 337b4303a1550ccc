"""Finds out whether batches that the server has taken came before their stream was closed.

The server takes signals as long as the workflow runs, and that of a closed stream may run on: for
its time to live, for its forks, or since its worker has not come to end it yet. What comes then is
dropped.

A host says in its memo that its stream is closed, in the workflow task that takes the closing
batch. So if no task is pending, one look is enough. Otherwise the history tells, as for `send()`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.api.enums.v1 import PendingWorkflowTaskState
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus

from ..errors import (
    ServerUnavailableError,
    StreamClosedError,
    StreamNotFoundError,
)
from ..events import LATEST
from ..log import wire
from ..read.feeds.lookup import hold
from ..read.runs.source import WorkflowSource
from ..temporal.backoff import Backoff
from ..temporal.bound import BoundWorkflow
from ..temporal.codec import memo_value
from ..temporal.handles import first_run_of
from ..temporal.link import rpc
from .verdicts import head_past

_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.1
# A host that has a worker is done with its task by then.
_LOOK_SECONDS = 0.5
_HISTORY_SECONDS = 10.0
_TIMEOUT = timedelta(seconds=5)
# A batch that came during a task is in the next one, at whose end the second one after it begins.
_TASKS = 2


async def last_landed(stream: BoundWorkflow, publisher_id: str, sequence: int) -> int | None:
    """Return which of a publisher's batches up to ``sequence`` is the last in a hosted stream.

    All of them have been taken by the server. None if that is not known any more: the stream is
    closed, and what was known of the publisher has been left out at a rollover since.

    Raises:
        ServerUnavailableError: It could not be found out in time.
    """
    try:
        async with asyncio.timeout(_LOOK_SECONDS + _HISTORY_SECONDS):
            if await _is_open(stream):
                return sequence
            return await _last_in_history(stream, publisher_id, sequence)
    except TimeoutError as err:
        raise ServerUnavailableError(
            "It could not be found out in time whether the stream had been closed"
        ) from err


async def _is_open(stream: BoundWorkflow) -> bool:
    """Whether the host has worked through what it was sent before this call, and is open.

    False if that could not be seen, or if the host, of an earlier version, does not tell.
    """
    handle = stream.client.get_workflow_handle(stream.workflow_id)
    backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
    loop = asyncio.get_running_loop()
    until, tasks, last = loop.time() + _LOOK_SECONDS, 0, b""
    while True:
        described = await rpc(handle.describe(rpc_timeout=_TIMEOUT), stream.workflow_id)
        if (
            described.status != WorkflowExecutionStatus.RUNNING
            or first_run_of(described) != stream.first_run_id
            or await memo_value(described, wire.CLOSED_MEMO_KEY, bool) is not False
        ):
            return False
        # Nobody closes a stream before a worker has opened it, and none may come.
        is_unopened = wire.MEMO_KEY not in described.raw_info.memo.fields
        if is_unopened and not _is_started(described):
            return True
        pending = _first_try_of_task(described)
        if pending is None:
            return True
        if pending and last and pending != last:
            tasks += 1
        last = pending or last
        if tasks >= _TASKS:
            return True
        if loop.time() >= until:
            return is_unopened
        await backoff.pause()


def _is_started(described: WorkflowExecutionDescription) -> bool:
    """Whether a worker has taken the pending task."""
    state = described.raw_description.pending_workflow_task.state
    return state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED


def _first_try_of_task(described: WorkflowExecutionDescription) -> bytes | None:
    """Return what tells the pending task from others; None if none is, empty if it is retried."""
    raw = described.raw_description
    if not raw.HasField("pending_workflow_task"):
        return None
    task = raw.pending_workflow_task
    if task.attempt > 1:
        return b""
    run_id = described.run_id.encode()
    return run_id + task.scheduled_time.SerializeToString(deterministic=True)


async def _last_in_history(stream: BoundWorkflow, publisher_id: str, sequence: int) -> int | None:
    handle = stream.client.get_workflow_handle(stream.workflow_id)
    try:
        feed = await hold(WorkflowSource(stream.client, stream.workflow_id), LATEST)
    except (StreamClosedError, StreamNotFoundError):
        return sequence  # deleted since, with all that was in it

    def seen() -> bool:
        return feed.end is not None or (feed.last_sequence(publisher_id) or 0) >= sequence

    try:
        await head_past(feed, handle, seen)
        if feed.first_run_id != stream.first_run_id or feed.end is None:
            return sequence
        last = feed.last_sequence(publisher_id)
        if last is None and feed.run_id != stream.first_run_id:
            return None
        return min(last or 0, sequence)
    except StreamNotFoundError:
        return sequence
    finally:
        feed.release()
