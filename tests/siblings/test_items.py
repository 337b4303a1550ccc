"""What either side publishes is the same to both, at either host."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from temporalio.client import Client

from workflow_streams import WorkflowStreamClient

from .hosts import Hosting
from .processes import Sibling
from .reading import following, items

VALUES = [
    "", "text", "Grüße, 世界 \U0001f30d", 'quotes " and \\', "line\nbreak",
    0, -1, 2**53 - 1, 1.5, True, False, None, [], [1, ["two", None]], {},
    {"nested": {"list": [1, 2]}, "ü": None}, b"", b"\x00\xff binary", bytes(range(256)),
]  # fmt: skip


async def test_values_of_every_kind_have_the_same_topics_and_offsets_everywhere(
    client: Client, sibling: Sibling, hosts: Hosting, unique: Any
) -> None:
    name = unique("items")
    size = len(VALUES)
    async with hosts(name) as handle, AsyncExitStack() as stack:
        live = [
            await stack.enter_async_context(following(client, name)),
            await stack.enter_async_context(sibling.following(name)),
        ]
        theirs = await stack.enter_async_context(sibling.publishing(name))
        ours = await stack.enter_async_context(WorkflowStreamClient.create(client, name))
        for value in VALUES:
            theirs.publish("theirs", value)
        await theirs.flush()
        for value in VALUES:
            ours.topic("ours").publish(value)
        await ours.flush()
        await handle.signal("publish", ["own", "öwn"])
        expected = [
            *items("theirs", *VALUES),
            *items("ours", *VALUES, start=size),
            *items("own", "own", "öwn", start=2 * size),
        ]
        for reader in live:
            await reader.count(len(expected))
        assert await ours.get_offset() == len(expected)
        late = [
            await stack.enter_async_context(following(client, name, from_offset=size + 1)),
            await stack.enter_async_context(sibling.following(name, size + 1)),
        ]
        some = [
            await stack.enter_async_context(following(client, name, topics=["own", "ours"])),
            await stack.enter_async_context(sibling.following(name, 0, "own", "ours")),
        ]
        for readers, first in ((late, size + 1), (some, size)):
            for reader in readers:
                await reader.count(len(expected) - first)
        await handle.signal("order", "finish")
        for readers, first in ((live, 0), (late, size + 1), (some, size)):
            mine, other = [await reader.end() for reader in readers]
            assert mine == [*expected[first:], ("end", "completed", len(expected))]
            assert other == [*expected[first:], ("ended",)]


async def test_batches_come_whole_and_in_order_whatever_flushes_them(
    client: Client, sibling: Sibling, hosts: Hosting, unique: Any
) -> None:
    """By an order, by size, by force, and at the end."""
    name = unique("items")
    async with hosts(name) as handle, AsyncExitStack() as stack:
        live = [
            await stack.enter_async_context(following(client, name)),
            await stack.enter_async_context(sibling.following(name)),
        ]
        theirs = await stack.enter_async_context(sibling.publishing(name))
        ours = WorkflowStreamClient.create(client, name)
        values: list[str] = []

        def publish(count: int, **how: Any) -> None:
            for _ in range(count):
                values.append(f"v{len(values)}")
                theirs.publish("out", values[-1], **how)

        publish(1)
        await theirs.flush()
        publish(3)
        await live[0].count(4)
        publish(1, force=True)
        await live[0].count(5)
        async with ours:
            for _ in range(3):
                values.append(f"v{len(values)}")
                ours.topic("out").publish(values[-1])
        publish(2)
        await theirs.leave()
        for reader in live:
            await reader.count(len(values))
        await handle.signal("order", "finish")
        assert await live[0].end() == [*items("out", *values), ("end", "completed", 10)]
        assert await live[1].end() == [*items("out", *values), ("ended",)]
