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
from temporalio.client import (
    Client,
    WorkflowHistoryEventAsyncIterator,
    WorkflowHistoryEventFilterType,
)
from temporalio.service import RPCError, RPCStatusCode, ServiceClient

from ...temporal.backoff import Backoff
from ...temporal.once import once
from ...temporal.rpc import explain, is_transient
from . import outage
from .renewal import Missed, Renewal
from .waiting_budget import Waiter, budget_of

T = TypeVar("T")
logger = logging.getLogger("workflow_streams")

_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 3.0
# So many in a row are what happens when a server is restarted, and no news.
_QUIET_FAILURES = 3
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
    renewal = renewal or Renewal(Waiter(budget_of(client), workflow_id))
    tail = _Tail(client, workflow_id, run_id)
    backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
    failures = 0
    with renewal:
        while True:
            waits = await _waiting_reads_work(client)
            try:
                events = await tail.fetch(renewal, waits=waits)
            except Exception as err:
                if tail.begins_anew_after(err):
                    continue
                if not is_transient(err):
                    raise explain(err, workflow_id) from err
                failures += 1
                level = logging.DEBUG if failures <= _QUIET_FAILURES else logging.INFO
                logger.log(level, "Reading workflow %r is retried: %s", workflow_id, err)
                outage.failed(client, workflow_id, err)
                await backoff.pause()
                continue
            if events is None:
                continue
            backoff.reset()
            failures = 0
            outage.answered(client, workflow_id)
            if events:
                closes = _closes(events)
                for cut in _cut_up(events):
                    yield cut
                    # It is held on to until the next one comes, which may take long.
                    cut.clear()
                if closes:
                    return
                events = None
            if tail.token is None:
                await asyncio.sleep(_ASK_AGAIN_SECONDS)


class _Tail:
    """How far a run has been read, and the call for what comes next.

    Attributes:
        token: Goes on where the page before ended; None to read from the beginning.
    """

    def __init__(self, client: Client, workflow_id: str, run_id: str) -> None:
        self.token: bytes | None = None
        self._client = client
        self._workflow_id = workflow_id
        self._run_id = run_id
        self._seen_id = self._shown_id = self._refusals = 0
        self._page_size = _FIRST_PAGE_BATCHES
        self._full = False

    async def fetch(self, renewal: Renewal, *, waits: bool) -> Sequence[HistoryEvent] | None:
        """Return the events that come next, which may be none; None if the call is to be renewed.

        Args:
            renewal: Makes the call.
            waits: Whether the server answers when there are events.
        """
        at_end = waits and self.token is not None and not self._full
        # The SDK would try a call again and again, though the server has no room for it.
        client = once(self._client) if waits else self._client
        handle = client.get_workflow_handle(self._workflow_id, run_id=self._run_id)
        read = partial(
            handle.fetch_history_events,
            page_size=self._page_size,
            wait_new_event=waits,
            next_page_token=self.token,
        )
        pages = await renewal.fetch(read, waits=at_end)
        match pages:
            case Missed.GAVE_WAY:
                return None
            case Missed.LATE:
                late = TimeoutError("no answer in time")
                outage.failed(self._client, self._workflow_id, late)
                return None
            case Missed.REFUSED:
                # This call counts among those that wait nowhere. The token goes on to bring these
                # events; they are passed over then.
                events = await self._events_after()
            case _:
                events = await self._taken(pages, waits=waits)
        if events:
            self._seen_id = max(self._seen_id, settled_id(events))
            self._shown_id = events[-1].event_id
        return events

    def begins_anew_after(self, error: Exception) -> bool:
        """Whether the server refuses the token, and all is read again, past what has been seen."""
        refused = self.token is not None and self._refusals < _MOST_REFUSALS
        if not (refused and _refuses_token(error)):
            return False
        # The token is from before the server's restart.
        self.token, self._refusals = None, self._refusals + 1
        return True

    async def _taken(
        self, pages: WorkflowHistoryEventAsyncIterator, *, waits: bool
    ) -> list[HistoryEvent]:
        page: Sequence[HistoryEvent] = pages.current_page or ()
        events = [event for event in page if event.event_id > self._seen_id]
        # The server may have a limit of its own, above the first size that is asked for.
        is_full = len(page) >= min(self._page_size, _FIRST_PAGE_BATCHES)
        next_ids = (self._seen_id + 1, self._shown_id + 1)
        skips = bool(events) and events[0].event_id not in next_ids
        ends = pages.next_page_token is None and waits
        if skips or (self._full and not is_full) or (ends and not _closes(events)):
            # The last page of several may leave out what was written while it was read.
            events = await self._events_after()
        if events or not page:
            self._refusals = 0
        self.token, self._full = pages.next_page_token, is_full
        self._page_size = _page_size(self._page_size, page) if is_full else _FIRST_PAGE_BATCHES
        return events

    async def _events_after(self) -> list[HistoryEvent]:
        """Read what stands after the last event that was seen, from the end of the history."""
        events: list[HistoryEvent] = []
        async for page in _pages_from_end(self._client, self._workflow_id, self._run_id):
            events += [event for event in page if event.event_id > self._seen_id]
            if page[-1].event_id <= self._seen_id + 1:
                break
        return events[::-1]


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
    waits = await _waiting_reads_work(client)
    handle = (once(client) if waits else client).get_workflow_handle(workflow_id, run_id=run_id)
    renewal = Renewal(Waiter(budget_of(client), workflow_id))
    read = partial(
        handle.fetch_history_events,
        wait_new_event=True,
        event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT,
    )

    async def closing() -> HistoryEvent:
        token: bytes | None = None
        while True:
            pages = await renewal.fetch(partial(read, next_page_token=token), waits=waits)
            if pages is Missed.REFUSED:
                newest = await anext(_pages_from_end(client, workflow_id, run_id))
                if is_close(newest[0]):
                    return newest[0]
            elif not isinstance(pages, Missed):
                if pages.current_page:
                    return pages.current_page[-1]
                token = pages.next_page_token

    with renewal:
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
