"""One reader of each stream's history in a process, whoever follows it, however slowly."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
from contextlib import AsyncExitStack
from typing import Any

import psutil
import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.converter import DataConverter, PayloadCodec

from workflow_streams import LATEST, Last, WorkflowStreamClient, errors
from workflow_streams.log import wire
from workflow_streams.read.feeds import feed as feed_module
from workflow_streams.read.feeds import lookup
from workflow_streams.read.runs.source import WorkflowSource

from .counting import HistoryReads
from .hosts import Host, hosting
from .story import SECONDS, Line, following, items, roll_over, send, story, told


@pytest.fixture
def reads() -> HistoryReads:
    return HistoryReads()


@pytest.fixture
async def reading(stream_server: Any, reads: HistoryReads) -> Client:
    """A connection of its own, whose reads of history are counted."""
    return await stream_server.connect(interceptors=[reads])


async def test_many_readers_share_one_read_of_the_history(
    client: Client, reading: Client, reads: HistoryReads, unique: Any
) -> None:
    name = unique("hub")
    starts: list[Any] = [0, 0, 2, LATEST, Last(1)]
    async with hosting(client, name) as handle, AsyncExitStack() as stack:
        await send(client, name, "a", "b")
        readers = [
            await stack.enter_async_context(following(reading, name, from_offset=starts[i % 5]))
            for i in range(40)
        ]
        await asyncio.gather(*(reader.count(2) for i, reader in enumerate(readers) if i % 5 < 2))
        await send(client, name, "c")
        await asyncio.gather(*(reader.until(lambda lines: lines) for reader in readers[:3]))
        await roll_over(handle)
        await send(client, name, "d", "e")
        await handle.signal(Host.order, "finish")
        stories = [await reader.end() for reader in readers]
    every = [*items("a", "b", "c", "d", "e"), ("end", "completed", 5)]
    for i, lines in enumerate(stories):
        # Who began near the end may have begun later than the others, at what was the end then.
        assert lines == (every[-len(lines) :] if i % 5 > 2 else every[[0, 0, 2][i % 5] :])
    assert reads.most == 1
    # The runs' histories have about 40 events; each came once, not 40 times.
    assert reads.calls < 60


async def test_a_slow_reader_costs_the_others_nothing_and_catches_up_by_itself(
    client: Client,
    reading: Client,
    reads: HistoryReads,
    unique: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "RING_BYTES", 3000)
    name = unique("hub")
    async with hosting(client, name) as handle, AsyncExitStack() as stack:
        await send(client, name, "0")
        slow = aiter(WorkflowStreamClient.create(reading, name).follow())
        lines = [told(await anext(slow))]
        fast = [await stack.enter_async_context(following(reading, name)) for _ in range(3)]
        for i in range(1, 60):
            await handle.signal(Host.publish, [f"{i}"])
            await asyncio.gather(*(reader.count(i + 1) for reader in fast))
            if i == 30:
                await roll_over(handle)
        # None of the fast ones has waited for the slow one, which reads nothing.
        assert reads.most == 1
        lines += [told(await anext(slow)) for _ in range(59)]
        assert reads.most == 2
        # It has met the ring again, and leaves the reading to the feed.
        reads.forget()
        following_on = asyncio.ensure_future(anext(slow))
        await send(client, name, "60")
        lines.append(told(await following_on))
        assert reads.most == 1
        await handle.signal(Host.order, "finish")
        lines += [told(event) async for event in slow]
        expected = [*items(*(f"{i}" for i in range(61))), ("end", "completed", 61)]
        assert lines == expected
        for reader in fast:
            assert await reader.end() == expected


async def test_an_idle_feed_stops_and_reading_begins_anew_for_the_next_reader(
    client: Client,
    reading: Client,
    reads: HistoryReads,
    unique: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0.1)
    name = unique("hub")
    async with hosting(client, name) as handle:
        await send(client, name, "a")
        async with following(reading, name) as first:
            await first.count(1)
        feed = lookup.feed_of(WorkflowSource(reading, name))
        async with asyncio.timeout(SECONDS):
            while not feed.done or reads.active:
                await asyncio.sleep(0.01)
        assert lookup.feed_of(WorkflowSource(reading, name)) is not feed
        calls = reads.calls
        await send(client, name, "b")
        assert reads.calls == calls
        async with following(reading, name) as second:
            await second.count(2)
            assert second.lines == items("a", "b")
            # Within the pause it is the same feed.
            feed = lookup.feed_of(WorkflowSource(reading, name))
        async with following(reading, name) as third:
            await third.count(2)
            assert lookup.feed_of(WorkflowSource(reading, name)) is feed
            await handle.signal(Host.order, "finish")
            assert await third.end() == [*items("a", "b"), ("end", "completed", 2)]


async def test_readers_that_come_while_a_feed_stops_find_one_that_runs(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0)
    name = unique("hub")
    dice = random.Random(7)
    async with hosting(client, name) as handle:
        await send(client, name, "a", "b")

        async def come_and_go() -> None:
            for _ in range(15):
                reader = aiter(WorkflowStreamClient.create(client, name).subscribe())
                assert [(await anext(reader)).data for _ in range(2)] == ["a", "b"]
                await reader.aclose()  # type: ignore[attr-defined]
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)

        async with asyncio.timeout(SECONDS), asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(come_and_go())
        await handle.signal(Host.order, "finish")
        assert await story(client, name) == [*items("a", "b"), ("end", "completed", 2)]


async def test_readers_on_other_event_loops_have_feeds_of_their_own(
    client: Client, unique: Any
) -> None:
    name = unique("hub")
    stories: list[list[Line]] = []
    begun = threading.Semaphore(0)

    async def read() -> list[Line]:
        lines: list[Line] = []
        async for event in WorkflowStreamClient.create(client, name).follow():
            lines.append(told(event))
            begun.release()
        return lines

    async def both() -> None:
        stories.extend(await asyncio.gather(read(), read()))

    threads = [threading.Thread(target=lambda: asyncio.run(both())) for _ in range(3)]
    async with hosting(client, name) as handle:
        await send(client, name, "a")
        for thread in threads:
            thread.start()
        async with following(client, name) as here:
            for _ in range(6):
                assert await asyncio.to_thread(begun.acquire, timeout=SECONDS)
            await send(client, name, "b", "c")
            await handle.signal(Host.order, "finish")
            expected = [*items("a", "b", "c"), ("end", "completed", 3)]
            assert await here.end() == expected
        for thread in threads:
            await asyncio.to_thread(thread.join, SECONDS)
    assert stories == [expected] * 6
    feeds = feed_module.registry.all_of(client.service_client)
    assert not [feed for feed in feeds if feed.workflow_id == name], "of loops that are closed"


class Refusing(PayloadCodec):
    """Encodes nothing, and fails on what is marked."""

    async def encode(self, payloads: Any) -> list[Payload]:
        return list(payloads)

    async def decode(self, payloads: Any) -> list[Payload]:
        if any("refuse" in payload.metadata for payload in payloads):
            raise ValueError("as told")
        return list(payloads)


async def test_what_cannot_be_read_is_told_to_all_readers_after_all_that_comes_before_it(
    client: Client, stream_server: Any, unique: Any
) -> None:
    """The workflow cannot take it either: its worker fails the task, so nothing may follow."""
    name = unique("hub")
    converter = DataConverter(payload_codec=Refusing())
    coded = await stream_server.connect(data_converter=converter)
    bad = Payload(metadata={"encoding": b"json/plain", "refuse": b"1"}, data=b"{}")
    async with hosting(client, name) as handle, AsyncExitStack() as stack:
        await send(client, name, "a", "b")
        waiting = [await stack.enter_async_context(following(coded, name)) for _ in range(3)]
        await asyncio.gather(*(reader.count(2) for reader in waiting))
        await handle.signal(wire.PUBLISH_SIGNAL, RawValue(bad))
        await send(client, name, "c")
        later = [await stack.enter_async_context(following(coded, name)) for _ in range(2)]
        for reader in (*waiting, *later):
            with pytest.raises(errors.CodecError, match="as told") as raised:
                await reader.end()
            assert reader.lines == items("a", "b")
            assert any("offset 2" in note for note in raised.value.__notes__)
        # What failed once fails at the same place again, and goes on when that is mended.
        reader_ = aiter(WorkflowStreamClient.create(coded, name).subscribe(from_offset=1))
        assert (await anext(reader_)).data == "b"
        for _ in range(2):
            with pytest.raises(errors.CodecError):
                await anext(reader_)
        with pytest.MonkeyPatch.context() as mended:
            mended.setattr(Refusing, "decode", Refusing.encode)
            # The signal holds no batch: no offset is used for it.
            item = await anext(reader_)
            assert (item.offset, item.data) == (2, "c")


READER = """
import asyncio, sys
from temporalio.client import Client
from workflow_streams import WorkflowStreamClient

