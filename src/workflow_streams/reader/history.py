"""Follows the event history of one run, page by page, through restarts and lost connections."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar
from weakref import WeakKeyDictionary

from google.protobuf.empty_pb2 import Empty
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from ..rpc import is_transient, translate

T = TypeVar("T")
logger = logging.getLogger("workflow_streams")

_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 3.0
_ASK_AGAIN_SECONDS = 0.05


async def history_pages(
    client: Client, workflow_id: str, run_id: str
) -> AsyncIterator[Sequence[HistoryEvent]]:
    """Yield the run's events, each once and in order, and end after its close event.

    Waits for new events on the server (a long poll); needs no worker.

    Raises:
        WorkflowStreamError: For what waiting does not mend: not found, not permitted.
    """
    waits = await _waiting_reads_work(client)
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    last_id = skip_to = 0
    token: bytes | None = None
    delay = _FIRST_RETRY_SECONDS
    while True:
        try:
            pages = handle.fetch_history_events(wait_new_event=waits, next_page_token=token)
            await pages.fetch_next_page()
        except RPCError as err:
            if token is not None and err.status == RPCStatusCode.INVALID_ARGUMENT:
                # A token of before the server's restart: read anew, without what was seen.
                token, skip_to = None, last_id
                continue
            if not is_transient(err):
                raise translate(err, workflow_id) from err
            logger.info("Reading workflow %r is retried: %s", workflow_id, err)
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(2 * delay, _LONGEST_RETRY_SECONDS)
            continue
        delay = _FIRST_RETRY_SECONDS
        token = pages.next_page_token
        events = pages.current_page or ()
        if skip_to:
            events = [event for event in events if event.event_id > skip_to]
            if events:
                skip_to = 0
        if events:
            last_id = max([last_id, *(e.event_id for e in events if not _is_task_start(e))])
            yield events
        if token is None:
            if waits or (events and is_close(events[-1])):
                return
            skip_to = last_id
            await asyncio.sleep(_ASK_AGAIN_SECONDS)


async def until_answered(call: Callable[[], Awaitable[T]], workflow_id: str) -> T:
    """Make a call again until the server answers; raise what waiting does not mend."""
    delay = _FIRST_RETRY_SECONDS
    while True:
        try:
            return await call()
        except RPCError as err:
            if not is_transient(err):
                raise translate(err, workflow_id) from err
        await asyncio.sleep(delay * random.uniform(0.5, 1))
        delay = min(2 * delay, _LONGEST_RETRY_SECONDS)


def is_close(event: HistoryEvent) -> bool:
    """Whether the event ends its run."""
    return event.WhichOneof("attributes") in CLOSE_EVENTS


def _is_task_start(event: HistoryEvent) -> bool:
    """Whether the event may be transient.

    While a workflow task is retried, the server shows its scheduled and started events at the
    end of the history without having written them; other events take their ids later.
    """
    return event.WhichOneof("attributes") in (
        "workflow_task_scheduled_event_attributes",
        "workflow_task_started_event_attributes",
    )


def durable_id(events: Sequence[HistoryEvent]) -> int:
    """Return the id of the last event that is sure to stand; 0 if there is none."""
    for index in range(len(events) - 1, -1, -1):
        event = events[index]
        if not _is_task_start(event):
            break
        scheduled = event.workflow_task_scheduled_event_attributes
        if scheduled.attempt > 1:
            return events[index - 1].event_id if index else 0
    return events[-1].event_id


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
        except RPCError as err:
            if is_transient(err):
                return True  # unknown yet; the read itself will wait for the server
            known = True
        _waiting[client.service_client] = known
    return known
