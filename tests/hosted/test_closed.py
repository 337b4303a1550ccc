"""What is published to a stream that has been closed is lost, and whoever published it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import RawValue

from workflow_streams import (
    PublishError,
    StreamClosedError,
    WorkflowStreamClient,
    close_stream,
    create_stream,
)
from workflow_streams.hosted import host_worker
from workflow_streams.hosted.host import (
    HOST_TASK_TIMEOUT,
    HOST_WORKFLOW,
    HostInput,
    HostSetup,
)
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.publish import host_check, landing

from ..configured import ROLLS_OVER_SOON, ConfiguredServer
from ..gateway.http.test_closed_rollovers import rolled_over_by_touches
from ..gateway.http.test_writes import replay
from .test_calls import items

Unique = Callable[[str], str]
TTL = timedelta(hours=1)


async def is_marked(client: Client, name: str, run_id: str | None = None) -> bool | None:
    described = await client.get_workflow_handle(name, run_id=run_id).describe()
    marked: bool | None = await described.memo_value(wire.CLOSED_MEMO_KEY, None, type_hint=bool)
    return marked


async def closed_from_elsewhere(client: Client, name: str) -> None:
    """Close a stream as another process does, so that this one does not know."""
    closing = RawValue(batch_payload([], "", 0, close=True))
    await client.get_workflow_handle(name).signal(wire.PUBLISH_SIGNAL, closing)


def closed(error: pytest.ExceptionInfo[PublishError]) -> tuple[int, int]:
    assert type(error.value) is PublishError
    assert isinstance(error.value.__cause__, StreamClosedError)
    return error.value.undelivered, error.value.uncertain


@pytest.mark.parametrize("ttl", [None, TTL], ids=["ends", "stays"])
async def test_whoever_publishes_after_the_close_is_told_and_only_of_that(
    client: Client, unique: Unique, queue: str, ttl: timedelta | None
) -> None:
    name = unique("news")
    await create_stream(client, name, ttl=ttl, initial=["made with"], task_queue=queue)
    stream = WorkflowStreamClient.create(client, name)
    with pytest.raises(PublishError) as left:
        async with stream:
            topic = stream.topic("words", type=str)
            topic.publish("a")
            await stream.flush()
            await closed_from_elsewhere(client, name)
            topic.publish("b")
            topic.publish("c")
            with pytest.raises(PublishError) as flushed:
                await stream.flush()
            assert closed(flushed) == (2, 0)
            await stream.flush()  # it has been told
            topic.publish("d")
    assert closed(left) == (1, 0)
    assert await items(client, name) == ["made with", "a"]
    assert await is_marked(client, name) is (ttl is not None)
    await replay(client, name)


async def test_leaving_the_block_tells_of_what_came_too_late_and_of_nothing_else(
    client: Client, unique: Unique, queue: str
) -> None:
    """All of it had been taken by the server when the stream was closed, but for the last item."""
    name = unique("news")
    await create_stream(client, name, ttl=TTL, task_queue=queue)
    with pytest.raises(PublishError) as left:
        async with WorkflowStreamClient.create(client, name) as stream:
            topic = stream.topic("words", type=str)
            for word in "abc":
                topic.publish(word, force_flush=True)
            assert await topic.send("d") == 3
            await closed_from_elsewhere(client, name)
            topic.publish("e")
    assert closed(left) == (1, 0)
    assert await items(client, name) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("stays", [True, False], ids=["stays", "ends"])
async def test_who_finds_out_by_a_refusal_is_told_of_what_had_been_taken_before(
    client: Client,
    unique: Unique,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
    stays: bool,
) -> None:
    """Each item is a batch of its own, and nothing is flushed before the end of the block."""
    monkeypatch.setattr(host_check, "_OURS_SECONDS", 0.3)
    name = unique("news")
    await create_stream(client, name, ttl=TTL if stays else None, task_queue=queue)
    published = undelivered = uncertain = 0
    try:
        async with WorkflowStreamClient.create(client, name) as stream:
            for number in range(60):
                if number == 20:
                    await closed_from_elsewhere(client, name)
                try:
                    stream.topic("words", type=int).publish(number, force_flush=True)
                    published += 1
                except PublishError as err:
                    undelivered += err.undelivered
                    uncertain += err.uncertain
                await asyncio.sleep(0.02)
    except PublishError as err:
        undelivered += err.undelivered
        uncertain += err.uncertain
    there = await items(client, name)
    assert there == list(range(len(there)))
    assert undelivered - uncertain <= published - len(there) <= undelivered


async def test_a_publisher_that_comes_later_sends_nothing(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    await create_stream(client, name, ttl=TTL, initial=[1], closed=True, task_queue=queue)
    handle = client.get_workflow_handle(name)
    while not await is_marked(client, name):
        pass
    before = (await handle.describe()).history_length
    for _ in range(2):
        with pytest.raises(PublishError) as left:
            async with WorkflowStreamClient.create(client, name) as stream:
                stream.topic("words").publish("late")
        assert closed(left) == (1, 0)
    assert (await handle.describe()).history_length == before
    await close_stream(client, name)
    assert await items(client, name) == [1]


async def test_it_is_told_though_no_worker_has_come_to_the_close_yet(
    client: Client, unique: Unique
) -> None:
    name, queue = unique("news"), unique("hosts")
    async with host_worker(client, task_queue=queue):
        await create_stream(client, name, ttl=TTL, initial=["a"], task_queue=queue)
        async with WorkflowStreamClient.create(client, name) as stream:
            stream.topic("words").publish("b")
    async with WorkflowStreamClient.create(client, name) as stream:
        topic = stream.topic("words")
        topic.publish("c")
        await stream.flush()
        await closed_from_elsewhere(client, name)
        topic.publish("d")
        with pytest.raises(PublishError) as flushed:
            await stream.flush()
    assert closed(flushed) == (1, 0)
    assert not await is_marked(client, name)
    assert await items(client, name) == ["a", "b", "c"]
    await client.get_workflow_handle(name).terminate()


async def test_nobody_waits_for_a_worker_of_a_stream_that_none_has_opened(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = unique("news")
    setup = HostSetup("application/json")
    await start(client, name, HostInput(setup, marks_closed=True), unique("nobody"))

    async def read(*_: Any) -> int:
        raise AssertionError("the history was read")

    monkeypatch.setattr("workflow_streams.publish.landed._last_in_history", read)
    async with WorkflowStreamClient.create(client, name) as stream:
        stream.topic("words").publish("a")
        await stream.flush()
    await client.get_workflow_handle(name).terminate()


async def start(client: Client, name: str, host: HostInput, queue: str) -> None:
    memo: dict[str, Any] = {wire.SETUP_MEMO_KEY: host.setup}
    if host.marks_closed:
        memo[wire.CLOSED_MEMO_KEY] = False
    await client.start_workflow(
        HOST_WORKFLOW, host, id=name, task_queue=queue, task_timeout=HOST_TASK_TIMEOUT, memo=memo
    )


async def test_of_a_host_of_an_earlier_version_the_history_tells(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    setup = HostSetup("application/json", ttl_seconds=3600)
    await start(client, name, HostInput(setup, closed_rolls_over=True), queue)
    with pytest.raises(PublishError) as left:
        async with WorkflowStreamClient.create(client, name) as stream:
            topic = stream.topic("words")
            topic.publish("a")
            await stream.flush()
            await closed_from_elsewhere(client, name)
            topic.publish("b")
    assert closed(left) == (1, 0)
    assert await items(client, name) == ["a"]
    assert await is_marked(client, name) is None
    await replay(client, name)


async def test_what_send_has_told_is_not_told_again(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    await create_stream(client, name, ttl=TTL, task_queue=queue)
    async with WorkflowStreamClient.create(client, name) as stream:
        topic = stream.topic("words")
        assert await topic.send("a") == 0
        await closed_from_elsewhere(client, name)
        with pytest.raises(StreamClosedError):
            await topic.send("b")


async def test_an_error_of_the_block_has_it_as_a_note(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    await create_stream(client, name, ttl=TTL, task_queue=queue)
    with pytest.raises(ZeroDivisionError) as left:
        async with WorkflowStreamClient.create(client, name) as stream:
            topic = stream.topic("words")
            await topic.send("a")
            await closed_from_elsewhere(client, name)
            topic.publish("b")
            raise ZeroDivisionError
    [note] = left.value.__notes__
    assert "1 item(s) were not delivered" in note
    assert "closed" in note


async def test_a_block_that_never_flushes_is_told_after_so_many_batches(
    client: Client, unique: Unique, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "MOST_BATCHES", 3)
    name = unique("news")
    await create_stream(client, name, ttl=TTL, task_queue=queue)
    stream = WorkflowStreamClient.create(client, name, batch_interval=timedelta(milliseconds=1))
    published = 0
    with pytest.raises(PublishError) as told:
        async with stream:
            topic = stream.topic("words", type=int)
            await topic.send(-1)
            await closed_from_elsewhere(client, name)
            for published in range(1000):
                topic.publish(published, force_flush=True)
                await asyncio.sleep(0.01)
    assert closed(told)[0] <= published
    assert await items(client, name) == [-1]


@pytest.mark.processes
async def test_a_stream_that_was_closed_says_so_in_its_later_runs(unique: Unique) -> None:
    queue, name = unique("hosts"), unique("news")
    async with ConfiguredServer(*ROLLS_OVER_SOON) as server:
        client = await server.connect()
        async with host_worker(client, task_queue=queue):
            await create_stream(client, name, ttl=TTL, initial=[1], task_queue=queue)
            runs = await rolled_over_by_touches(client, name)
            assert await is_marked(client, name) is False
            await close_stream(client, name)
            while not await is_marked(client, name):
                pass
            runs += await rolled_over_by_touches(client, name)
            assert await is_marked(client, name) is True
            with pytest.raises(PublishError) as left:
                async with WorkflowStreamClient.create(client, name) as stream:
                    stream.topic("words").publish("late")
            assert closed(left) == (1, 0)
            assert await items(client, name) == [1]
        for run_id in runs:
            await replay(client, name, run_id)
