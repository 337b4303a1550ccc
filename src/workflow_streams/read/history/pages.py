"""Follows the event history of one run, page by page, through restarts and lost connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar
from weakref import WeakKeyDictionary

from google.protobuf.empty_pb2 import Empty
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client, WorkflowHistoryEventFilterType
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from ...temporal.backoff import Backoff
from ...temporal.rpc import explain, is_transient
from . import outage
from .renewal import Renewal

T = TypeVar("T")
logger = logging.getLogger("workflow_streams")

_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 3.0
_ASK_AGAIN_SECONDS = 0.05

# A page is held in memory whole. The server counts in batches of events, not in bytes; so while
# there is more, the size to ask for follows from that of the page before.
_PAGE_BYTES = 4 * 1024 * 1024
_CUT_BYTES = 1024 * 1024
_FIRST_PAGE_BATCHES = 16
_FEWEST_PAGE_BATCHES = 8
_MOST_PAGE_BATCHES = 1000

# Refusals, one after the other, of a token that the server has only just given.
_MOST_REFUSALS = 3


class Events(list[HistoryEvent]):
    """Events that come together: a page of the server's, or a part of one.

    Attributes:
        page_bytes: Size of the page, which is held until its last part has been read.
    """

    page_bytes = 0


async def history_pages(
    client: Client, workflow_id: str, run_id: str, renewal: Renewal | None = None
) -> AsyncGenerator[Events]:
    """Yield the run's events, each once and in order, and end after its close event.

    Waits for new events on the server (a long poll); needs no worker. Only started and
    scheduled events of workflow tasks may come again, see :func:`settled_id`.

    Args:
        client: Temporal client.
        workflow_id: Workflow of the run.
        run_id: Run to read.
        renewal: Renews the calls that wait, also for the runs that were read before.

    Raises:
        WorkflowStreamError: For what waiting does not mend: not found, not permitted.
    """
    renewal = renewal or Renewal()
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    seen_id = shown_id = refusals = 0
    page_size = _FIRST_PAGE_BATCHES
    full = False
    token: bytes | None = None
    backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
    while True:
        waits = await _waiting_reads_work(client)
        try:
            read = partial(
                handle.fetch_history_events,
                page_size=page_size,
                wait_new_event=waits,
                next_page_token=token,
            )
            at_end = token is not None and not full
            pages = await renewal.fetch(read, waits=waits and at_end)
            if pages is None:
                outage.failed(client, workflow_id, TimeoutError("no answer in time"))
                continue
            page: Sequence[HistoryEvent] = pages.current_page or ()
            events = [event for event in page if event.event_id > seen_id]
            # The server may have a limit of its own, above the first size that is asked for.
            is_full = len(page) >= min(page_size, _FIRST_PAGE_BATCHES)
            skips = bool(events) and events[0].event_id not in (seen_id + 1, shown_id + 1)
            ends = pages.next_page_token is None and waits
            if skips or (full and not is_full) or (ends and not _closes(events)):
                # The last page of several may leave out what was written while it was read.
                events = await _events_after(client, workflow_id, run_id, seen_id)
        except Exception as err:
            if token is not None and refusals < _MOST_REFUSALS and _refuses_token(err):
                # The token is from before the server's restart. Read from the beginning, and skip
                # what has been seen.
                token, refusals = None, refusals + 1
                continue
            if not is_transient(err):
                raise explain(err, workflow_id) from err
            logger.info("Reading workflow %r is retried: %s", workflow_id, err)
            outage.failed(client, workflow_id, err)
            await backoff.pause()
            continue
        backoff.reset()
        outage.answered(client, workflow_id)
        if events or not page:
            refusals = 0
        token, full = pages.next_page_token, is_full
        page_size = _page_size(page_size, page) if full else _FIRST_PAGE_BATCHES
        if events:
            seen_id = max(seen_id, settled_id(events))
            shown_id = events[-1].event_id
            for cut in _cut_up(events):
                yield cut
            if _closes(events):
                return
        if token is None:
            await asyncio.sleep(_ASK_AGAIN_SECONDS)


def _closes(events: Sequence[HistoryEvent]) -> bool:
    return bool(events) and is_close(events[-1])


def _page_size(batches: int, events: Sequence[HistoryEvent]) -> int:
    """Return how many batches make a page of the right size, going by a full one."""
    batches = min(batches, len(events))
    fitting = _PAGE_BYTES * batches // sum(event.ByteSize() for event in events)
    return min(_MOST_PAGE_BATCHES, max(_FEWEST_PAGE_BATCHES, fitting))


def _cut_up(events: Sequence[HistoryEvent]) -> Iterator[Events]:
    """Cut a page up, so that not all of it is unpacked at a time.

    What a workflow task does stands together: its end, then its records, then signals.
    """
    sizes = [event.ByteSize() for event in events]
    whole = sum(sizes)
    start = size = 0
    for index, event in enumerate(events):
        if size > _CUT_BYTES and event.HasField("workflow_execution_signaled_event_attributes"):
            yield _cut(events[start:index], whole)
            start, size = index, 0
        size += sizes[index]
    yield _cut(events[start:], whole)


def _cut(events: Sequence[HistoryEvent], page_bytes: int) -> Events:
    cut = Events(events)
    cut.page_bytes = page_bytes
    return cut


async def _events_after(
    client: Client, workflow_id: str, run_id: str, event_id: int
) -> list[HistoryEvent]:
    """Read what stands after an event now, from the end of the history."""
    events: list[HistoryEvent] = []
    async for page in _pages_from_end(client, workflow_id, run_id):
        events += [event for event in page if event.event_id > event_id]
        if page[-1].event_id <= event_id + 1:
            break
    return events[::-1]


async def _pages_from_end(
    client: Client, workflow_id: str, run_id: str
) -> AsyncGenerator[Sequence[HistoryEvent]]:
    """Yield pages of events, the newest first. Here the server leaves out what does not stand."""
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        maximum_page_size=_FEWEST_PAGE_BATCHES,
    )
    while True:
        page = await client.workflow_service.get_workflow_execution_history_reverse(
            request, retry=True
        )
        if page.history.events:
            yield page.history.events
        request.next_page_token = page.next_page_token
        if not page.next_page_token:
            return


async def close_event(client: Client, workflow_id: str, run_id: str) -> HistoryEvent:
    """Wait until the run has closed, and return the event that says how."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)

    async def closing() -> HistoryEvent:
        only = WorkflowHistoryEventFilterType.CLOSE_EVENT
        return await anext(handle.fetch_history_events(wait_new_event=True, event_filter_type=only))

    return await until_answered(closing, client, workflow_id)


async def newest_event_id(client: Client, workflow_id: str, run_id: str) -> int:
    """Return the id of the newest event of the run that is settled (see :func:`settled_id`).

    Raises:
        WorkflowStreamError: The server does not answer.
    """
    try:
        async for page in _pages_from_end(client, workflow_id, run_id):
            if newest := settled_id(page):
                return newest
        return 0
    except RPCError as err:
        # The time-skipping test server has no such call.
        if err.status != RPCStatusCode.UNIMPLEMENTED:
            raise explain(err, workflow_id) from err
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    return settled_id([event async for event in handle.fetch_history_events()])


async def until_answered(call: Callable[[], Awaitable[T]], client: Client, workflow_id: str) -> T:
    """Make a call again until the server answers; raise what waiting does not mend."""
    backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
    while True:
        try:
            answer = await call()
            outage.answered(client, workflow_id)
            return answer
        except Exception as err:
            if not is_transient(err):
                raise explain(err, workflow_id) from err
            outage.failed(client, workflow_id, err)
        await backoff.pause()


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
