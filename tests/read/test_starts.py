"""Where a reader starts: at an offset, at the end, or some items before it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import Client

from workflow_streams import LATEST, Last, WorkflowStreamClient
from workflow_streams.log import wire
from workflow_streams.read.feeds import feed as feed_module

from .hosts import Host, HostInput, hosting
from .story import Line, attached, following, items, roll_over, send, story, told

TEN = [f"v{i}" for i in range(10)]
END: Line = ("end", "completed", 10)


async def finished_host(client: Client, name: str, truncated: int = 0, rolls: int = 0) -> None:
    """A stream of TEN items over `rolls + 1` runs, closed, without a worker."""
    async with hosting(client, name) as handle:
        share = 10 // (rolls + 1)
        for run in range(rolls + 1):
            stop = 10 if run == rolls else (run + 1) * share
            await send(client, name, *TEN[run * share : stop])
            if run < rolls:
                await roll_over(handle)
        if truncated:
            await handle.signal(Host.truncate, truncated)
        await handle.signal(Host.order, "finish")
        # What `send` has read by is the process's shared reading. That has come to the end, too.
        await story(client, name)


async def test_each_start_gives_what_comes_from_there(client: Client, unique: Any) -> None:
    name = unique("starts")
    await finished_host(client, name)
    every = [*enumerate(TEN), END]
    for start, first in [(0, 0), (1, 1), (9, 9), (10, 10), (LATEST, 10)]:
        assert await story(client, name, from_offset=start) == every[first:]
    for n, first in [(0, 10), (1, 9), (9, 1), (10, 0), (11, 0), (1000, 0)]:
        assert await story(client, name, from_offset=Last(n)) == every[first:]
    # Past the head nothing comes any more but the end.
    assert await story(client, name, from_offset=25) == [END]


async def test_last_reaches_back_over_runs(client: Client, unique: Any) -> None:
    name = unique("starts")
    await finished_host(client, name, rolls=2)
    every = [*enumerate(TEN), END]
    for n in (0, 1, 4, 5, 7, 9, 10, 50):
        assert await story(client, name, from_offset=Last(n)) == every[max(0, 10 - n) :]


@pytest.mark.parametrize("rolls", [0, 1])
async def test_truncated_items_are_a_gap_to_those_only_who_asked_for_them(
    client: Client, unique: Any, rolls: int
) -> None:
    name = unique("starts")
    await finished_host(client, name, truncated=6, rolls=rolls)
    kept = [*list(enumerate(TEN))[6:], END]
    assert await story(client, name) == kept
    assert await story(client, name, from_offset=2) == [("gap", 2, 6, "truncated"), *kept]
    assert await story(client, name, from_offset=6) == kept
    assert await story(client, name, from_offset=8) == kept[2:]
    assert await story(client, name, from_offset=Last(3)) == kept[1:]
    assert await story(client, name, from_offset=Last(8)) == kept
    stream = WorkflowStreamClient.create(client, name)
    skipped = [(item.offset, item.skipped) async for item in stream.subscribe(from_offset=3)]
    assert skipped == [(6, 3), (7, 0), (8, 0), (9, 0)]


async def test_last_counts_items_of_all_topics_and_gives_those_of_the_wanted_ones(
    client: Client, unique: Any
) -> None:
    name = unique("starts")
    async with hosting(client, name) as handle:
        stream = WorkflowStreamClient.create(client, name)
        for i in range(8):
            assert await stream.topic("even" if i % 2 == 0 else "odd").send(i) == i
        await handle.signal(Host.order, "finish")
        await handle.result()
    for n, wanted in [(5, [3, 5, 7]), (2, [7]), (1, [7]), (0, []), (100, [1, 3, 5, 7])]:
        lines = await story(client, name, topics="odd", from_offset=Last(n))
        assert lines == [*((i, i) for i in wanted), ("end", "completed", 8)]


async def test_latest_begins_with_the_first_item_after_the_call(
    client: Client, unique: Any
) -> None:
    name = unique("starts")
    async with hosting(client, name) as handle:
        await send(client, name, "before")
        stream = WorkflowStreamClient.create(client, name)
        first = asyncio.create_task(anext(aiter(stream.follow(from_offset=LATEST))))
        count = 1
        # What is sent while it starts may come before it has started.
        while not first.done():
            await send(client, name, f"later {count}")
            count += 1
        item: Any = await first
        assert item.data == f"later {item.offset}"
        async with following(client, name, from_offset=Last(1)) as reader:
            await reader.count(1)
            await handle.signal(Host.order, "finish")
            assert await reader.end() == [
                (count - 1, f"later {count - 1}"),
                ("end", "completed", count),
            ]


async def test_a_start_past_the_head_waits_there_over_a_rollover(
    client: Client, unique: Any
) -> None:
    name = unique("starts")
    async with hosting(client, name) as handle:
        await send(client, name, *TEN[:3])
        async with following(client, name, from_offset=8) as ahead:
            async with following(client, name) as plain:
                await plain.count(3)
                await roll_over(handle)
                await send(client, name, *TEN[3:])
                await handle.signal(Host.order, "finish")
                assert await plain.end() == [*enumerate(TEN), END]
            assert await ahead.end() == [(8, "v8"), (9, "v9"), END]


async def test_the_end_of_a_stream_larger_than_the_ring_is_found(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ring must not wait for a reader that waits for the ring."""
    monkeypatch.setattr(feed_module, "RING_BYTES", 2000)
    name = unique("starts")
    async with hosting(client, name) as handle:
        for _ in range(5):
            await handle.signal(Host.publish, ["x" * 1000] * 5)
        # A batch that comes within the same task as these stands before them.
        assert await handle.query(wire.OFFSET_QUERY, result_type=int) == 25
        await send(client, name, "last")
        assert await WorkflowStreamClient.create(client, name).get_offset() == 26
        async with following(client, name, from_offset=LATEST) as latest:
            async with following(client, name, from_offset=Last(1)) as last:
                await last.count(1)
                await attached(client, name, readers=2)
                await send(client, name, "new")
                await handle.signal(Host.order, "finish")
                assert await last.end() == [(25, "last"), (26, "new"), ("end", "completed", 27)]
            assert (await latest.end())[-2:] == [(26, "new"), ("end", "completed", 27)]


