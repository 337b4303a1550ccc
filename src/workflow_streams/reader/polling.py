"""Reads a stream that a contrib hosts, in any language: by polling its workflow."""

from __future__ import annotations

import asyncio
import logging
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
from .history import until_answered
from .moments import Chunk, Moment

logger = logging.getLogger("workflow_streams")

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
    while (result := await _wait_for_page(handle, run_id, offset)) is not None:
        if result.items:
            first = result.items[0].offset
            if 0 < offset < first:
                yield Moment(run_id, first, first, first, gap=Gap(offset, first, "truncated"))
            base = max(base, first) if offset < first else base
            yield _moment(run_id, result, base)
        offset = max(offset, result.next_offset)
        if not result.more_ready:
            await asyncio.sleep(_COOLDOWN_SECONDS)
    # Closed runs answer queries only, and only while a worker is there.
    while True:
        try:
            result = await _query(handle, offset)
        except (WorkflowQueryFailedError, RPCError) as err:
            logger.warning(
                "What workflow %r published last cannot be read: its host answered %s",
                workflow_id,
                err,
            )
            return
        if result.items:
            yield _moment(run_id, result, base)
        offset = max(offset, result.next_offset)
        if not result.more_ready:
            return


async def _wait_for_page(
    handle: WorkflowHandle[object, object], run_id: str, offset: int
) -> PollResult | None:
    """Poll until there is a page; None once the run has closed."""
    while True:
        pause = _COOLDOWN_SECONDS
        try:
            return await _poll(handle, run_id, offset)
        except WorkflowUpdateFailedError as err:
            kind = err.cause.type if isinstance(err.cause, ApplicationError) else None
            if kind == wire.TRUNCATED_OFFSET:
                return await _query(handle, 0)
            refused: Exception | None = err if kind != wire.STREAM_DRAINING else None
        except WorkflowUpdateRPCTimeoutOrCancelledError as err:
            if isinstance(err.__cause__, asyncio.CancelledError):
                raise err.__cause__ from None
            refused = None
        except RPCError as err:
            gone = err.status == RPCStatusCode.NOT_FOUND or is_transient(err)
            refused = None if gone else err
            pause = _RETRY_SECONDS
        if await _closed(handle):
            return None
        if isinstance(refused, RPCError):
            raise translate(refused, handle.id) from refused
        if refused is not None:
            raise StreamNotFoundError(handle.id, f"hosts no stream: {refused}") from refused
        await asyncio.sleep(pause)


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
    result: PollResult = await update.result()
    return result


async def _query(handle: WorkflowHandle[object, object], offset: int) -> PollResult:
    result: PollResult = await handle.query(
        wire.POLL, PollInput([], offset), result_type=PollResult
    )
    return result


async def _closed(handle: WorkflowHandle[object, object]) -> bool:
    described = await until_answered(handle.describe, handle.id)
    return described.status != WorkflowExecutionStatus.RUNNING


def _moment(run_id: str, result: PollResult, base: int) -> Moment:
    entries = [(item.topic, item.data) for item in result.items]
    size = sum(len(topic) + len(data) for topic, data in entries)
    chunk = Chunk(result.items[0].offset, entries, size)
    return Moment(run_id, result.next_offset, chunk.end, base, chunk=chunk)
