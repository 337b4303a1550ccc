"""Counts the reads of history that a client has under way."""

from __future__ import annotations

from typing import Any

from temporalio.client import (
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHistoryEventAsyncIterator,
)


class HistoryReads(Interceptor):
    """Give it to a client.

    Attributes:
        calls: How many pages have been asked for.
        active: How many are being waited for now.
        empty: How many answers have brought nothing.
        most: The most there have been at a time since `forget`.
    """

    def __init__(self) -> None:
        self.calls = self.active = self.most = self.empty = 0

    def forget(self) -> None:
        self.most = self.active

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        reads = self

        class Outbound(OutboundInterceptor):
            def fetch_workflow_history_events(
                self, input: FetchWorkflowHistoryEventsInput
            ) -> WorkflowHistoryEventAsyncIterator:
                iterator: Any = super().fetch_workflow_history_events(input)
                fetch = iterator.fetch_next_page

                async def counted(**how: Any) -> None:
                    reads.calls += 1
                    reads.active += 1
                    reads.most = max(reads.most, reads.active)
                    try:
                        await fetch(**how)
                    finally:
                        reads.active -= 1
                    reads.empty += not iterator.current_page

                iterator.fetch_next_page = counted
                return iterator

        return Outbound(next)
