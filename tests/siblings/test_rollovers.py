"""Everything comes once and in order while the host continues as new again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from temporalio.client import Client

from tests.read.story import Follower, Line, roll_over
from workflow_streams import WorkflowStreamClient

from .hosts import Hosting
from .processes import Sibling
from .reading import following, items

ROLLS = 4
BATCH = 3
# A host can only roll over in a workflow task during which no signal comes.
PAUSE_SECONDS = 0.05


async def publish(
    topic: str,
    put: Callable[[str, str], object],
    flush: Callable[[], Awaitable[None]],
    enough: asyncio.Event,
) -> list[str]:
    """Publish, batch by batch, until there is enough; return what."""
    values: list[str] = []
    while not enough.is_set():
        for _ in range(BATCH):
            values.append(f"{topic} {len(values)}")
            put(topic, values[-1])
        await flush()
        await asyncio.sleep(PAUSE_SECONDS)
    return values


async def more(reader: Follower) -> None:
    """Wait until a reader has read on."""
    await reader.count(len(reader.lines) + 5)


async def test_nothing_is_lost_or_double_with_publishers_at_work(
    client: Client, sibling: Sibling, hosts: Hosting, unique: Any
) -> None:
    name = unique("roll")
    enough = asyncio.Event()
    async with hosts(name) as handle, AsyncExitStack() as stack:
        mine = await stack.enter_async_context(following(client, name))
        other = await stack.enter_async_context(sibling.following(name))
        ours = await stack.enter_async_context(WorkflowStreamClient.create(client, name))

        def put_ours(topic: str, value: str) -> None:
            ours.topic(topic).publish(value)

        theirs = await stack.enter_async_context(sibling.publishing(name))
        async with asyncio.TaskGroup() as group:
            publishing = [
                group.create_task(publish("ours", put_ours, ours.flush, enough)),
                group.create_task(publish("theirs", theirs.publish, theirs.flush, enough)),
            ]
            for _ in range(ROLLS):
                await asyncio.gather(more(mine), more(other))
                await roll_over(handle)
            # The sibling's reader does not notice the end of a run that it has never polled.
            await asyncio.gather(more(mine), more(other))
            enough.set()
        values = [task.result() for task in publishing]
        head = sum(len(of_one) for of_one in values)
        await asyncio.gather(mine.count(head), other.count(head))
        await handle.signal("order", "finish")
        lines = await mine.end()
        assert lines.pop() == ("end", "completed", head)
        assert await other.end() == [*lines, ("ended",)]
    assert [offset for offset, _, _ in lines] == list(range(head))
    for topic, of_one in zip(("ours", "theirs"), values, strict=True):
        assert [data for _, of, data in lines if of == topic] == of_one


async def test_a_megabyte_right_before_a_rollover_reaches_all_who_were_reading(
    client: Client, sibling: Sibling, hosts: Hosting, unique: Any
) -> None:
    name = unique("burst")
    bursts = [[f"{burst} {i} {'x' * 33_000}" for i in range(10)] for burst in range(3)]
    values = ["first", *(value for burst in bursts for value in burst), "last"]
    async with hosts(name) as handle, AsyncExitStack() as stack:
        mine = await stack.enter_async_context(following(client, name))
        other = await stack.enter_async_context(sibling.following(name))
        await handle.signal("publish", values[:1])
        await asyncio.gather(mine.count(1), other.count(1))
        for burst in bursts:
            await handle.signal("publish", burst)
        await roll_over(handle)
        await handle.signal("publish", values[-1:])
        await asyncio.gather(*(reader.until(has_read_last) for reader in (mine, other)))
        await handle.signal("order", "finish")
        expected = items("own", *values)
        end = ("end", "completed", len(values))
        assert brief(await mine.end()) == [*brief(expected), end]
        assert brief(await other.end()) == [*brief(expected), ("ended",)]


def has_read_last(lines: list[Line]) -> bool:
    return bool(lines) and lines[-1][-1] == "last"


def brief(lines: list[Line]) -> list[Line]:
    """Lines with long values cut, for messages that can be read."""
    return [
        tuple(f"{part[:4]}, {len(part)} in all" if len(str(part)) > 100 else part for part in line)
        for line in lines
    ]
