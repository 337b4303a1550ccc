"""Readers of one stream in memory: however they come, lag and leave, each sees all of it once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from workflow_streams import LATEST, End, Gap, Last, Rewind
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.positions import parse_position, position_at
from workflow_streams.log.publisher_ids import ActivityPublisher, Attempt
from workflow_streams.read.feeds import feed as feed_module
from workflow_streams.read.feeds.lookup import feed_of, feeds_reading
from workflow_streams.read.memory import MemoryStream
from workflow_streams.read.moments import Page
from workflow_streams.read.starts import Start
from workflow_streams.read.until import ToHead
from workflow_streams.read.walk import Slice, Step, Walk

from .messages import plain

SECONDS = 30.0


@pytest.fixture(autouse=True)
def small_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some ten items of these tests fill the ring."""
    monkeypatch.setattr(feed_module, "RING_BYTES", 5000)


class Writer:
    """Publishes numbers, each in a batch of its own or several together."""

    def __init__(self, stream: MemoryStream, publisher_id: str = "writer") -> None:
        self.stream = stream
        self._publisher_id = publisher_id
        self._sequence = 0

    async def write(self, *values: int) -> None:
        self._sequence += 1
        batch = batch_payload(plain("numbers", *values), self._publisher_id, self._sequence)
        await self.stream.deliver(batch)


def attempt(number: int) -> str:
    return ActivityPublisher("run", "activity", Attempt(1, number)).publisher_id("nonce")


def told(step: Step) -> list[Any]:
    """A step as the offsets and values of its items, or what else it is."""
    match step:
        case Slice(offset, entries):
            return list(enumerate([int(data) for _, _, data in entries], offset))
        case Gap(start, end, reason):
            return [("gap", start, end, reason)]
        case Rewind(ranges, reason, offset):
            return [("rewind", *ranges, reason, offset)]
        case End(outcome, offset):
            return [("end", outcome, offset)]


def position_after(step: Step) -> str:
    if isinstance(step, Slice):
        return position_at(step.offset + len(step.entries), step.tag)
    return step.position


async def walked(
    source: MemoryStream, start: Start = 0, until: int | ToHead | None = None
) -> list[Any]:
    """Walk from a start to the end, or until there."""
    walk, story = Walk(feed_of(source), start, until), list[Any]()
    async with asyncio.timeout(SECONDS), aclosing(walk.steps()) as steps:
        async for step in steps:
            story += told(step)
    return story


@pytest.mark.parametrize("seed", range(20))
async def test_readers_that_lag_and_resume_see_each_item_once_and_in_order(seed: int) -> None:
    dice = random.Random(seed)
    stream = MemoryStream()
    writer, count = Writer(stream), 300

    async def pause() -> None:
        for _ in range(dice.choice([0, 0, 1, 3, 30])):
            await asyncio.sleep(0)

    async def read(start: int) -> list[Any]:
        """Read to the end, going away now and then."""
        story: list[Any] = []
        while not story or story[-1][0] != "end":
            place = story[-1][0] + 1 if story else start
            walk = Walk(feed_of(stream), place)
            async with aclosing(walk.steps()) as steps:
                async for step in steps:
                    story += told(step)
                    await pause()
                    if dice.random() < 0.05:
                        break
        return story

    async def write() -> None:
        written = 0
        while written < count:
            size = min(dice.choice([1, 1, 2, 12]), count - written)
            await writer.write(*range(written, written + size))
            written += size
            await pause()
        stream.finish()

    starts = [0, 0, 0, *(dice.randrange(count) for _ in range(5))]
    async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
        readers = [group.create_task(read(start)) for start in starts]
        group.create_task(write())
    for start, reader in zip(starts, readers, strict=True):
        expected = [(i, i) for i in range(start, count)]
        assert reader.result() == [*expected, ("end", "completed", count)]


async def test_all_readers_share_one_reading_of_the_stream() -> None:
    readings = 0

    class Counting(MemoryStream):
        async def pages(self) -> AsyncGenerator[Page]:
            nonlocal readings
            readings += 1
            async with aclosing(super().pages()) as pages:
                async for page in pages:
                    yield page

    stream = Counting()
    writer = Writer(stream)
    await writer.write(0, 1)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(walked(stream, start)) for start in (0, 0, 1, LATEST, Last(1))]
        for _ in range(20):
            await asyncio.sleep(0)
        assert feeds_reading(stream) == 1
        await writer.write(2)
        stream.finish()
    end = ("end", "completed", 3)
    every = [(0, 0), (1, 1), (2, 2), end]
    stories = [task.result() for task in tasks]
    assert stories == [every, every, every[1:], every[2:], every[1:]]
    assert readings == 1


