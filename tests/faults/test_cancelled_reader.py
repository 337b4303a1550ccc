"""A reader that is cancelled anywhere goes on where it was, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from math import inf
from typing import Any

import pytest
from temporalio.client import Client

from tests.read.contrib_hosts import ContribHost, ContribInput
from tests.read.hosts import worker
from tests.read.story import next_run, run_id_of
from workflow_streams import End, Item, Last, WorkflowStreamClient
from workflow_streams.read.feeds.feed import Feed
from workflow_streams.read.feeds.lookup import feed_of
from workflow_streams.read.runs.chain import Chain
from workflow_streams.read.runs.source import WorkflowSource

from .cancelling import Cut, cancelled, everywhere
from .hosts import Host, hosting

LIVE = 2
Hosted = Callable[[Client, str], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def rolled_over(client: Client, name: str) -> AsyncIterator[str]:
    """A stream with three items in an earlier run and three in the present one."""
    async with hosting(client, name) as workflow_id:
        topic = WorkflowStreamClient.create(client, workflow_id).topic("t")
        handle = client.get_workflow_handle(workflow_id)
        for value in range(3):
            await topic.send(value)
        first = (await handle.describe()).run_id
        await handle.signal(Host.roll)
        while (await handle.describe()).run_id == first:
            await asyncio.sleep(0.01)
        for value in range(3, 6):
            await topic.send(value)
        yield workflow_id


@asynccontextmanager
async def polled(client: Client, name: str) -> AsyncIterator[str]:
    """The same on a stream that the contrib hosts."""
    async with worker(client, name, workflows=[ContribHost]):
        await client.start_workflow(ContribHost.run, ContribInput(), id=name, task_queue=name)
        handle = client.get_workflow_handle(name)
        stream = WorkflowStreamClient.create(client, name)
        for values in (range(3), range(3, 6)):
            for value in values:
                stream.topic("t").publish(value)
            await stream.flush()
            if 0 in values:
                first = await run_id_of(handle)
                await handle.signal(ContribHost.order, "roll")
                await next_run(handle, first)
        yield name


class Watching:
    """A reader on a connection, and so with a feed, of its own."""

    def __init__(self, client: Client, workflow_id: str, start: int | Last) -> None:
        self._client = client
        self._workflow_id = workflow_id
        self.items = WorkflowStreamClient.create(client, workflow_id).subscribe(from_offset=start)
        self.seen: list[tuple[int, Any]] = []

    async def read(self, count: int) -> None:
        while len(self.seen) < count:
            item = await anext(self.items)
            self.seen.append((item.offset, item.data))

    @property
    def feed(self) -> Feed:
        return feed_of(WorkflowSource(self._client, self._workflow_id))


async def watching(client: Client, workflow_id: str, start: int | Last) -> Watching:
    fresh = await Client.connect(client.service_client.config.target_host)
    return Watching(fresh, workflow_id, start)


@pytest.mark.parametrize(
    ("hosted", "start"),
    [(rolled_over, 0), (rolled_over, 4), (rolled_over, Last(2)), (polled, 0), (polled, 4)],
)
async def test_reader_that_was_cancelled_goes_on_where_it_was(
    client: Client, unique: Any, hosted: Hosted, start: int | Last
) -> None:
    async with hosted(client, unique("host")) as workflow_id:
        writer = WorkflowStreamClient.create(client, workflow_id)
        head = 6

        async def run(cut: Cut) -> bool:
            nonlocal head
            reader = await watching(client, workflow_id, start)
            first = head - start.n if isinstance(start, Last) else start
            expected = [(offset, offset) for offset in range(first, head + LIVE)]
            standing = head - first

            async def feed() -> None:
                while len(reader.seen) < standing:
                    await asyncio.sleep(0.001)
                for value in range(head, head + LIVE):
                    writer.topic("t").publish(value)
                await writer.flush()

            feeding = asyncio.create_task(feed())
            was_cancelled = await cancelled(cut, lambda: reader.read(len(expected)))
            await reader.read(len(expected))
            await feeding
            assert reader.seen == expected, cut
            head += LIVE
            await reader.items.aclose()
            assert reader.feed._users == 0
            assert reader.feed._cursors == set()
            return was_cancelled

        cuts = await everywhere(run)
        assert len([cut for cut in cuts if cut.how == "waiting"]) >= 2


class Polling:
    """Polls in the task that asks it to, as who reads apart from the others does."""

    def __init__(self, client: Client, workflow_id: str, run_id: str) -> None:
        self._stream = client, workflow_id, run_id
        self.seen: list[tuple[int, int]] = []
        self.ends: list[tuple[str, int]] = []

    async def read(self, count: float = inf) -> None:
        """Go on until that many items have come, or the end."""
        async with aclosing(Chain(*self._stream, offset=len(self.seen)).pages()) as pages:
            async for page in pages:
                for moment in page.moments:
                    if (chunk := moment.chunk) is not None:
                        data = [data for _, _, data in chunk.entries]
                        self.seen.extend(enumerate(map(int, data), chunk.offset))
                    if (end := moment.end) is not None:
                        self.ends.append((end.outcome, end.offset))
                if len(self.seen) >= count:
                    return


async def test_polling_that_is_cancelled_goes_on_from_the_page_before(
    client: Client, unique: Any
) -> None:
    async with polled(client, unique("host")) as workflow_id:
        writer = WorkflowStreamClient.create(client, workflow_id)
        run_id = await run_id_of(client.get_workflow_handle(workflow_id))
        head = 6

        async def run(cut: Cut) -> bool:
            nonlocal head
            polling = Polling(client, workflow_id, run_id)

            async def feed() -> None:
                while len(polling.seen) < head:
                    await asyncio.sleep(0.001)
                writer.topic("t").publish(head)
                await writer.flush()

            feeding = asyncio.create_task(feed())
            was_cancelled = await cancelled(cut, lambda: polling.read(head + 1))
            if len(polling.seen) <= head:
                await polling.read(head + 1)
            await feeding
            head += 1
            assert polling.seen == [(offset, offset) for offset in range(head)], cut
            return was_cancelled

        cuts = await everywhere(run)
        assert len([cut for cut in cuts if cut.how == "waiting"]) >= 5


async def test_polling_an_ended_stream_can_be_cancelled(client: Client, unique: Any) -> None:
    async with polled(client, unique("host")) as workflow_id:
        handle = client.get_workflow_handle(workflow_id)
        run_id = await run_id_of(handle)
        await handle.signal(ContribHost.order, "finish")
        await handle.result()

        async def run(cut: Cut) -> bool:
            polling = Polling(client, workflow_id, run_id)
            was_cancelled = await cancelled(cut, polling.read)
            if not polling.ends:
                await polling.read()
            assert polling.seen == [(offset, offset) for offset in range(6)], cut
            assert polling.ends == [("completed", 6)], cut
            return was_cancelled

        cuts = await everywhere(run)
        assert len([cut for cut in cuts if cut.how == "waiting"]) >= 3


async def test_cancelled_again_and_again_it_still_sees_everything_once(
    client: Client, unique: Any
) -> None:
    async with rolled_over(client, unique("host")) as workflow_id:
        near = WorkflowStreamClient.create(client, workflow_id)
        events = near.follow()
        seen: list[Any] = []
        patience = 0.002

        async def write() -> None:
            for value in range(6, 40):
                await near.topic("t").send(value)
            await client.get_workflow_handle(workflow_id).signal(Host.close)

        writing = asyncio.create_task(write())
        async with asyncio.timeout(100):
            while not any(isinstance(event, End) for event in seen):
                try:
                    async with asyncio.timeout(patience):
                        seen.append(await anext(events))
                    patience = 0.002
                except TimeoutError:
                    # The way to the next event may take longer than that.
                    patience *= 1.1
        await writing
        assert [(e.offset, e.data) for e in seen if isinstance(e, Item)] == [
            (value, value) for value in range(40)
        ]
        assert len(seen) == 41
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_closing_after_a_cancellation_anywhere_ends_the_subscription(
    client: Client, unique: Any
) -> None:
    async with rolled_over(client, unique("host")) as workflow_id:

        async def run(cut: Cut) -> bool:
            reader = await watching(client, workflow_id, 1)
            was_cancelled = await cancelled(cut, lambda: reader.read(5))
            await reader.items.aclose()
            await reader.items.aclose()
            assert reader.feed._users == 0
            with pytest.raises(StopAsyncIteration):
                await anext(reader.items)
            return was_cancelled

        await everywhere(run)


async def test_closing_can_be_cancelled(client: Client, unique: Any) -> None:
    async with rolled_over(client, unique("host")) as workflow_id:
        reader = await watching(client, workflow_id, 1)
        await reader.read(2)
        closing = asyncio.create_task(reader.items.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await reader.items.aclose()
        assert reader.feed._users == 0


async def test_leaving_the_loop_early_holds_no_feed_once_closed(
    client: Client, unique: Any
) -> None:
    async with rolled_over(client, unique("host")) as workflow_id:
        for start in (0, 4):
            reader = await watching(client, workflow_id, start)
            async for _ in reader.items:
                break
            await reader.items.aclose()
            assert reader.feed._users == 0
