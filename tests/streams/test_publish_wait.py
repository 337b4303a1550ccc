"""A publisher that waits for room, where `publish()` would raise that there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import Client

from tests.read.hosts import Host, HostInput, hosting, worker
from tests.read.story import items, story
from workflow_streams import BufferFullError, EncodeError, PublishError, WorkflowStreamClient
from workflow_streams.testing import capture_published
from workflow_streams.testing.fixtures import StreamServer

Unique = Callable[[str], str]


def small(client: Client, name: str) -> WorkflowStreamClient:
    return WorkflowStreamClient.create(client, name, max_buffer_items=3)


@pytest.mark.parametrize("in_block", [True, False])
async def test_all_items_arrive_in_order_however_small_the_buffer(
    client: Client, unique: Unique, in_block: bool
) -> None:
    name = unique("wait")
    values = [str(number) for number in range(50)]
    async with hosting(client, name) as handle:
        stream = small(client, name)
        topic = stream.topic("out", type=str)
        if in_block:
            await stream.__aenter__()
        for value in values:
            await topic.publish_wait(value)
        await stream.flush()
        if in_block:
            await stream.__aexit__(None, None, None)
        await handle.signal("order", "finish")
        await handle.result()
    assert await story(client, name) == [*items(*values), ("end", "completed", len(values))]


async def test_several_tasks_wait_and_each_keeps_its_order(client: Client, unique: Unique) -> None:
    name = unique("tasks")
    async with hosting(client, name):
        async with small(client, name) as stream:

            async def publish(task: int) -> None:
                for number in range(20):
                    await stream.topic(str(task), type=int).publish_wait(number)

            await asyncio.gather(*(publish(task) for task in range(5)))
        found: dict[str, list[Any]] = {}
        async with WorkflowStreamClient.create(client, name).subscribe() as reader:
            async for item in reader:
                found.setdefault(item.topic, []).append(item.data)
                if item.offset == 99:
                    break
    assert found == {str(task): list(range(20)) for task in range(5)}


async def test_an_item_that_fits_is_taken_without_waiting_and_may_be_forced(
    client: Client, unique: Unique
) -> None:
    name = unique("fits")
    async with hosting(client, name):
        stream = small(client, name)
        topic = stream.topic("out", type=str)
        for value in "abc":
            await topic.publish_wait(value, force_flush=value == "c")
        with pytest.raises(BufferFullError, match="publish_wait"):
            topic.publish("d")
        with pytest.raises(EncodeError):
            await topic.publish_wait(object())  # type: ignore[arg-type]
        await stream.flush()
        assert await stream.get_offset() == 3


async def test_one_that_is_cancelled_is_not_published_and_takes_nothing_from_the_others(
    client: Client, unique: Unique
) -> None:
    name = unique("cancelled")
    handle = await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
    stream = small(client, name)
    topic = stream.topic("out", type=str)
    for value in "abc":
        topic.publish(value)
    waiting = asyncio.create_task(topic.publish_wait("never"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await stream.flush()
    async with worker(client, name):
        await topic.publish_wait("d")
        await stream.flush()
        await handle.signal("order", "finish")
        await handle.result()
    assert await story(client, name) == [*items(*"abcd"), ("end", "completed", 4)]


async def test_those_that_wait_are_told_that_nothing_more_gets_through(
    client: Client, unique: Unique
) -> None:
    name = unique("ended")
    async with hosting(client, name) as handle:
        await handle.signal("order", "finish")
        await handle.result()
    stream = small(client, name)
    topic = stream.topic("out", type=str)
    for value in "abc":
        topic.publish(value)
    results = await asyncio.gather(
        *(topic.publish_wait(value) for value in "de"), return_exceptions=True
    )
    assert isinstance(results[0], PublishError)
    assert results[0].undelivered == 3


async def test_what_is_captured_for_a_test_is_taken_as_well(stream_server: StreamServer) -> None:
    from temporalio import activity
    from temporalio.testing import ActivityEnvironment

    @activity.defn
    async def publishes() -> None:
        async with WorkflowStreamClient.from_within_activity() as stream:
            for number in range(3):
                await stream.topic("out", type=int).publish_wait(number)

    with capture_published() as published:
        await ActivityEnvironment().run(publishes)
    assert [item.data for item in published.items] == [0, 1, 2]
