"""Where a reader stops before the stream does: at an offset, or at what stands there now."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import RetryPolicy

from workflow_streams import (
    LATEST,
    HostUnavailableError,
    InvalidOffsetError,
    Item,
    Last,
    StreamNotFoundError,
    WorkflowStreamClient,
)
from workflow_streams.read.feeds.feed import RING_BYTES
from workflow_streams.read.moments import Moment
from workflow_streams.read.runs.polled import calls
from workflow_streams.read.runs.polled.poller import Poller

from .contrib_hosts import ContribHost, ContribInput
from .hosts import Host, HostInput, hosting, worker
from .story import SECONDS, following, items, next_run, roll_over, run_id_of, send, story

TEN = [f"v{i}" for i in range(10)]
END = ("end", "completed", 10)


@pytest.mark.parametrize("until", [-1, True, 1.5, "5", Last(1), Last(-1)])
async def test_what_is_no_place_to_stop_is_refused(client: Client, until: Any) -> None:
    stream = WorkflowStreamClient.create(client, "any")
    for read in (stream.follow, stream.subscribe, stream.topic("t").follow):
        with pytest.raises(InvalidOffsetError, match="until is an int, at least 0, or LATEST"):
            read(until=until)


async def test_it_stops_right_before_an_offset(client: Client, unique: Any) -> None:
    name = unique("until")
    async with hosting(client, name) as handle:
        await send(client, name, *TEN[:4])
        await handle.signal(Host.publish, TEN[4:])
        # What the workflow publishes comes behind the signals that its task finds.
        assert await story(client, name, until=10) == items(*TEN)
        await send(client, name, "last")
        every = items(*TEN, "last")

        # The workflow goes on, so each of these would wait for ever at its end.
        for start, until in [(0, 0), (0, 1), (0, 4), (0, 6), (3, 9), (5, 7), (0, 11), (10, 11)]:
            assert await story(client, name, from_offset=start, until=until) == every[start:until]
        for start in (5, 6, 50):
            assert await story(client, name, from_offset=start, until=5) == []
        assert await story(client, name, from_offset=Last(7), until=6) == every[4:6]
        assert await story(client, name, from_offset=LATEST, until=6) == []
        stream = WorkflowStreamClient.create(client, name)
        assert [i.data async for i in stream.subscribe("out", until=11)] == [*TEN[:4], "last"]
        assert [i.data async for i in stream.topic("own").subscribe(until=7)] == TEN[4:7]
    await handle.terminate()


async def test_it_waits_for_what_comes_before_the_offset_and_not_for_more(
    client: Client, unique: Any
) -> None:
    name = unique("until")
    async with (
        hosting(client, name) as handle,
        following(client, name, until=5) as five,
        following(client, name, until=7) as seven,
    ):
        await send(client, name, "a", "b", "c", "d")
        await five.count(4)
        await handle.signal(Host.publish, ["e", "f"])
        assert await five.end() == items("a", "b", "c", "d", "e")
        await handle.signal(Host.order, "finish")
        assert await seven.end() == [*items("a", "b", "c", "d", "e", "f"), ("end", "completed", 6)]


async def test_what_is_truncated_past_the_offset_is_told_whole(client: Client, unique: Any) -> None:
    name = unique("until")
    async with hosting(client, name) as handle:
        await send(client, name, *TEN)
        await handle.execute_update("truncate_now", 6)
        assert await story(client, name, from_offset=2, until=4) == [("gap", 2, 6, "truncated")]
        assert await story(client, name, until=4) == []
        assert await story(client, name, until=7) == [(6, "v6")]
    await handle.terminate()


async def test_with_latest_it_takes_what_is_there_and_stops(client: Client, unique: Any) -> None:
    name = unique("until")
    async with hosting(client, name) as handle:
        assert await story(client, name, until=LATEST) == []
        await send(client, name, *TEN[:3])
        await handle.signal(Host.publish, TEN[3:6])
        assert await story(client, name, until=6) == items(*TEN[:6])
        assert await story(client, name, until=LATEST) == items(*TEN[:6])
        await roll_over(handle)
        assert await story(client, name, until=LATEST) == items(*TEN[:6])
        assert await story(client, name, from_offset=Last(2), until=LATEST) == [
            *items(*TEN[4:6], start=4)
        ]
        for start in (6, 60, LATEST):
            assert await story(client, name, from_offset=start, until=LATEST) == []

        # Beside a reader that follows, and resumed where it stopped.
        stream = WorkflowStreamClient.create(client, name)
        async with following(client, name) as follower:
            await follower.count(6)
            *_, last = [event async for event in stream.follow(until=LATEST)]
            assert isinstance(last, Item)
            await send(client, name, *TEN[6:])
            rest = stream.subscribe(from_position=last.position, until=LATEST)
            assert [item.data async for item in rest] == TEN[6:]
            await handle.signal(Host.order, "finish")
            await follower.end()
    # The end is there by now, and no worker is.
    assert await story(client, name, until=LATEST) == [*items(*TEN), END]
    assert await story(client, name, until=10) == items(*TEN)
    assert await story(client, name, until=11) == [*items(*TEN), END]


async def test_what_comes_later_is_not_waited_for(client: Client, unique: Any) -> None:
    """The first step is what counts as now."""
    name = unique("until")
    async with hosting(client, name) as handle:
        await send(client, name, "a", "b")
        async with WorkflowStreamClient.create(client, name).subscribe(until=LATEST) as found:
            assert (await anext(found)).data == "a"
            await send(client, name, "c")
            rest = [item.data async for item in found]
            # What comes meanwhile may be told, too, but nothing is waited for.
            assert rest in (["b"], ["b", "c"])
            with pytest.raises(StopAsyncIteration):
                await anext(found)
    await handle.terminate()


async def test_more_than_a_process_keeps_is_read_to_its_head(
    stream_server: Any, client: Client, unique: Any
) -> None:
    name = unique("until")
    size, count = 10_000, 2 * RING_BYTES // 10_000
    async with hosting(client, name) as handle:
        async with WorkflowStreamClient.create(client, name) as stream:
            topic = stream.topic("n")
            for n in range(count):
                topic.publish(f"{n}".ljust(size))
        for start, first in ((0, 0), (Last(count - 5), 5)):
            fresh = WorkflowStreamClient.create(await stream_server.connect(), name)
            # By itself, and then beside one that has stopped early, so that the ring moves on.
            for _ in range(2):
                async with asyncio.timeout(SECONDS):
                    reading = fresh.subscribe(from_offset=start, until=LATEST)
                    assert [i.offset async for i in reading] == list(range(first, count))
    await handle.terminate()


async def test_rewinds_at_the_head_are_there_as_well(client: Client, unique: Any) -> None:
    name = unique("until")
    retry = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2)
    async with hosting(client, name, HostInput(failing_attempts=1), retry_policy=retry) as handle:
        await send(client, name, "a", "b")
        stale = [event async for event in WorkflowStreamClient.create(client, name).follow(until=2)]
        first = await run_id_of(handle)
        await handle.signal(Host.order, "fail")
        await next_run(handle, first)
        await send(client, name, "c")
        position = stale[-1].position
        retaken = [("rewind", [(0, 2)], "retry", 0), (0, "c")]
        assert await story(client, name, from_position=position, until=LATEST) == retaken
        # An offset that the reader had reached in the run that does not count any more.
        assert await story(client, name, from_position=position, until=1) == retaken
    await handle.terminate()


async def test_a_stream_that_no_worker_has_opened_holds_nothing_yet(
    client: Client, unique: Any
) -> None:
    name = unique("until")
    with pytest.raises(StreamNotFoundError):
        await story(client, name, until=LATEST)
    handle = await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
    assert await story(client, name, until=LATEST) == []
    async with worker(client, name):
        await send(client, name, "a")
        wait = timedelta(seconds=SECONDS)
        assert await story(client, name, until=LATEST, wait=wait) == [(0, "a")]
    await handle.terminate()


async def test_of_a_polled_stream_it_takes_what_is_there(client: Client, unique: Any) -> None:
    name = unique("until")
    many = [f"{i}".ljust(50_000) for i in range(30)]  # more than a page
    every = items(*many)
    async with worker(client, name, workflows=[ContribHost]):
        handle = await client.start_workflow(
            ContribHost.run, ContribInput(), id=name, task_queue=name
        )
        for start in (0, 15):
            await handle.signal(ContribHost.publish, many[start : start + 15])
        assert await story(client, name, until=30) == every
        assert await story(client, name, until=LATEST) == every
        assert await story(client, name, from_offset=Last(3), until=LATEST) == every[-3:]
        assert await story(client, name, from_offset=30, until=LATEST) == []
        assert await story(client, name, from_offset=10, until=20) == every[10:20]
    await handle.terminate()


async def test_a_polled_stream_is_taken_beside_who_follows_it_and_after_its_end(
    client: Client, unique: Any
) -> None:
    name = unique("until")
    async with worker(client, name, workflows=[ContribHost]):
        handle = await client.start_workflow(
            ContribHost.run, ContribInput(), id=name, task_queue=name
        )
        async with following(client, name) as follower:
            await handle.signal(ContribHost.publish, ["a", "b"])
            await follower.count(2)
            assert await story(client, name, until=LATEST) == items("a", "b")
            await handle.signal(ContribHost.order, "finish")
            lines = [*items("a", "b"), ("end", "completed", 2)]
            assert await follower.end() == lines
        assert await story(client, name, until=LATEST) == lines


async def test_the_end_of_a_polled_stream_stands_there_however_late_it_is_read(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    remaining = Poller.remaining

    async def late(poller: Poller, last_head: Any) -> AsyncGenerator[Moment]:
        await asyncio.sleep(0.5)  # the host has told its head by then
        async for moment in remaining(poller, last_head):
            yield moment

    monkeypatch.setattr(Poller, "remaining", late)
    name = unique("until")
    async with worker(client, name, workflows=[ContribHost]):
        handle = await client.start_workflow(
            ContribHost.run, ContribInput(), id=name, task_queue=name
        )
        await handle.signal(ContribHost.publish, ["a", "b"])
        await handle.signal(ContribHost.order, "finish")
        await handle.result()
        lines = [*items("a", "b"), ("end", "completed", 2)]
        assert await story(client, name, until=LATEST) == lines


async def test_of_a_polled_stream_without_a_worker_nothing_can_be_said(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "QUERY_SECONDS", 1)
    name = unique("until")
    async with worker(client, name, workflows=[ContribHost]):
        handle = await client.start_workflow(
            ContribHost.run, ContribInput(), id=name, task_queue=name
        )
        await handle.signal(ContribHost.publish, ["a"])
        assert await story(client, name, until=1) == [(0, "a")]
        assert await story(client, name, until=LATEST) == [(0, "a")]
    with pytest.raises(HostUnavailableError):
        await story(client, name, until=LATEST)
    await handle.terminate()
