"""A stream that is deleted or has expired is neither read nor written from Python."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from temporalio.client import Client

from workflow_streams import (
    LATEST,
    End,
    Item,
    PublishError,
    StreamGoneError,
    WorkflowStreamClient,
    create_stream,
    delete_stream,
)
from workflow_streams.hosted import host_worker
from workflow_streams.testing.fixtures import StreamServer

from ..read.story import SECONDS

Unique = Callable[[str], str]


async def read(client: Client, name: str) -> list[object]:
    stream = WorkflowStreamClient.create(client, name)
    return [item.data async for item in stream.subscribe(until=LATEST)]


async def refuses_all(client: Client, name: str) -> bool:
    """Whether the stream is gone for new readers and writers."""
    with pytest.raises(StreamGoneError):
        await read(client, name)
    # Its look before the first batch says so, or the feed, in which it would find the verdict.
    with pytest.raises((PublishError, StreamGoneError)) as caught:
        async with WorkflowStreamClient.create(client, name) as stream:
            await stream.topic("default", type=str).send("late")
    assert isinstance(caught.value, StreamGoneError) or isinstance(
        caught.value.__cause__, StreamGoneError
    )
    with pytest.raises(PublishError) as caught:
        async with WorkflowStreamClient.create(client, name) as stream:
            stream.topic("default", type=str).publish("late")
    assert isinstance(caught.value.__cause__, StreamGoneError)
    with pytest.raises(StreamGoneError):
        await WorkflowStreamClient.create(client, name).get_offset()
    return True


async def test_a_deleted_stream_that_has_forks_takes_and_gives_nothing(
    client: Client, stream_server: StreamServer, unique: Unique, queue: str
) -> None:
    name = unique("deleted")
    await create_stream(client, name, initial=["a"], task_queue=queue)
    got: list[object] = []
    async with WorkflowStreamClient.create(client, name) as early:
        topic = early.topic("default", type=str)
        assert await topic.send("b") == 1
        following = asyncio.create_task(collect(client, name, got))
        while len(got) < 2:
            await asyncio.sleep(0.02)
        await create_stream(client, f"{name} fork", forked_from=name, task_queue=queue)
        await delete_stream(client, name, task_queue=queue)
        # Those that are at work are told, too.
        await asyncio.wait_for(following, SECONDS)
        with pytest.raises(StreamGoneError):
            await topic.send("late")
    assert [e.offset if isinstance(e, Item) else type(e) for e in got] == [0, 1, End]
    assert await refuses_all(client, name)
    assert await refuses_all(await stream_server.connect(), name)
    assert await read(client, f"{name} fork") == ["a", "b"]
    await delete_stream(client, f"{name} fork", task_queue=queue)
    assert await refuses_all(client, f"{name} fork")


async def collect(client: Client, name: str, got: list[object]) -> None:
    async for event in WorkflowStreamClient.create(client, name).follow():
        got.append(event)


async def test_a_deleted_stream_is_gone_for_all(
    client: Client, stream_server: StreamServer, unique: Unique, queue: str
) -> None:
    name = unique("deleted")
    await create_stream(client, name, initial=["a"], task_queue=queue)
    assert await read(client, name) == ["a"]
    await delete_stream(client, name, task_queue=queue)
    assert await refuses_all(client, name)
    assert await refuses_all(await stream_server.connect(), name)
    await create_stream(client, name, initial=["again"], task_queue=queue)
    assert await read(client, name) == ["again"]


async def test_an_expired_stream_is_gone_for_all(
    client: Client, stream_server: StreamServer, unique: Unique, queue: str
) -> None:
    name = unique("expired")
    await create_stream(client, name, initial=["a"], ttl=timedelta(seconds=1), task_queue=queue)
    async with asyncio.timeout(SECONDS):
        while (await client.get_workflow_handle(name).describe()).close_time is None:
            await asyncio.sleep(0.05)
    assert await refuses_all(client, name)
    assert await refuses_all(await stream_server.connect(), name)


async def test_an_expired_stream_is_gone_though_its_worker_has_not_noticed(
    client: Client, unique: Unique
) -> None:
    name, queue = unique("expired"), unique("hosts")
    until = datetime.now(timezone.utc) + timedelta(seconds=3)
    async with host_worker(client, task_queue=queue):
        await create_stream(client, name, initial=["a"], expires_at=until, task_queue=queue)
    while datetime.now(timezone.utc) <= until:
        await asyncio.sleep(0.05)
    assert await refuses_all(client, name)
