"""Calls that wait for events are renewed where one is likely, and not where none is."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from temporalio.client import Client

from workflow_streams.read.history import renewal
from workflow_streams.read.history.pages import history_pages
from workflow_streams.read.history.renewal import Renewal
from workflow_streams.read.history.waiting_budget import Waiter, budget_of

from .counting import HistoryReads
from .hosts import Host, Idler, hosting
from .story import following, items, run_id_of, send


@pytest.fixture
def reads() -> HistoryReads:
    return HistoryReads()


@pytest.fixture
async def reading(stream_server: Any, reads: HistoryReads) -> Client:
    """A connection of its own, whose reads of history are counted."""
    return await stream_server.connect(interceptors=[reads])


async def ended_by_the_server(client: Client, idle_workflow: str) -> None:
    """Wait for events that do not come until the server ends that, after 20 s."""
    handle = await client.start_workflow(Idler.run, id=idle_workflow, task_queue=idle_workflow)
    pages = handle.fetch_history_events(wait_new_event=True)
    await pages.fetch_next_page()
    await pages.fetch_next_page()
    await handle.terminate()


async def test_a_quiet_stream_costs_a_few_calls_more_until_it_counts_as_idle(
    client: Client,
    reading: Client,
    reads: HistoryReads,
    unique: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server answers each a second before its deadline; after that, one call lasts 20 s."""
    monkeypatch.setattr(renewal, "_LIVELY_SECONDS", 7.0)
    name = unique("quiet")
    async with hosting(client, name) as handle, following(reading, name) as live:
        await send(client, name, "a")
        await live.count(1)
        before = reads.empty
        await ended_by_the_server(client, unique("idle"))
        # Asked after 0, 3, 6 and 9 s; the last of these calls waits still.
        assert 1 <= reads.empty - before <= 3
        assert reads.active == 1
        await send(client, name, "b")
        await handle.signal(Host.order, "finish")
        assert await live.end() == [*items("a", "b"), ("end", "completed", 2)]


async def test_a_stream_in_which_something_always_comes_costs_no_call_more(
    client: Client, reading: Client, reads: HistoryReads, unique: Any
) -> None:
    name, values = unique("lively"), [f"v{i}" for i in range(8)]
    async with hosting(client, name) as handle, following(reading, name) as live:
        for value in values:
            await send(client, name, value)
            await asyncio.sleep(renewal._SOON_SECONDS / 8)
        await handle.signal(Host.order, "finish")
        assert await live.end() == [*items(*values), ("end", "completed", 8)]
    assert reads.empty == 0


async def test_an_old_history_makes_no_lively_stream(
    client: Client, reading: Client, reads: HistoryReads, unique: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(renewal, "_LIVELY_SECONDS", 1.0)
    name = unique("old")
    async with hosting(client, name) as handle:
        await send(client, name, "a")
        await asyncio.sleep(2.0)
        async with following(reading, name) as live:
            await live.count(1)
            await asyncio.sleep(renewal._SOON_SECONDS)
            assert reads.empty == 0
            assert reads.active == 1
            await handle.signal(Host.order, "finish")
            assert await live.end() == [*items("a"), ("end", "completed", 1)]


@pytest.mark.parametrize("first", ["the deadline", "the cancellation"])
async def test_a_reader_that_is_cancelled_as_its_call_is_renewed_is_cancelled(
    client: Client,
    reading: Client,
    reads: HistoryReads,
    unique: Any,
    monkeypatch: pytest.MonkeyPatch,
    first: str,
) -> None:
    monkeypatch.setattr(renewal, "_LIVELY_SECONDS", 0.0)
    monkeypatch.setattr(renewal, "_SOON_SECONDS", 0.0)
    name = unique("cancelled")
    patience = Renewal(Waiter(budget_of(reading), name))
    async with hosting(client, name) as handle:
        await send(client, name, "a")
        run_id = await run_id_of(handle)

        async def read() -> None:
            async with aclosing(history_pages(reading, name, run_id, patience)) as pages:
                async for _ in pages:
                    pass

        task = asyncio.create_task(read())
        async with asyncio.timeout(100):
            while not (reads.active and patience._unlimited):
                await asyncio.sleep(0.01)
        if first == "the deadline":
            patience.hasten()
            await asyncio.sleep(0)
        task.cancel()
        if first == "the cancellation":
            patience.hasten()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert reads.active == 0