async def main(address, name, count):
    client = await Client.connect(address)
    reader = aiter(WorkflowStreamClient.create(client, name).subscribe())
    item = await anext(reader)
    print(item.offset, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    async for item in reader:
        if item.offset % 20 == 0:
            await asyncio.sleep(0.01)
        if item.offset == count - 1:
            print(item.offset, flush=True)
            await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_a_stalled_reader_holds_little_of_a_long_stream(
    client: Client, stream_server: Any, unique: Any
) -> None:
    """Some 70 MB come while it stands still; it holds a ring, and a page while it unpacks it."""
    name = unique("hub")
    batch, batches = ["x" * 30_000] * 10, 120
    count = 1 + batches * len(batch)
    async with hosting(client, name) as handle:
        await send(client, name, "first")
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-c", READER, stream_server.address, name, str(count)],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # One pool for all threads, so that what is free is not counted for each.
            env=os.environ | {"MALLOC_ARENA_MAX": "1"},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(3 * SECONDS):
                assert await process.stdout.readline() == b"0\n"
                before = psutil.Process(process.pid).memory_info().rss
                async with WorkflowStreamClient.create(client, name) as stream:
                    for i in range(batches):
                        for value in batch:
                            stream.topic("out", type=str).publish(value)
                        await stream.flush()
                        if i % 60 == 59:
                            await roll_over(handle)
                stalled = psutil.Process(process.pid).memory_info().rss
                process.stdin.write(b"\n")
                assert await process.stdout.readline() == b"%d\n" % (count - 1)
                after = psutil.Process(process.pid).memory_info().rss
            assert max(stalled, after) - before < 48 * 2**20
        finally:
            process.kill()
            await process.wait()
