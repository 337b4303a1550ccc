"""How a stream ends, and which workflow a reader stays with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from tests.configured import DELETES_AT_ONCE, ConfiguredServer
from workflow_streams import LATEST, End, Last, WorkflowStreamClient, errors
from workflow_streams.embedded import EmbeddedServer
from workflow_streams.read.feeds import feed
from workflow_streams.read.history import pages as history

from .hosts import Host, HostInput, Idler, hosting, worker
from .story import (
    Line,
    attached,
    following,
    items,
    roll_over,
    run_id_of,
    send,
    story,
    told,
)


@pytest.mark.parametrize("outcome", ["completed", "failed", "canceled", "terminated", "timed_out"])
async def test_the_end_tells_how_the_workflow_ended(
    client: Client, unique: Any, outcome: str
) -> None:
    name = unique("end")
    limit = timedelta(seconds=2) if outcome == "timed_out" else None
    async with hosting(client, name, execution_timeout=limit) as handle:
        await send(client, name, "a")
        live = WorkflowStreamClient.create(client, name).follow()
        assert (await anext(live)) is not None
        match outcome:
            case "completed":
                await handle.signal(Host.order, "finish")
            case "failed":
                await handle.signal(Host.order, "fail")
            case "canceled":
                await handle.cancel()
            case "terminated":
                await handle.terminate()
        end = await anext(live)
    run_id = await run_id_of(handle)
    assert end == End(outcome, 1, run_id)  # type: ignore[arg-type]
    [_, later] = [event async for event in WorkflowStreamClient.create(client, name).follow()]
    assert later == end
    for one in (end, later):
        assert isinstance(one, End)
        if outcome == "failed":
            assert isinstance(one.failure, ApplicationError)
            assert (one.failure.message, one.failure.type) == ("as told", "Told")
        else:
            assert one.failure is None
    with pytest.raises(StopAsyncIteration):
        await anext(live)


async def test_a_reader_of_an_ended_chain_ends_and_does_not_go_on_with_the_next_one(
    client: Client, unique: Any
) -> None:
    name = unique("end")
    old = [*items("a", "b", "c"), ("end", "completed", 3)]
    async with hosting(client, name) as handle:
        first = await run_id_of(handle)
        waiting = WorkflowStreamClient.create(client, name).follow(from_offset=LATEST)
        async with following(client, name) as live:
            await send(client, name, "a")
            await live.count(1)
            step = asyncio.ensure_future(anext(waiting))
            await attached(client, name, readers=2)
            step.cancel()
            with pytest.raises(asyncio.CancelledError):
                await step
            second = await roll_over(handle)
            await send(client, name, "b", "c")
            await handle.signal(Host.order, "finish")
            await handle.result()
            await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
            # Who comes now is with the new chain, however far the old one's feed has come.
            async with following(client, name) as new:
                await send(client, name, "x", "y", "z", "last")
                assert await live.end() == old
                third = await run_id_of(handle)
                await handle.signal(Host.order, "finish")
                assert await new.end() == [
                    *items("x", "y", "z", "last"),
                    ("end", "completed", 4),
                ]
        # A reader that was not reading while all this happened is still with its own.
        seen = [(e.offset, getattr(e, "data", None)) async for e in waiting]
        assert seen[-2:] == [(2, "c"), (3, None)]
    assert await story(client, name, first) == old
    assert await story(client, name, second) == old
    assert await story(client, name, third) == await story(client, name) == new.lines
    assert await WorkflowStreamClient.create(client, name).get_offset() == 4
    pinned = client.get_workflow_handle(name, run_id=first)
    assert await WorkflowStreamClient(pinned, client=client).get_offset() == 3
    assert await story(client, name, first, from_offset=Last(1)) == old[2:]


async def test_a_workflow_id_taken_from_a_running_chain_ends_its_readers(
    client: Client, unique: Any
) -> None:
    name = unique("end")
    async with hosting(client, name), following(client, name) as live:
        await send(client, name, "a")
        await live.count(1)
        await client.start_workflow(
            Host.run,
            HostInput(),
            id=name,
            task_queue=name,
            id_reuse_policy=WorkflowIDReusePolicy.TERMINATE_IF_RUNNING,
        )
        await send(client, name, "x")
        assert await live.end() == [(0, "a"), ("end", "terminated", 1)]
        async with following(client, name) as new:
            await new.count(1)
            assert new.lines == [(0, "x")]


async def test_a_pinned_reader_follows_from_its_run_on(client: Client, unique: Any) -> None:
    name = unique("end")
    async with hosting(client, name) as handle:
        first = await run_id_of(handle)
        await send(client, name, "a")
        async with (
            following(client, name, first) as whole,
            following(client, name, first, from_offset=LATEST) as latest,
        ):
            await whole.count(1)
            await attached(client, name, 2, first)
            second = await roll_over(handle)
            await send(client, name, "b")
            async with following(client, name, second) as later:
                await whole.count(2)
                await handle.signal(Host.order, "finish")
                lines = [*items("a", "b"), ("end", "completed", 2)]
                assert await whole.end() == lines
                assert await later.end() == lines
                assert (await latest.end())[-2:] == lines[1:]


@pytest.mark.parametrize("closed", [False, True])
async def test_a_workflow_that_hosts_no_stream_is_told_so(
    client: Client, unique: Any, closed: bool
) -> None:
    name = unique("idler")
    async with worker(client, name):
        handle = await client.start_workflow(Idler.run, id=name, task_queue=name)
        if closed:
            await handle.signal(Idler.finish)
            await handle.result()
        for how in ({}, {"from_offset": LATEST}, {"from_offset": 7}):
            with pytest.raises(errors.StreamNotFoundError, match="hosts no stream"):
                await story(client, name, **how)
        with pytest.raises(errors.StreamNotFoundError, match="hosts no stream"):
            await WorkflowStreamClient.create(client, name).get_offset()


@pytest.fixture
async def deleting() -> AsyncIterator[EmbeddedServer]:
    async with ConfiguredServer(DELETES_AT_ONCE) as server:
        yield server


async def delete(client: Client, workflow_id: str, run_id: str) -> None:
    await client.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        )
    )
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    async with asyncio.timeout(100):
        while True:
            try:
                await handle.describe()
            except RPCError as err:
                assert err.status == RPCStatusCode.NOT_FOUND
                return
            await asyncio.sleep(0.02)


@pytest.mark.processes
async def test_what_retention_has_deleted_is_a_gap_to_those_who_asked_for_it(
    deleting: EmbeddedServer, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Or what is deleted might still be in the ring of the reader before.
    monkeypatch.setattr(feed, "LINGER_SECONDS", 0)
    client, name = await deleting.connect(), unique("expired")
    runs: list[str] = []
    values = [f"{run} {x}" for run in range(5) for x in "ab"]
    end: Line = ("end", "completed", 10)
    async with hosting(client, name) as handle:
        for run in range(5):
            runs.append(await (roll_over(handle) if run else run_id_of(handle)))
            await send(client, name, *values[2 * run : 2 * run + 2])
        await delete(client, name, runs[0])
        # Another client, which has not seen it all go by.
        async with following(await deleting.connect(), name, from_offset=1) as live:
            await live.count(9)
            await delete(client, name, runs[1])
            await handle.signal(Host.order, "finish")
            assert await live.end() == [("gap", 1, 2, "expired"), *items(*values[2:], start=2), end]
        await handle.result()
    left = [*items(*values[4:], start=4), end]
    assert await story(client, name) == left
    assert await story(client, name, from_offset=Last(9)) == left
    assert await story(client, name, from_offset=1) == [("gap", 1, 4, "expired"), *left]
    assert await story(client, name, from_offset=4) == left
    # A run in the middle, deleted by hand: what follows it is still there.
    await delete(client, name, runs[3])
    gap = ("gap", 6, 8, "expired")
    assert await story(client, name, from_offset=5) == [(5, values[5]), gap, *left[4:]]
    assert await story(client, name, from_offset=7) == [("gap", 7, 8, "expired"), *left[4:]]
    assert await story(client, name, from_offset=9) == left[5:]
    stream = WorkflowStreamClient.create(client, name)
    skipped = [(item.offset, item.skipped) async for item in stream.subscribe(from_offset=5)]
    assert skipped == [(5, 0), (8, 2), (9, 0)]
    await delete(client, name, runs[4])
    await delete(client, name, runs[2])
    with pytest.raises(errors.StreamNotFoundError):
        await story(client, name)


@pytest.mark.processes
async def test_a_run_deleted_while_it_is_read_is_a_gap_up_to_the_next_one(
    deleting: EmbeddedServer, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_FIRST_PAGE_BATCHES", 1)
    monkeypatch.setattr(history, "_MOST_PAGE_BATCHES", 1)
    client, name = await deleting.connect(), unique("expired")
    values = [f"v{i}" for i in range(8)]
    async with hosting(client, name) as handle:
        first = await run_id_of(handle)
        await send(client, name, *values[:6])
        await roll_over(handle)
        await send(client, name, *values[6:])
        late = await deleting.connect()
        reader = WorkflowStreamClient.create(late, name).follow(from_offset=1)
        assert told(await anext(reader)) == (1, "v1")
        await delete(client, name, first)
        await handle.signal(Host.order, "finish")
        lines = [told(event) async for event in reader]
    assert lines == [("gap", 2, 6, "expired"), *items("v6", "v7", start=6), ("end", "completed", 8)]


@pytest.mark.processes
async def test_a_stream_deleted_while_it_is_followed_ends_with_an_error(
    deleting: EmbeddedServer, unique: Any
) -> None:
    client, name = await deleting.connect(), unique("expired")
    async with hosting(client, name) as handle:
        await send(client, name, "a")
        async with following(client, name) as live, following(client, name) as other:
            await live.count(1)
            await delete(client, name, await run_id_of(handle))
            for reader in (live, other):
                with pytest.raises(errors.StreamNotFoundError):
                    await reader.end()
                assert reader.lines[0] == (0, "a")
