"""When a host ends, its readers have everything and end, too."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError

from tests.read.story import roll_over

from .hosts import Handle, Hosting, done
from .processes import Sibling
from .reading import following, items

TRIES = 3
OUTCOMES = ["completed", "failed", "canceled", "terminated"]


async def end(handle: Handle, outcome: str) -> None:
    """Have a host end, and wait until it has."""
    match outcome:
        case "completed":
            await handle.signal("order", "finish")
        case "failed":
            await handle.signal("order", "fail")
        case "canceled":
            await handle.cancel()
        case "terminated":
            await handle.terminate()
    with suppress(WorkflowFailureError):
        await handle.result()


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_readers_end_after_the_last_item_and_ours_tell_how_the_host_ended(
    client: Client, sibling: Sibling, hosts: Hosting, unique: Any, outcome: str
) -> None:
    name = unique("end")
    values = ["a", "b", "c"]
    async with (
        hosts(name) as handle,
        following(client, name) as mine,
        sibling.following(name) as other,
    ):
        await handle.signal("publish", values)
        await asyncio.gather(mine.count(3), other.count(3))
        await end(handle, outcome)
        assert await mine.end() == [*items("own", *values), ("end", outcome, 3)]
        assert await other.end() == [*items("own", *values), ("ended",)]


@pytest.mark.parametrize("outcome", OUTCOMES)
async def test_a_reader_that_comes_after_their_host_has_ended_is_told_how_and_what_it_missed(
    client: Client, sibling: Sibling, their_hosts: Hosting, unique: Any, outcome: str
) -> None:
    """Their hosts answer no reads once they have ended."""
    for _ in range(TRIES):
        name = unique("end")
        async with their_hosts(name) as handle:
            await handle.signal("publish", ["a", "b", "c"])
            await done(handle)
            await end(handle, outcome)
            for start in (0, 1, 3):
                gap = [("gap", start, 3, "unserved")] if start < 3 else []
                async with following(client, name, from_offset=start) as late:
                    assert await late.end() == [*gap, ("end", outcome, 3)]
            async with sibling.following(name) as other:
                assert await other.end() == [("ended",)]


@pytest.mark.parametrize("rolls", [False, True], ids=["at once", "after a rollover"])
@pytest.mark.parametrize("outcome", ["completed", "failed"])
async def test_what_their_host_took_in_last_is_read_or_told_as_a_gap(
    client: Client, their_hosts: Hosting, unique: Any, outcome: str, rolls: bool
) -> None:
    for _ in range(TRIES):
        name = unique("end")
        async with their_hosts(name) as handle, following(client, name) as reader:
            await handle.signal("publish", ["a"])
            await reader.count(1)
            if rolls:
                await roll_over(handle)
            await handle.signal("publish", ["b", "c"])
            await end(handle, outcome)
            lines = await reader.end()
        last = ("end", outcome, 3)
        whole = [*items("own", "a", "b", "c"), last]
        assert lines in (whole, [*whole[:1], ("gap", 1, 3, "unserved"), last])
