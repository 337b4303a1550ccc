"""Readers of a stream that is deleted while they read are told that it was ended, not completed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from workflow_streams import End, Item, WorkflowStreamClient, create_stream, delete_stream
from workflow_streams.testing.fixtures import StreamServer

from ..gateway.http.test_writes import replay
from .test_unfinished import serving

Unique = Callable[[str], str]
TTL = timedelta(hours=1)


async def story(client: Client, name: str, began: asyncio.Event) -> list[Any]:
    """Follow a stream to its end, and return what came."""
    found: list[Any] = []
    async for event in WorkflowStreamClient.create(client, name).follow():
        match event:
            case Item(data=data):
                found.append(data)
                began.set()
            case End(outcome, offset):
                found.append((outcome, offset))
    return found


@pytest.mark.parametrize("ttl", [None, TTL], ids=["for ever", "with a time to live"])
@pytest.mark.parametrize("forked", [False, True], ids=["alone", "kept for forks"])
async def test_they_get_the_end_in_this_process_and_in_others(
    client: Client,
    unique: Unique,
    queue: str,
    stream_server: StreamServer,
    ttl: timedelta | None,
    forked: bool,
) -> None:
    name, other = unique("news"), await stream_server.connect()
    await create_stream(client, name, ttl=ttl, initial=["a"], task_queue=queue)
    if forked:
        await create_stream(client, f"{name}-fork", forked_from=name, task_queue=queue)
    began = [asyncio.Event(), asyncio.Event()]
    reading = [
        asyncio.create_task(story(one, name, event))
        for one, event in zip((client, other), began, strict=True)
    ]
    for event in began:
        await event.wait()
    await delete_stream(client, name, task_queue=queue)
    for task in reading:
        assert await task == ["a", ("terminated", 1)]
    if forked:
        await replay(client, name)


@pytest.mark.parametrize("forked", [False, True], ids=["alone", "kept for forks"])
async def test_over_http_they_get_it_as_well(
    client: Client, unique: Unique, queue: str, forked: bool
) -> None:
    name = unique("news")
    await create_stream(client, name, initial=["a"], task_queue=queue)
    if forked:
        await create_stream(client, f"{name}-fork", forked_from=name, task_queue=queue)
    async with serving(client, queue, open_seconds=10) as http:
        url = f"/v1/stream/{name}"
        first = await http.get(url)
        head = first.headers["stream-next-offset"]
        # The transport of this test has an answer only when it is whole.
        events = asyncio.create_task(http.get(url, params={"offset": "-1", "live": "sse"}))
        poll = asyncio.create_task(http.get(url, params={"offset": head, "live": "long-poll"}))
        await asyncio.sleep(0.3)
        assert not events.done()
        assert (await http.delete(url)).status_code == 204
        assert '"outcome":"terminated"' in (await events).text
        polled = await poll
        assert polled.headers["stream-closed"] == "true"
        assert polled.headers["stream-outcome"] == "terminated"


async def test_a_stream_that_was_closed_before_has_completed(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    await create_stream(client, name, ttl=TTL, initial=["a"], closed=True, task_queue=queue)
    assert await story(client, name, asyncio.Event()) == ["a", ("completed", 1)]
