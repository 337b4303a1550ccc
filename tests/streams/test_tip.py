"""The head is found however much has to be read to know it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any, cast

from temporalio.client import Client

from tests.faults.hosts import hosting
from workflow_streams import Last, WorkflowStreamClient
from workflow_streams.read.feeds.feed import RING_BYTES

ITEM_BYTES = 10_000
# Twice what a feed keeps.
ITEMS = 2 * RING_BYTES // ITEM_BYTES


async def test_head_and_last_items_of_a_large_stream_are_found(
    stream_server: Any, client: Client, unique: Callable[[str], str]
) -> None:
    async with hosting(client, unique("large")) as workflow_id:
        async with WorkflowStreamClient.create(client, workflow_id) as stream:
            topic = stream.topic("n")
            for n in range(ITEMS):
                topic.publish(f"{n}".ljust(ITEM_BYTES))

        async def fresh() -> WorkflowStreamClient:
            """A connection of its own has to read the stream by itself."""
            return WorkflowStreamClient.create(await stream_server.connect(), workflow_id)

        assert await (await fresh()).get_offset() == ITEMS
        for back in (3, ITEMS - 5):
            reader = await fresh()
            got: list[int] = []
            async with aclosing(cast("Any", reader.subscribe(from_offset=Last(back)))) as items:
                async for item in items:
                    got.append(item.offset)
                    if item.offset == ITEMS - 1:
                        break
            assert got == list(range(ITEMS - back, ITEMS))
