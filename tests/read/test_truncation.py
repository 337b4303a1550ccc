"""A truncation that has not come by in the history yet."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHistoryEventAsyncIterator,
)

from workflow_streams.log import wire

from .hosts import Host, hosting
from .story import following, items, run_id_of


class HeldReads(Interceptor):
    """Keeps back what reads of history bring while `free` is not set."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.free.set()

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        free = self.free

        class Outbound(OutboundInterceptor):
            def fetch_workflow_history_events(
                self, input: FetchWorkflowHistoryEventsInput
            ) -> WorkflowHistoryEventAsyncIterator:
                iterator = super().fetch_workflow_history_events(input)
                fetch = iterator.fetch_next_page

                async def held(**how: Any) -> None:
                    await fetch(**how)
                    await free.wait()

                iterator.fetch_next_page = held  # type: ignore[method-assign]
                return iterator

        return Outbound(next)


@pytest.mark.parametrize("pinned", [False, True])
async def test_a_new_reader_knows_of_it_although_the_feed_has_not_read_it(
    client: Client, unique: Any, pinned: bool
) -> None:
    name = unique("truncated")
    reads = HeldReads()
    config = client.config()
    config["interceptors"] = [reads]
    held = Client(**config)
    values = [f"v{i}" for i in range(10)]
    async with hosting(client, name) as handle:
        run_id = await run_id_of(handle) if pinned else None
        await handle.signal(Host.publish, values)
        async with following(held, name, run_id) as older:
            await older.count(10)
            reads.free.clear()
            await handle.signal(Host.truncate, 6)
            # The query is answered after the task that truncates.
            assert await handle.query(wire.OFFSET_QUERY, result_type=int) == 10
            kept = items(*values)[6:]
            for start, gap in ((0, []), (2, [("gap", 2, 6, "truncated")]), (7, [])):
                async with following(held, name, run_id, from_offset=start) as new:
                    expected = [*gap, *kept[max(0, start - 6) :]]
                    await new.count(len(expected))
                    assert new.lines == expected
            reads.free.set()
            await handle.signal(Host.order, "finish")
            assert await older.end() == [*items(*values), ("end", "completed", 10)]
