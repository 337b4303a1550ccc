"""A reader in the background, and what has come to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from workflow_streams import End, Gap, Item, Rewind, WorkflowStreamClient

SECONDS = 100


class Reader:
    """Follows a stream from its start to its end.

    Attributes:
        events: All that has come.
    """

    def __init__(self) -> None:
        self.events: list[Item[Any] | Gap | Rewind | End] = []
        self._changed = asyncio.Condition()

    @property
    def items(self) -> list[tuple[int, Any]]:
        """Offset and data of each item, in the order in which they came."""
        return [(e.offset, e.data) for e in self.events if isinstance(e, Item)]

    async def follow(self, stream: WorkflowStreamClient, **how: Any) -> None:
        async for event in stream.follow(**how):
            async with self._changed:
                self.events.append(event)
                self._changed.notify_all()

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait until what has come makes `seen()` true."""
        async with asyncio.timeout(SECONDS), self._changed:
            await self._changed.wait_for(seen)

    async def count(self, items: int) -> None:
        """Wait until that many items have come."""
        await self.until(lambda: len(self.items) >= items)


@asynccontextmanager
async def reading(stream: WorkflowStreamClient, **how: Any) -> AsyncIterator[Reader]:
    """Follow a stream; leaving waits until it has come to its end."""
    reader = Reader()
    task = asyncio.create_task(reader.follow(stream, **how))
    try:
        yield reader
        await asyncio.wait_for(task, SECONDS)
    finally:
        task.cancel()
        await asyncio.wait([task])
