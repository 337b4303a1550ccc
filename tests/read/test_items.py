"""Which items a reader gets, as what, and that none is lost when reading is interrupted."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ApplicationError

from workflow_streams import Gap, Item, WorkflowStream, WorkflowStreamClient, errors
from workflow_streams.read.feeds import feed as feed_module
from workflow_streams.read.feeds import lookup
from workflow_streams.read.runs.source import WorkflowSource

from .hosts import Host, HostInput, hosting, worker
from .story import SECONDS, Line, following, items, roll_over, send, story, told


@dataclass
class Point:
    x: int
    y: int


async def published(client: Client, name: str) -> None:
    """Two points, two words and a number, on a topic each, in turn."""
    async with hosting(client, name) as handle:
        async with WorkflowStreamClient.create(client, name) as stream:
            points = stream.topic("points", type=Point)
            words = stream.topic("words", type=str)
            points.publish(Point(1, 2))
            words.publish("one")
            stream.topic("numbers", type=float).publish(1.5)
            points.publish(Point(3, 4))
            words.publish("two")
        await handle.signal(Host.order, "finish")
        await handle.result()


async def test_items_have_the_types_of_their_topics(client: Client, unique: Any) -> None:
    name = unique("types")
    await published(client, name)
    stream = WorkflowStreamClient.create(client, name)
    stream.topic("points", type=Point)
    # One topic is bound, the others have the converter's default.
    mixed = [item.data async for item in stream.subscribe()]
    assert mixed == [Point(1, 2), "one", 1.5, Point(3, 4), "two"]
    typed = [item async for item in stream.topic("points", type=Point).subscribe()]
    assert [(i.topic, i.offset, i.data) for i in typed] == [
        ("points", 0, Point(1, 2)),
        ("points", 3, Point(3, 4)),
    ]
    fresh = WorkflowStreamClient.create(client, name)
    assert [i.data async for i in fresh.subscribe("points")] == [{"x": 1, "y": 2}, {"x": 3, "y": 4}]
    as_points = fresh.subscribe(["points"], result_type=Point)
    assert [i.data async for i in as_points] == [Point(1, 2), Point(3, 4)]
    raw = fresh.subscribe("words", result_type=RawValue)
    assert [i.data.payload.data async for i in raw] == [b'"one"', b'"two"']
    times = [i.time async for i in fresh.subscribe()]
    assert all(time is not None and time.tzinfo is not None for time in times)
    assert times == sorted(times)  # type: ignore[type-var]


async def test_a_value_of_another_type_raises_with_its_offset_and_reading_goes_on(
    client: Client, unique: Any
) -> None:
    name = unique("types")
    await published(client, name)
    seen: list[object] = []
    reader = aiter(WorkflowStreamClient.create(client, name).subscribe(result_type=Point))
    while True:
        try:
            seen.append((await anext(reader)).data)
        except errors.DecodeError as err:
            seen.append((err.topic, err.offset))
        except StopAsyncIteration:
            break
    assert seen == [Point(1, 2), ("words", 1), ("numbers", 2), Point(3, 4), ("words", 4)]


@pytest.mark.parametrize(
    ("topics", "offsets"),
    [
        (None, [0, 1, 2, 3, 4]),
        ([], [0, 1, 2, 3, 4]),
        ("words", [1, 4]),
        (["words"], [1, 4]),
        (["points", "numbers"], [0, 2, 3]),
        (["nothing"], []),
    ],
)
async def test_a_filter_leaves_out_items_and_nothing_else(
    client: Client, unique: Any, topics: Any, offsets: list[int]
) -> None:
    name = unique("types")
    await published(client, name)
    lines = await story(client, name, topics=topics)
    assert [line[0] for line in lines] == [*offsets, "end"]
    lines = await story(client, name, topics=topics, from_offset=2)
    assert [line[0] for line in lines] == [*(o for o in offsets if o >= 2), "end"]


async def test_a_step_that_is_cancelled_loses_nothing_and_the_next_one_goes_on(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the feed went on, stopped meanwhile, or left the reader behind."""
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0.01)
    monkeypatch.setattr(feed_module, "RING_BYTES", 1000)
    name = unique("cancel")
    stream = WorkflowStreamClient.create(client, name)
    lines: list[Line] = []
    async with hosting(client, name) as handle:
        reader = aiter(stream.follow())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(reader), 0.3)
        for round_ in range(4):
            await send(client, name, *(f"{round_} {i}" for i in range(8)))
            # What is there may take several steps; a step that waits is cancelled.
            while len(lines) < 8 * round_ + 5:
                lines.append(told(await asyncio.wait_for(anext(reader), SECONDS)))
            if round_ == 1:
                await roll_over(handle)
            if round_ == 2:
                await asyncio.sleep(0.05)
            for _ in range(3):
                with suppress(TimeoutError):
                    lines.append(told(await asyncio.wait_for(anext(reader), 0.01)))
        await handle.signal(Host.order, "finish")
        lines += [told(event) async for event in reader]
    assert lines == [
        *items(*(f"{round_} {i}" for round_ in range(4) for i in range(8))),
        ("end", "completed", 32),
    ]
    with pytest.raises(StopAsyncIteration):
        await anext(reader)


