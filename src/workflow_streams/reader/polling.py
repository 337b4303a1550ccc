"""Reads a stream that a contrib hosts, in any language: by polling its workflow."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

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
from ..errors import StreamNotFoundError
from ..events import Gap
from ..rpc import is_transient, translate
from ..wire import PollInput, PollResult
from .moments import Chunk, Moment

_COOLDOWN_SECONDS = 0.1
_RETRY_SECONDS = 0.5


async def poll_pages(
    client: Client, workflow_id: str, run_id: str, *, offset: int
) -> AsyncIterator[Moment]:
    """Yield pages from ``offset`` on; end when the run has closed and is drained.

    The Update's id is made of run and offset, so that all processes at the same place share
    one: a run takes 10 Updates at a time and 2,000 in all.
    """
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    base = 0
    while True:
        try:
            result = await _poll(handle, run_id, offset)
        except WorkflowUpdateFailedError as err:
            kind = err.cause.type if isinstance(err.cause, ApplicationError) else None
            if kind == wire.TRUNCATED_OFFSET:
                page = await _query(handle, 0)
                base = page.items[0].offset if page.items else page.next_offset
                if base > offset:
                    gap = Gap(offset, base, "truncated")
                    yield Moment(run_id, base, base, base, gap=gap)
                offset = base
                continue
            if kind != wire.STREAM_DRAINING and not await _closed(handle):
                raise StreamNotFoundError(workflow_id, f"hosts no stream: {err.cause}") from err
            if await _closed(handle):
                break
            await asyncio.sleep(_COOLDOWN_SECONDS)
            continue
        except WorkflowUpdateRPCTimeoutOrCancelledError as err:
            if isinstance(err.__cause__, asyncio.CancelledError):
                raise err.__cause__ from None
            if await _closed(handle):
                break
            continue
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND and await _closed(handle):
                break
            if not is_transient(err):
                raise translate(err, workflow_id) from err
            if await _closed(handle):
                break
            await asyncio.sleep(_RETRY_SECONDS)
            continue
        if result.items:
            base = max(base, result.items[0].offset) if offset == 0 else base
            yield _moment(run_id, result, base)
        offset = max(offset, result.next_offset)
        if not result.more_ready:
            await asyncio.sleep(_COOLDOWN_SECONDS)
    # Closed runs answer queries only, and only while a worker is there.
    while True:
        try:
            result = await _query(handle, offset)
        except (WorkflowQueryFailedError, RPCError):
            return
        if result.items:
            yield _moment(run_id, result, base)
        offset = max(offset, result.next_offset)
        if not result.more_ready:
            return


async def _poll(handle: WorkflowHandle[object, object], run_id: str, offset: int) -> PollResult:
    # A finished poll of offset 0 would tell of the base as it once was: never shared.
    place = offset or uuid.uuid4().hex
    update = await handle.start_update(
        wire.POLL,
        PollInput([], offset),
        id=f"workflow-streams-poll-{run_id}-{place}",
        wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        result_type=PollResult,
    )
    return await update.result()


async def _query(handle: WorkflowHandle[object, object], offset: int) -> PollResult:
    return await handle.query(wire.POLL, PollInput([], offset), result_type=PollResult)


async def _closed(handle: WorkflowHandle[object, object]) -> bool:
    return (await handle.describe()).status != WorkflowExecutionStatus.RUNNING


def _moment(run_id: str, result: PollResult, base: int) -> Moment:
    entries = [(item.topic, item.data) for item in result.items]
    size = sum(len(topic) + len(data) for topic, data in entries)
    chunk = Chunk(result.items[0].offset, entries, size)
    return Moment(run_id, result.next_offset, chunk.end, base, chunk=chunk)