async def test_a_reader_that_has_stalled_does_not_keep_another_one_from_starting(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "RING_BYTES", 2000)
    name = unique("starts")
    async with hosting(client, name) as handle:
        for i in range(20):
            await handle.signal(Host.publish, [f"{i:500}"])
        assert await handle.query(wire.OFFSET_QUERY, result_type=int) == 20
        await send(client, name, "last")
        stalled = aiter(WorkflowStreamClient.create(client, name).follow())
        assert (await anext(stalled)).offset == 0
        # The feed waits for its only subscriber now, which reads no further.
        assert await WorkflowStreamClient.create(client, name).get_offset() == 21
        await handle.signal(Host.order, "finish")
        expected = [
            *items(*(f"{i:500}" for i in range(20))),
            (20, "last"),
            ("end", "completed", 21),
        ]
        assert await story(client, name) == expected
        assert [told(event) async for event in stalled] == expected[1:]


async def test_offset_0_of_a_ring_buffer_is_its_earliest_item(client: Client, unique: Any) -> None:
    name = unique("starts")
    async with hosting(client, name, HostInput(keep_last=3)) as handle:
        await send(client, name, *TEN[:7])
        async with following(client, name) as live:
            await live.count(3)
            await send(client, name, *TEN[7:])
            await handle.signal(Host.order, "finish")
            assert await live.end() == [*list(enumerate(TEN))[4:], END]
    assert await story(client, name) == [*list(enumerate(TEN))[7:], END]
    assert await story(client, name, from_offset=5) == [
        ("gap", 5, 7, "truncated"),
        *list(enumerate(TEN))[7:],
        END,
    ]