async def test_every_wait_of_a_reader_can_be_cancelled(client: Client, unique: Any) -> None:
    """At each point where it waits, one after the other, from its start to its end."""
    name = unique("cancel")
    async with hosting(client, name) as handle:
        await send(client, name, "a", "b", "c")
        await roll_over(handle)
        await send(client, name, "d")
        await handle.signal(Host.order, "finish")
        await handle.result()
    expected = [*items("a", "b", "c", "d"), ("end", "completed", 4)]
    cancelled = 0
    for first in range(25):
        reader = aiter(WorkflowStreamClient.create(client, name).follow())
        lines: list[Line] = []
        patience = first / 5000
        while not lines or lines[-1][0] != "end":
            step = asyncio.ensure_future(anext(reader))
            await asyncio.wait({step}, timeout=patience)
            step.cancel()
            try:
                lines.append(told(await step))
            except asyncio.CancelledError:
                cancelled += 1
                patience += max(0.001, patience / 10)
        assert lines == expected
    assert cancelled > 25


async def test_a_reader_that_is_closed_gives_nothing_more_and_lets_go_of_the_feed(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = unique("close")
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0.05)
    async with hosting(client, name):
        await send(client, name, "a", "b")
        stream = WorkflowStreamClient.create(client, name)
        never_begun = stream.subscribe()
        await never_begun.aclose()  # type: ignore[attr-defined]
        assert [item async for item in never_begun] == []
        reader = stream.subscribe()
        assert (await anext(reader)).data == "a"
        await reader.aclose()  # type: ignore[attr-defined]
        assert [item async for item in reader] == []
        # One that is left behind in mid-stream lets go, too.
        async for _ in stream.subscribe():
            break
        feed = lookup.feed_of(WorkflowSource(client, name))
        async with asyncio.timeout(SECONDS):
            while not feed.done:
                await asyncio.sleep(0.01)


@activity.defn
async def two_tries() -> None:
    async with WorkflowStreamClient.from_within_activity() as stream:
        topic = stream.topic("out", type=str)
        attempt = activity.info().attempt
        for i in range(2):
            await topic.send(f"try {attempt} {i}")
        if attempt == 1:
            raise ApplicationError("as told")


@workflow.defn
class Trier:
    @workflow.init
    def __init__(self) -> None:
        self.stream = WorkflowStream()

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity(
            two_tries,
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )
        self.stream.topic("own", type=str).publish("done")


