"""Follows the event history of one run, page by page, through restarts and lost connections."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary

from google.protobuf.empty_pb2 import Empty
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowHistoryEventFilterType
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from ..rpc import explain, is_transient

T = TypeVar("T")
logger = logging.getLogger("workflow_streams")

_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 3.0
_ASK_AGAIN_SECONDS = 0.05

# A page is held in memory whole. The server counts in batches of events, not in bytes; so the
# size to ask for follows from that of the page before.
_PAGE_BYTES = 4 * 1024 * 1024
_FIRST_PAGE_EVENTS = 64
_MOST_PAGE_EVENTS = 1000

# Refusals, one after the other, of a token that the server has only just given.
_MOST_REFUSALS = 3


async def history_pages(
    client: Client, workflow_id: str, run_id: str
) -> AsyncGenerator[Sequence[HistoryEvent]]:
    """Yield the run's events, each once and in order, and end after its close event.

    Waits for new events on the server (a long poll); needs no worker. Started and scheduled
    events of workflow tasks may come that do not stand in the history (see :func:`settled_id`).

    Raises:
        WorkflowStreamError: For what waiting does not mend: not found, not permitted.
    """
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    last_id = skip_to = refusals = 0
    page_size = _FIRST_PAGE_EVENTS
    token: bytes | None = None
    delay = _FIRST_RETRY_SECONDS
    while True:
        waits = await _waiting_reads_work(client)
        try:
            pages = handle.fetch_history_events(
                page_size=page_size, wait_new_event=waits, next_page_token=token
            )
            await pages.fetch_next_page()
        except Exception as err:
            if token is not None and refusals < _MOST_REFUSALS and _refuses_token(err):
                # One of before the server's restart: read anew, without what was seen.
                token, skip_to, refusals = None, last_id, refusals + 1
                continue
            if not is_transient(err):
                raise explain(err, workflow_id) from err
            logger.info("Reading workflow %r is retried: %s", workflow_id, err)
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(2 * delay, _LONGEST_RETRY_SECONDS)
            continue
        delay = _FIRST_RETRY_SECONDS
        if token is not None:
            refusals = 0
        token = pages.next_page_token
        events = pages.current_page or ()
        if events:
            weight = sum(event.ByteSize() for event in events)
            page_size = min(_MOST_PAGE_EVENTS, max(1, _PAGE_BYTES * len(events) // weight))
        if skip_to:
            events = [event for event in events if event.event_id > skip_to]
            if events:
                skip_to = 0
        if events:
            last_id = max(last_id, settled_id(events))
            yield events
        if token is None:
            if waits or (events and is_close(events[-1])):
                return
            skip_to = last_id
            await asyncio.sleep(_ASK_AGAIN_SECONDS)


async def close_event(client: Client, workflow_id: str, run_id: str) -> HistoryEvent:
    """Wait until the run has closed, and return the event that says how."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)

    async def closing() -> HistoryEvent:
        only = WorkflowHistoryEventFilterType.CLOSE_EVENT
        return await anext(handle.fetch_history_events(wait_new_event=True, event_filter_type=only))

    return await until_answered(closing, workflow_id)


async def newest_event_id(client: Client, workflow_id: str, run_id: str) -> int:
    """Return the id of the newest event of the run that is settled (see :func:`settled_id`).

    Read from the end of the history, where the server leaves out what does not stand in it.

    Raises:
        WorkflowStreamError: The server does not answer.
    """
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace, execution=execution, maximum_page_size=4
    )
    try:
        while True:
            page = await client.workflow_service.get_workflow_execution_history_reverse(
                request, retry=True
            )
            newest = settled_id(page.history.events)
            if newest or not page.next_page_token:
                return newest
            request.next_page_token = page.next_page_token
    except RPCError as err:
        # The time-skipping test server has no such call.
        if err.status != RPCStatusCode.UNIMPLEMENTED:
            raise explain(err, workflow_id) from err
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    return settled_id([event async for event in handle.fetch_history_events()])


async def until_answered(call: Callable[[], Awaitable[T]], workflow_id: str) -> T:
    """Make a call again until the server answers; raise what waiting does not mend."""
    delay = _FIRST_RETRY_SECONDS
    while True:
        try:
            return await call()
        except Exception as err:
            if not is_transient(err):
                raise explain(err, workflow_id) from err
        await asyncio.sleep(delay * random.uniform(0.5, 1))
        delay = min(2 * delay, _LONGEST_RETRY_SECONDS)


def is_close(event: HistoryEvent) -> bool:
    """Whether the event ends its run."""
    return event.WhichOneof("attributes") in CLOSE_EVENTS


def settled_id(events: Sequence[HistoryEvent]) -> int:
    """Return the highest id of those events that are sure to stand; 0 if there is none.

    While a workflow task is retried or speculative, the server shows its scheduled and started
    events at the end of the history without having written them; others take their ids later.
    """
    return max((e.event_id for e in events if not _may_vanish(e)), default=0)


def _may_vanish(event: HistoryEvent) -> bool:
    return event.WhichOneof("attributes") in (
        "workflow_task_scheduled_event_attributes",
        "workflow_task_started_event_attributes",
    )


def _refuses_token(error: Exception) -> bool:
    return isinstance(error, RPCError) and error.status == RPCStatusCode.INVALID_ARGUMENT


CLOSE_EVENTS = frozenset(
    f"workflow_execution_{how}_event_attributes"
    for how in ("completed", "failed", "canceled", "terminated", "timed_out", "continued_as_new")
)

_waiting: WeakKeyDictionary[ServiceClient, bool] = WeakKeyDictionary()


async def _waiting_reads_work(client: Client) -> bool:
    """False on the time-skipping test server, whose waiting reads hold events back.

    That server alone has the test service.
    """
    known = _waiting.get(client.service_client)
    if known is None:
        try:
            await client.test_service.get_current_time(Empty())
            known = False
        except Exception as err:
            if is_transient(err):
                return True  # unknown yet; asked again before the next read
            known = True
        _waiting[client.service_client] = known
    return known
