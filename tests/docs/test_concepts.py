"""The code of docs/concepts.md, run on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from workflow_streams import WorkflowStreamClient
from workflow_streams.errors import StreamGoneError

from .hosts import Mixed, MixedInput, Parent, stumble


async def test_the_hub_hosts_until_it_is_closed_and_its_transcript_is_what_was_said(
    client: Client, unique: Callable[[str], str], load: Callable[[str], Any]
) -> None:
    concepts, name = load("docs/concepts.md"), unique("hub")
    async with Worker(client, task_queue=name, workflows=[concepts.Hub]):
        handle = await client.start_workflow(
            concepts.Hub.run, concepts.HubInput(), id=name, task_queue=name
        )
        async with WorkflowStreamClient.create(client, name) as stream:
            for word in ("one", "two", "three"):
                assert await stream.topic("news").send(word) >= 0
        reader = asyncio.create_task(concepts.transcript(client, name))
        await handle.signal(concepts.Hub.close)
        await handle.result()
        assert await asyncio.wait_for(reader, 100) == "one\ntwo\nthree\n[completed]"


async def test_the_transcript_leaves_out_what_was_taken_back_and_tells_what_was_lost(
    client: Client, unique: Callable[[str], str], load: Callable[[str], Any]
) -> None:
    concepts, name = load("docs/concepts.md"), unique("mixed")
    async with Worker(client, task_queue=name, workflows=[Mixed], activities=[stumble]):
        handle = await client.start_workflow(
            Mixed.run, MixedInput(truncate_to=3), id=name, task_queue=name
        )
        # init, "0 begun" of two attempts, "0 done", after, activity
        items = WorkflowStreamClient.create(client, name).subscribe()
        assert [(await anext(items)).data for _ in range(6)] == [
            "init", "0 begun", "0 begun", "0 done", "after", "activity",
        ]  # fmt: skip
        await handle.signal(Mixed.close)
        await handle.result()
        # Readers in one process share a reading: it has come to the truncation.
        assert [item.data async for item in items] == ["last"]
    rest = "0 done\nafter\nactivity\nlast\n[completed]"
    assert await concepts.transcript(client, name) == rest
    assert await concepts.transcript(client, name, 1) == f"[2 truncated]\n{rest}"


async def test_the_transcript_of_a_whole_stream_holds_each_thing_once(
    client: Client, unique: Callable[[str], str], load: Callable[[str], Any]
) -> None:
    concepts, name = load("docs/concepts.md"), unique("mixed")
    async with Worker(client, task_queue=name, workflows=[Mixed], activities=[stumble]):
        handle = await client.start_workflow(Mixed.run, MixedInput(), id=name, task_queue=name)
        reader = asyncio.create_task(concepts.transcript(client, name))
        await handle.signal(Mixed.close)
        await handle.result()
        expected = "init\n0 begun\n0 done\nafter\nactivity\nlast\n[completed]"
        assert await asyncio.wait_for(reader, 100) == expected


async def test_the_activity_of_a_child_publishes_to_the_stream_of_its_parent(
    client: Client, unique: Callable[[str], str], load: Callable[[str], Any]
) -> None:
    concepts, name = load("docs/concepts.md"), unique("parent")
    async with Worker(
        client,
        task_queue=name,
        workflows=[Parent, concepts.Shipping],
        activities=[concepts.ship],
    ):
        await client.execute_workflow(Parent.run, "Shipping", id=name, task_queue=name)
    stream = WorkflowStreamClient.create(client, name)
    assert [(item.topic, item.data) async for item in stream.subscribe()] == [("status", "shipped")]


async def test_the_code_of_a_child_publishes_to_the_stream_of_its_parent(
    client: Client, unique: Callable[[str], str], load: Callable[[str], Any]
) -> None:
    concepts, name = load("docs/concepts.md"), unique("parent")
    async with Worker(client, task_queue=name, workflows=[Parent, concepts.Packing]):
        await client.execute_workflow(Parent.run, "Packing", id=name, task_queue=name)
    stream = WorkflowStreamClient.create(client, name)
    assert [(item.topic, item.data) async for item in stream.subscribe()] == [
        ("status", "packing"),
        ("status", "packed"),
    ]


async def test_the_headlines_are_those_of_one_topic(
    client: Client, unique: Callable[[str], str], load: Callable[[str], Any]
) -> None:
    concepts, name = load("docs/concepts.md"), unique("hub")
    async with Worker(client, task_queue=name, workflows=[concepts.Hub]):
        handle = await client.start_workflow(
            concepts.Hub.run, concepts.HubInput(), id=name, task_queue=name
        )
        stream = WorkflowStreamClient.create(client, name)
        await stream.topic("news").send("one")
        await stream.topic("other").send("two")
        await handle.signal(concepts.Hub.close)
        assert await concepts.headlines(stream) == ["one"]


async def test_the_news_need_no_workflow_of_ones_own(
    client: Client, unique: Callable[[str], str], load: Callable[[str], Any]
) -> None:
    concepts, name = load("docs/concepts.md"), unique("news")
    hosting = asyncio.create_task(concepts.host(client))
    try:
        await concepts.tell_news(client, name)
        reader = WorkflowStreamClient.create(client, name).subscribe("default")
        assert [item.data async for item in reader] == ["hello", "goodbye"]
        await concepts.forget_news(client, name)
        with pytest.raises(StreamGoneError):
            await concepts.forget_news(client, name)
    finally:
        hosting.cancel()
        await asyncio.wait({hosting})


async def test_readers_take_types_by_topic_and_stop_where_they_are_told(
    client: Client, unique: Callable[[str], str], load: Callable[[str], Any]
) -> None:
    concepts, name = load("docs/concepts.md"), unique("hub")
    async with Worker(client, task_queue=name, workflows=[concepts.Hub]):
        handle = await client.start_workflow(
            concepts.Hub.run, concepts.HubInput(), id=name, task_queue=name
        )
        async with WorkflowStreamClient.create(client, name) as stream:
            for topic, value in [
                ("alarms", "fire"),
                ("delta", concepts.TextDelta("to ")),
                ("delta", concepts.TextDelta("be")),
                ("status", concepts.Status("done")),
                ("news", "one"),
                ("draft", concepts.TextDelta("so")),
                ("final", concepts.TextDelta("so")),
                ("news", "two"),
            ]:
                stream.topic(topic).publish(value)
        fresh = WorkflowStreamClient.create(client, name)
        # These do not wait for the workflow's end.
        assert await asyncio.wait_for(concepts.first_alarm(fresh), 100) == "fire"
        assert await asyncio.wait_for(concepts.so_far(fresh), 100) == ["one", "two"]
        await handle.signal(concepts.Hub.close)
        assert await asyncio.wait_for(concepts.answer(fresh), 100) == "to be[done]"
        assert await asyncio.wait_for(concepts.words(fresh), 100) == ["so", "SO"]
