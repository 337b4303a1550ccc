"""Measures how long the gateway's calls to Temporal take, by an interceptor of the client."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    CancelWorkflowInput,
    Client,
    DescribeWorkflowInput,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    QueryWorkflowInput,
    SignalWorkflowInput,
    StartWorkflowInput,
    StartWorkflowUpdateInput,
    TerminateWorkflowInput,
    WorkflowExecutionDescription,
    WorkflowHandle,
    WorkflowHistoryEventAsyncIterator,
    WorkflowUpdateHandle,
)
from temporalio.service import RPCError

from ...temporal.rpc import is_transient
from .metrics import Metrics


def metered(client: Client, metrics: Metrics) -> Client:
    """Return a client whose calls are timed, on the same connection.

    Readers belong to the connection, so both clients share them.
    """
    config = client.config()
    config["interceptors"] = [*config["interceptors"], _MeteringInterceptor(metrics)]
    return Client(**config)


@contextmanager
def timed(metrics: Metrics, call: str) -> Iterator[None]:
    """Record how long a call takes and how it ends.

    Args:
        metrics: Where to record it.
        call: The call's name in the metrics, out of a small fixed set.
    """
    began = time.monotonic()
    code = "OK"
    try:
        yield
    except RPCError as err:
        code = err.status.name
        raise
    except BaseException:
        code = "OTHER"
        raise
    finally:
        metrics.rpc_seconds.labels(call, code).observe(time.monotonic() - began)


class _MeteringInterceptor(Interceptor):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Metering(next, self._metrics)


class _Metering(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, metrics: Metrics) -> None:
        super().__init__(next)
        self._metrics = metrics

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        with timed(self._metrics, "start"):
            return await super().start_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        with timed(self._metrics, "signal"):
            await super().signal_workflow(input)

    async def describe_workflow(self, input: DescribeWorkflowInput) -> WorkflowExecutionDescription:
        with timed(self._metrics, "describe"):
            return await super().describe_workflow(input)

    async def query_workflow(self, input: QueryWorkflowInput) -> Any:
        with timed(self._metrics, "query"):
            return await super().query_workflow(input)

    async def start_workflow_update(
        self, input: StartWorkflowUpdateInput
    ) -> WorkflowUpdateHandle[Any]:
        with timed(self._metrics, "update"):
            return await super().start_workflow_update(input)

    async def cancel_workflow(self, input: CancelWorkflowInput) -> None:
        with timed(self._metrics, "cancel"):
            await super().cancel_workflow(input)

    async def terminate_workflow(self, input: TerminateWorkflowInput) -> None:
        with timed(self._metrics, "terminate"):
            await super().terminate_workflow(input)

    def fetch_workflow_history_events(
        self, input: FetchWorkflowHistoryEventsInput
    ) -> WorkflowHistoryEventAsyncIterator:
        call = "history_wait" if input.wait_new_event else "history"
        return _MeteredPages(super().fetch_workflow_history_events(input), self._metrics, call)


class _MeteredPages(WorkflowHistoryEventAsyncIterator):
    """The SDK's iterator, with each page timed, and failures counted that are worth a retry."""

    def __init__(
        self, pages: WorkflowHistoryEventAsyncIterator, metrics: Metrics, call: str
    ) -> None:
        self._pages = pages
        self._metrics = metrics
        self._call = call

    @property
    def current_page_index(self) -> int:
        return self._pages.current_page_index

    @property
    def current_page(self) -> Sequence[HistoryEvent] | None:
        return self._pages.current_page

    @property
    def next_page_token(self) -> bytes | None:
        return self._pages.next_page_token

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        try:
            with timed(self._metrics, self._call):
                await self._pages.fetch_next_page(page_size=page_size)
        except RPCError as err:
            if is_transient(err):
                self._metrics.reader_retries.labels(err.status.name).inc()
            raise

    async def __anext__(self) -> HistoryEvent:
        return await self._pages.__anext__()
