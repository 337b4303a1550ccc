"""What a reader is told, in a form that whole sequences are compared in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client, WorkflowHandle

from workflow_streams import End, Gap, Item, Rewind, WorkflowStreamClient
from workflow_streams.read.feeds.lookup import feed_of
from workflow_streams.read.runs.source import WorkflowSource

SECONDS = 100
Line = tuple[Any, ...]


def told(event: Item[Any] | Gap | Rewind | End) -> Line:
    """An item as (offset, data), anything else by its name and fields."""
    match event:
        case Item(offset=offset, data=data):
            return offset, data
        case Gap(start, end, reason):
            return "gap", start, end, reason
        case Rewind(ranges, reason, next_offset):
            return "rewind", [(r.start, r.stop) for r in ranges], reason, next_offset
        case End(outcome, offset):
            return "end", outcome, offset


def items(*values: str, start: int = 0) -> list[Line]:
    """Items with consecutive offsets."""
    return list(enumerate(values, start))


async def story(
    client: Client, workflow_id: str, run_id: str | None = None, **how: Any
) -> list[Line]:
    """Read a stream to its end, with a client that has read nothing yet."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    stream = WorkflowStreamClient(handle, client=client)
    async with asyncio.timeout(SECONDS):
        return [told(event) async for event in stream.follow(**how)]


class Follower:
    """A reader in the background.

    Attributes:
        lines: What it has been told.
    """

    def __init__(self, lines: AsyncIterator[Line]) -> None:
        self.lines: list[Line] = []
        self._changed = asyncio.Condition()
        self.task = asyncio.create_task(self._follow(lines))

    async def _follow(self, lines: AsyncIterator[Line]) -> None:
        async for line in lines:
            async with self._changed:
                self.lines.append(line)
                self._changed.notify_all()

    async def until(self, seen: Callable[[list[Line]], object]) -> None:
        """Wait until `seen(lines)`; fails with the reader."""

        async def wait() -> None:
            async with self._changed:
                await self._changed.wait_for(lambda: seen(self.lines))

        waiting = asyncio.create_task(wait())
        try:
            async with asyncio.timeout(SECONDS):
                await asyncio.wait({waiting, self.task}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                await self.task
                raise AssertionError(f"the reader has ended: {self.lines}")
        except TimeoutError as err:
            raise AssertionError(f"the reader has come no further than {self.lines}") from err
        finally:
            waiting.cancel()
            await asyncio.wait({waiting})

    async def count(self, lines: int) -> None:
        """Wait for so many lines."""
        await self.until(lambda told: len(told) >= lines)

    async def end(self) -> list[Line]:
        """Wait for the end; return all lines."""
        async with asyncio.timeout(SECONDS):
            await self.task
        return self.lines

    async def stop(self) -> None:
        """Stop reading."""
        self.task.cancel()
        await asyncio.wait({self.task})


@asynccontextmanager
async def following(
    client: Client, workflow_id: str, run_id: str | None = None, **how: Any
) -> AsyncIterator[Follower]:
    """Follow a stream while in the block."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    stream = WorkflowStreamClient(handle, client=client)
    follower = Follower(told(event) async for event in stream.follow(**how))
    try:
        yield follower
    finally:
        await follower.stop()


async def attached(
    client: Client, workflow_id: str, readers: int, run_id: str | None = None
) -> None:
    """Wait until that many readers of the stream know where they start."""
    feed = feed_of(WorkflowSource(client, workflow_id, run_id))
    async with asyncio.timeout(SECONDS):
        while len(feed._cursors) < readers:
            await asyncio.sleep(0.02)


async def send(client: Client, workflow_id: str, *values: str) -> list[int]:
    """Publish from outside on topic "out", one batch each; return the offsets."""
    stream = WorkflowStreamClient.create(client, workflow_id)
    return [await stream.topic("out", type=str).send(value) for value in values]


async def run_id_of(handle: WorkflowHandle[Any, Any]) -> str:
    """The current run."""
    return (await handle.describe()).run_id


async def next_run(handle: WorkflowHandle[Any, Any], after: str) -> str:
    """Wait until the current run is another one than `after`; return it."""
    async with asyncio.timeout(SECONDS):
        while (run_id := await run_id_of(handle)) == after:
            await asyncio.sleep(0.02)
    return run_id


async def roll_over(handle: WorkflowHandle[Any, Any]) -> str:
    """Have a Host continue as new; return the new run."""
    before = await run_id_of(handle)
    await handle.signal("order", "roll")
    return await next_run(handle, before)