async def test_a_retried_attempt_rewinds_those_only_who_stand_before_it(
    client: Client, unique: Any
) -> None:
    name = unique("attempt")
    async with worker(client, name, workflows=[Trier], activities=[two_tries]):
        handle = await client.start_workflow(Trier.run, id=name, task_queue=name)
        async with following(client, name) as live:
            await handle.result()
            lines = await live.end()
    rewind = ("rewind", [(0, 2)], "attempt", 2)
    assert lines == [
        *items("try 1 0", "try 1 1"),
        rewind,
        *items("try 2 0", "try 2 1", "done", start=2),
        ("end", "completed", 5),
    ]
    for start in (0, 1, 2):
        assert await story(client, name, from_offset=start) == lines[start:]
    # Who had come past it has undone it long ago.
    for start in (3, 4, 5, 6):
        assert await story(client, name, from_offset=start) == lines[min(start, 5) + 1 :]


async def test_a_batch_larger_than_the_ring_buffer_comes_whole_to_who_is_level(
    client: Client, unique: Any
) -> None:
    """Truncation behind a quick reader costs it nothing; who comes later finds what is kept."""
    name = unique("buffer")
    async with (
        hosting(client, name, HostInput(keep_last=3)) as handle,
        following(client, name) as live,
    ):
        await send(client, name, "first")
        await live.count(1)
        expected = items("first")
        for round_ in range(4):
            batch = [f"{round_} {i}" for i in range(10)]
            await handle.signal(Host.publish, batch)
            expected += items(*batch, start=len(expected))
            await live.count(len(expected))
        async with WorkflowStreamClient.create(client, name) as stream:
            for i in range(10):
                stream.topic("out", type=str).publish(f"out {i}")
        expected += items(*(f"out {i}" for i in range(10)), start=41)
        await handle.signal(Host.order, "finish")
        end = ("end", "completed", 51)
        assert await live.end() == [*expected, end]
    kept = [*expected[-3:], end]
    assert await story(client, name) == kept
    assert await story(client, name, from_offset=20) == [("gap", 20, 48, "truncated"), *kept]


async def test_a_slow_reader_of_a_ring_buffer_is_told_what_it_missed_and_a_quick_one_is_not(
    client: Client, unique: Any
) -> None:
    name = unique("buffer")
    async with hosting(client, name, HostInput(keep_last=4)) as handle:
        stream = WorkflowStreamClient.create(client, name)
        slow = aiter(stream.follow())
        async with following(client, name) as quick:
            first = asyncio.ensure_future(anext(slow))
            await send(client, name, "0")
            assert told(await first) == (0, "0")
            for i in range(1, 20):
                await send(client, name, f"{i}")
            await quick.count(20)
            gap = await anext(slow)
            assert gap == Gap(1, 16, "truncated")
            assert told(await anext(slow)) == (16, "16")
            # In the middle of what had come together, as well.
            await handle.signal(Host.publish, [f"{i}" for i in range(20, 30)])
            await quick.count(30)
            assert told(await anext(slow)) == ("gap", 17, 26, "truncated")
            await handle.signal(Host.order, "finish")
            every = items(*(f"{i}" for i in range(30)))
            assert await quick.end() == [*every, ("end", "completed", 30)]
            lines = [told(event) async for event in slow]
    assert lines == [*every[26:], ("end", "completed", 30)]


async def test_truncation_in_the_task_that_publishes_leaves_a_level_reader_its_items(
    client: Client, unique: Any
) -> None:
    name = unique("buffer")
    async with hosting(client, name) as handle, following(client, name) as live:
        await send(client, name, "a")
        await live.count(1)
        await handle.signal(Host.publish, ["b", "c", "d"])
        await handle.signal(Host.truncate, 3)
        await live.count(4)
        await send(client, name, "e")
        await handle.signal(Host.order, "finish")
        assert await live.end() == [*items("a", "b", "c", "d", "e"), ("end", "completed", 5)]


async def test_two_tasks_cannot_wait_for_one_reader(client: Client, unique: Any) -> None:
    name = unique("shared")
    async with hosting(client, name):
        reader = aiter(WorkflowStreamClient.create(client, name).subscribe())
        first = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            await anext(reader)
        await send(client, name, "a")
        item = await first
        assert isinstance(item, Item)
        assert item.data == "a"
