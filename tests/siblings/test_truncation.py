"""Where a host has dropped items, our readers are told of the gap, and the sibling's go on."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from temporalio.client import Client

from tests.read.hosts import HostInput, hosting

from .hosts import Hosting, done
from .processes import Sibling
from .reading import following, items

VALUES = [f"v{i}" for i in range(10)]


async def test_readers_go_on_at_the_base_wherever_they_asked_to_start(
    client: Client, sibling: Sibling, hosts: Hosting, unique: Any
) -> None:
    name = unique("truncated")
    kept = items("own", *VALUES[4:], start=4)
    async with hosts(name) as handle, AsyncExitStack() as stack:
        await handle.signal("publish", VALUES)
        await handle.signal("truncate", 4)
        await done(handle)
        starts = (0, 2, 4, 7)
        ours = [
            await stack.enter_async_context(following(client, name, from_offset=start))
            for start in starts
        ]
        theirs = [
            await stack.enter_async_context(sibling.following(name, start)) for start in starts
        ]
        for reader in (*ours, *theirs):
            await reader.until(lambda lines: kept[-1] in lines)
        await handle.signal("order", "finish")
        for start, mine, other in zip(starts, ours, theirs, strict=True):
            gap = [("gap", 2, 4, "truncated")] if start == 2 else []
            left = kept[max(0, start - 4) :]
            assert await mine.end() == [*gap, *left, ("end", "completed", 10)]
            assert await other.end() == [*left, ("ended",)]


async def test_readers_that_are_level_with_the_stream_do_not_notice(
    client: Client, sibling: Sibling, hosts: Hosting, unique: Any
) -> None:
    name = unique("truncated")
    async with (
        hosts(name) as handle,
        following(client, name) as mine,
        following(client, name, from_offset=5) as ahead,
        sibling.following(name) as other,
    ):
        for at in (0, 5):
            await handle.signal("publish", VALUES[at : at + 5])
            await asyncio.gather(mine.count(at + 5), other.count(at + 5))
            await handle.signal("truncate", at + 5)
        await ahead.count(5)
        await handle.signal("order", "finish")
        assert await mine.end() == [*items("own", *VALUES), ("end", "completed", 10)]
        assert await ahead.end() == mine.lines[5:]
        assert await other.end() == [*items("own", *VALUES), ("ended",)]


async def test_a_ring_buffer_of_ours_is_to_the_sibling_a_stream_that_begins_later(
    client: Client, sibling: Sibling, unique: Any
) -> None:
    name = unique("ring")
    async with hosting(client, name, HostInput(keep_last=4)) as handle, AsyncExitStack() as stack:
        live = await stack.enter_async_context(sibling.following(name))
        for at in (0, 4, 8):
            await handle.signal("publish", VALUES[at : at + 4])
            await live.count(min(at + 4, 10))
        late = {
            start: await stack.enter_async_context(sibling.following(name, start))
            for start in (0, 3, 6, 8)
        }
        for start, reader in late.items():
            await reader.count(10 - max(start, 6))
        await handle.signal("order", "finish")
        assert await live.end() == [*items("own", *VALUES), ("ended",)]
        for start, reader in late.items():
            first = max(start, 6)
            assert await reader.end() == [*items("own", *VALUES[first:], start=first), ("ended",)]
