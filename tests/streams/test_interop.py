"""The contrib's client on our workflow, ours on the contrib's, and histories of both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import ModuleType
from typing import Any

import pytest
import temporalio.contrib.workflow_streams as contrib
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Replayer, Worker

import workflow_streams as ours
from tests.read.story import SECONDS, following, items, next_run, roll_over, run_id_of, story

from .switch_hosts import ContribHost, ContribInput, Host, OurHost, OurInput


async def read(library: ModuleType, client: Client, name: str) -> list[tuple[int, str, object]]:
    stream = library.WorkflowStreamClient.create(client, name)
    return [(item.offset, item.topic, item.data) async for item in stream.subscribe()]


async def publish(library: ModuleType, client: Client, name: str, label: str) -> None:
    async with library.WorkflowStreamClient.create(client, name) as stream:
        for i in range(3):
            stream.topic("out", type=str).publish(f"{label} {i}", force_flush=True)


async def until_idle(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until the workflow has handled what it was sent."""
    async with asyncio.timeout(SECONDS):
        while (await handle.describe()).raw_description.HasField("pending_workflow_task"):
            await asyncio.sleep(0.02)


@pytest.fixture
async def readers() -> AsyncIterator[AsyncExitStack]:
    """Keeps readers to the end of the test."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.mark.parametrize("host", [ContribHost, OurHost])
async def test_both_clients_publish_and_read_alike_across_runs_and_after_the_end(
    client: Client, unique: Any, host: Any
) -> None:
    name = unique("host")
    first = ContribInput() if host is ContribHost else OurInput()
    handle = client.get_workflow_handle(name)
    async with Worker(client, task_queue=name, workflows=[host]):
        await client.start_workflow("Host", first, id=name, task_queue=name)
        readers = [asyncio.create_task(read(library, client, name)) for library in (contrib, ours)]
        for label in "ab":
            await publish(contrib, client, name, f"contrib {label}")
            await publish(ours, client, name, f"ours {label}")
            offsets = [
                await library.WorkflowStreamClient.create(client, name).get_offset()
                for library in (contrib, ours)
            ]
            assert offsets[0] == offsets[1]
            if label == "a":
                await roll_over(handle)
        await handle.signal(Host.order, "finish")
        await handle.result()
        theirs, mine = await asyncio.wait_for(asyncio.gather(*readers), 100)
        assert mine == theirs
        assert [offset for offset, _, _ in mine] == list(range(15))
        assert [data for _, topic, data in mine if topic == "out"] == [
            f"{who} {label} {i}" for label in "ab" for who in ("contrib", "ours") for i in range(3)
        ]
        assert [data for _, topic, data in mine if topic == "own"] == [
            "init", "init", "last"
        ]  # fmt: skip
        for library in (ours, contrib):
            assert await read(library, client, name) == mine


async def test_contrib_history_replays_and_a_run_lives_through_the_switch(
    client: Client, unique: Any, readers: AsyncExitStack
) -> None:
    name = unique("switch")
    handle = client.get_workflow_handle(name)
    async with Worker(client, task_queue=name, workflows=[ContribHost], max_cached_workflows=0):
        await client.start_workflow("Host", ContribInput(), id=name, task_queue=name)
        await publish(contrib, client, name, "before")
        assert await contrib.WorkflowStreamClient.create(client, name).get_offset() == 4
        # A second task: with a single one, without a command, the SDK does not tell the next
        # worker that there was any.
        await handle.signal(Host.truncate, 0)
        await until_idle(handle)
    history = await handle.fetch_history()
    await Replayer(workflows=[OurHost]).replay_workflow(history)

    async with Worker(client, task_queue=name, workflows=[OurHost], max_cached_workflows=0):
        reader = await readers.enter_async_context(following(client, name))
        await publish(ours, client, name, "after")
        assert await contrib.WorkflowStreamClient.create(client, name).get_offset() == 7
        await reader.count(7)
        first = await run_id_of(handle)
        await handle.signal(Host.order, "leave")
        second = await next_run(handle, first)
    # The next run is a stream of ours, with the same offsets, whatever comes before its first task.
    await publish(ours, client, name, "early")
    async with Worker(client, task_queue=f"{name} 2", workflows=[OurHost], max_cached_workflows=0):
        stream = ours.WorkflowStreamClient.create(client, name)
        # What is published before the first task begins comes before what that publishes.
        await reader.count(11)
        assert await stream.topic("out", type=str).send("last but one") == 11
        await handle.signal(Host.order, "finish")
        await handle.result()
        expected = ["init", *(f"before {i}" for i in range(3)), *(f"after {i}" for i in range(3))]
        expected += [*(f"early {i}" for i in range(3)), "init", "last but one", "last"]
        end = ("end", "completed", len(expected))
        assert await reader.end() == [*items(*expected), end]
        polled = await read(contrib, client, name)
        assert [(offset, data) for offset, _, data in polled] == items(*expected)
    for run_id in (first, second):
        history = await client.get_workflow_handle(name, run_id=run_id).fetch_history()
        await Replayer(workflows=[OurHost]).replay_workflow(history)
    # Without any worker: the native run holds all that was retained.
    assert await story(client, name) == [*items(*expected), end]
