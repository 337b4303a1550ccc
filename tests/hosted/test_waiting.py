"""Who waits for a stream whose name another one had before gets the one that is made then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from temporalio.client import Client

from workflow_streams import (
    LATEST,
    StreamGoneError,
    WorkflowStreamClient,
    create_stream,
    delete_stream,
)
from workflow_streams.read.arrival import wait_for_workflow

from .test_calls import items
from .test_unfinished import serving

Unique = Callable[[str], str]
LONG = timedelta(seconds=100)
HOW = ["deleted", "expired", "kept for forks"]


async def gone(client: Client, name: str, queue: str, how: str) -> None:
    """Make a stream, and have it go."""
    soon = datetime.now(timezone.utc) + timedelta(seconds=0.3)
    expires = soon if how == "expired" else None
    await create_stream(client, name, expires_at=expires, initial=["old"], task_queue=queue)
    if how == "kept for forks":
        await create_stream(client, f"{name}-fork", forked_from=name, task_queue=queue)
    if how != "expired":
        await delete_stream(client, name, task_queue=queue)
    with pytest.raises(StreamGoneError):
        while True:
            await items(client, name)
            await asyncio.sleep(0.05)


async def made_anew(client: Client, name: str, queue: str, how: str) -> None:
    if how == "kept for forks":
        await delete_stream(client, f"{name}-fork", task_queue=queue)
        await client.get_workflow_handle(name).result()
    made = await create_stream(client, name, initial=["new"], closed=True, task_queue=queue)
    assert made.is_new


@pytest.mark.parametrize("how", HOW)
async def test_a_reader_that_waits_gets_the_next_stream_of_the_name(
    client: Client, unique: Unique, queue: str, how: str
) -> None:
    name = unique("news")
    await gone(client, name, queue, how)
    stream = WorkflowStreamClient.create(client, name)

    async def read(wait: timedelta | None, start: int | None = None) -> list[str]:
        options = {} if wait is None else {"wait": wait}
        begin = LATEST if start is None else start
        return [item.data async for item in stream.subscribe(None, begin, **options)]  # type: ignore[misc]

    with pytest.raises(StreamGoneError):
        await read(None, 0)
    with pytest.raises(StreamGoneError) as over:
        await read(timedelta(seconds=0.2), 0)
    assert over.value.has_forks is (how == "kept for forks")
    waiting = [asyncio.create_task(read(LONG, start)) for start in (0, None)]
    await asyncio.sleep(0.2)
    assert not any(task.done() for task in waiting)
    await made_anew(client, name, queue, how)
    for task in waiting:
        assert await task == ["new"]


@pytest.mark.parametrize("how", HOW)
async def test_over_http_it_is_the_same(
    client: Client, unique: Unique, queue: str, how: str
) -> None:
    name = unique("news")
    await gone(client, name, queue, how)
    url, status = f"/v1/stream/{name}", 410 if how == "kept for forks" else 404
    sse = {"offset": "-1", "live": "sse"}
    poll = {"offset": "-1", "live": "long-poll"}
    tail = {"offset": "now", "live": "long-poll"}
    async with serving(client, queue, open_seconds=10) as http:
        for params in ({}, sse, poll):
            assert (await http.get(url, params=params)).status_code == status
            hasty = await http.get(url, params=params | {"wait": "0.2"})
            assert hasty.status_code == status
        assert (await http.head(url, params={"wait": "0.2"})).status_code == status
        asked = [
            asyncio.create_task(http.get(url, params=params | {"wait": "60"}))
            for params in ({}, sse, poll, tail)
        ]
        asked.append(asyncio.create_task(http.head(url, params={"wait": "60"})))
        await asyncio.sleep(0.2)
        assert not any(task.done() for task in asked)
        await made_anew(client, name, queue, how)
        answers = [await task for task in asked]
        assert [answer.status_code for answer in answers] == [200] * 5
        # A plain read tells what is there, which may be the stream before what it begins with.
        assert answers[0].text in ('["new"]', "[]")
        assert all("new" in answer.text for answer in answers[1:4])
        assert not any("old" in answer.text for answer in answers)


async def test_a_run_that_is_asked_for_is_there_also_when_its_stream_is_gone(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    await create_stream(client, name, ttl=timedelta(seconds=1), initial=["old"], task_queue=queue)
    handle = client.get_workflow_handle(name)
    run_id = (await handle.describe()).run_id
    await handle.result()
    await wait_for_workflow(client, name, run_id, 0)
    with pytest.raises(StreamGoneError):
        await wait_for_workflow(client, name, None, 0)