async def test_a_reader_that_falls_behind_reads_by_itself_until_it_meets_the_ring() -> None:
    stream = MemoryStream()
    writer = Writer(stream)
    await writer.write(0)
    slow, fast = Walk(feed_of(stream), 0), Walk(feed_of(stream), 0)
    async with asyncio.timeout(SECONDS), aclosing(slow.steps()) as late:
        story = told(await anext(late))
        async with aclosing(fast.steps()) as steps:
            assert told(await anext(steps)) == [(0, 0)]
            for value in range(1, 50):
                await writer.write(value)
                assert told(await anext(steps)) == [(value, value)]
            assert (fast.feed.floor or 0) > 30
            for _ in range(49):
                story += told(await anext(late))
        for value in (50, 51):
            await writer.write(value)
            story += told(await anext(late))
        # It takes moments from the ring again.
        assert slow.level
    assert story == [(i, i) for i in range(52)]


async def test_what_is_truncated_is_a_gap_for_those_that_have_not_had_it() -> None:
    stream = MemoryStream()
    writer = Writer(stream)
    await writer.write(*range(4))
    walk = Walk(feed_of(stream), 0)
    async with asyncio.timeout(SECONDS), aclosing(walk.steps()) as steps:
        assert told(await anext(steps)) == [(i, i) for i in range(4)]
        for value in range(4, 60):
            await writer.write(value)
        stream.truncate(55)
        stream.finish()
        rest = [*((i, i) for i in range(55, 60)), ("end", "completed", 60)]
        # With a second reader, the feed does not wait for the first one.
        assert await walked(stream) == rest
        story = [line async for step in steps for line in told(step)]
    assert story == [("gap", 4, 55, "truncated"), *rest]
    assert await walked(stream, 10) == [("gap", 10, 55, "truncated"), *rest]


@pytest.mark.parametrize("start", [0, 1, 2, 3])
async def test_a_retried_attempt_is_a_rewind_for_those_that_are_not_past_it(start: int) -> None:
    stream = MemoryStream()
    first, second = Writer(stream, attempt(1)), Writer(stream, attempt(2))
    await first.write(0, 1)
    await second.write(2)
    await first.write(3)  # it is fenced
    await second.write(4)
    stream.finish()
    every: list[Any] = [(0, 0), (1, 1), ("rewind", range(2), "attempt", 2), (2, 2), (3, 4)]
    seen = every[start:] if start < 3 else every[4:]
    assert await walked(stream, start) == [*seen, ("end", "completed", 4)]


@pytest.mark.parametrize("until", [0, 3, 5, 8])
async def test_a_reader_stops_before_an_offset_or_at_what_stands_there_now(until: int) -> None:
    stream = MemoryStream()
    writer = Writer(stream)
    await writer.write(*range(5))
    here = [(i, i) for i in range(5)]
    assert await walked(stream, until=ToHead()) == here
    reading = asyncio.create_task(walked(stream, until=until))
    for _ in range(20):
        await asyncio.sleep(0)
    await writer.write(*range(5, 10))
    assert await reading == [(i, i) for i in range(until)]


async def test_a_reader_resumes_at_its_position() -> None:
    stream = MemoryStream()
    first, second = Writer(stream, attempt(1)), Writer(stream, attempt(2))
    await first.write(0)
    await second.write(1)
    await second.write(2)
    stream.finish()
    every: list[Any] = [
        (0, 0), ("rewind", range(1), "attempt", 1), (1, 1), (2, 2), ("end", "completed", 3)
    ]  # fmt: skip
    assert await walked(stream) == every
    for had in range(len(every)):
        start: Start = 0
        story = list[Any]()
        async with aclosing(Walk(feed_of(stream), 0).steps()) as steps:
            for _ in range(had):
                step = await anext(steps)
                story += told(step)
                start = parse_position(position_after(step))
        assert story + await walked(stream, start) == every, start


async def test_what_cannot_be_read_is_told_to_all_after_what_comes_before_it() -> None:
    class Torn(MemoryStream):
        async def pages(self) -> AsyncGenerator[Page]:
            async with aclosing(super().pages()) as pages:
                yield await anext(pages)
            raise OSError("torn")

    stream = Torn()
    await Writer(stream).write(0, 1)
    for _ in range(3):
        walk, story = Walk(feed_of(stream), 0), list[Any]()
        with pytest.raises(OSError, match="torn"):
            async for step in walk.steps():
                story += told(step)
        assert story == [(0, 0), (1, 1)]
