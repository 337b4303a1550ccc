"""One stream over several runs: followed live, and read later from anywhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import RawValue

from workflow_streams import LATEST, Last, WorkflowStreamClient
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload
from workflow_streams.read.feeds import feed as feed_module

from .hosts import Host, HostInput, hosting, worker
from .story import (
    Line,
    attached,
    following,
    items,
    next_run,
    roll_over,
    run_id_of,
    send,
    story,
)


async def test_a_reader_follows_over_runs_with_publishers_at_work(
    client: Client, unique: Any
) -> None:
    """Signals that come while a run ends go to the next one: none is lost, none comes twice."""
    name = unique("roll")
    async with hosting(client, name) as handle:
        published: dict[str, list[int]] = {}

        async def publish(who: str) -> None:
            async with WorkflowStreamClient.create(client, name) as stream:
                topic = stream.topic("out", type=str)
                published[who] = [await topic.send(f"{who} {i}") for i in range(25)]

        async with following(client, name) as early, following(client, name, topics="out") as out:
            async with asyncio.TaskGroup() as group:
                for who in "abc":
                    group.create_task(publish(who))
                for _ in range(3):
                    await roll_over(handle)
                    await handle.signal(Host.publish, ["own"])
            await handle.signal(Host.order, "finish")
            lines = await early.end()
            assert [line for line in lines if line[1] != "own"] == await out.end()
    assert [line[0] for line in lines[:-1]] == list(range(78))
    assert lines[-1] == ("end", "completed", 78)
    told = {data: offset for offset, data in lines[:-1] if data != "own"}
    for who, offsets in published.items():
        assert [told[f"{who} {i}"] for i in range(25)] == offsets
        assert offsets == sorted(offsets)
    assert await story(client, name) == lines
    assert await story(client, name, from_offset=40) == lines[40:]


async def chained(client: Client, name: str) -> tuple[list[str], list[Line]]:
    """A closed stream of 4 runs with 3 items each; return the runs' ids and the whole story."""
    runs: list[str] = []
    async with hosting(client, name) as handle:
        for run in range(4):
            runs.append(await (run_id_of(handle) if not runs else roll_over(handle)))
            await send(client, name, *(f"{run} {i}" for i in range(3)))
        await handle.signal(Host.order, "finish")
        await handle.result()
    values = [f"{run} {i}" for run in range(4) for i in range(3)]
    return runs, [*items(*values), ("end", "completed", 12)]


async def test_earlier_runs_are_read_from_anywhere_without_a_worker(
    client: Client, unique: Any
) -> None:
    name = unique("roll")
    runs, lines = await chained(client, name)
    for start in range(14):
        assert await story(client, name, from_offset=start) == lines[min(start, 12) :]
    for run_id in runs:
        assert await story(client, name, run_id) == lines
        assert await story(client, name, run_id, from_offset=5) == lines[5:]
        assert await story(client, name, run_id, from_offset=LATEST) == lines[12:]
        handle = client.get_workflow_handle(name, run_id=run_id)
        assert await WorkflowStreamClient(handle, client=client).get_offset() == 12


async def test_the_index_of_runs_goes_on_in_that_of_the_first_run_it_names(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflow_streams.host import hand_over

    monkeypatch.setattr(hand_over, "MAX_RUN_REFS", 1)
    name = unique("roll")
    _, lines = await chained(client, name)
    for start in (0, 1, 4, 8, 11):
        assert await story(client, name, from_offset=start) == lines[start:]


async def test_a_reader_that_fell_out_of_the_ring_catches_up_over_runs(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "RING_BYTES", 1500)
    name = unique("roll")
    async with hosting(client, name) as handle:
        slow = WorkflowStreamClient.create(client, name).subscribe()
        await send(client, name, "first")
        seen = [(await anext(slow)).data]
        async with following(client, name) as fast:
            for run in range(3):
                await send(client, name, *(f"{run} {i}" for i in range(6)))
                await roll_over(handle)
            await send(client, name, "last")
            await fast.count(20)
            seen += [(await anext(slow)).data for _ in range(19)]
            await handle.signal(Host.order, "finish")
            seen += [item.data async for item in slow]
            assert items(*seen) == (await fast.end())[:-1]
    assert seen == ["first", *(f"{run} {i}" for run in range(3) for i in range(6)), "last"]


async def left(client: Client, name: str) -> None:
    """A stream with items "a" and "b", whose second run no worker has taken up."""
    async with hosting(client, name) as handle:
        await send(client, name, "a", "b")
        before = await run_id_of(handle)
        await handle.signal(Host.order, "leave")
        await next_run(handle, before)


async def test_a_run_that_no_worker_has_taken_up_does_not_hide_those_before(
    client: Client, unique: Any
) -> None:
    name = unique("roll")
    await left(client, name)
    handle = client.get_workflow_handle(name)
    assert await WorkflowStreamClient.create(client, name).get_offset() == 2
    async with (
        following(client, name) as whole,
        following(client, name, from_offset=1) as late,
        following(client, name, from_offset=LATEST) as latest,
        following(client, name, from_offset=Last(1)) as last,
    ):
        await whole.count(2)
        await late.count(1)
        await last.count(1)
        await attached(client, name, readers=4)
        await signal(client, name, "c")
        async with worker(client, f"{name} 2"):
            await send(client, name, "d")
            await handle.signal(Host.order, "finish")
            lines = await whole.end()
            assert lines == [*items("a", "b", "c", "d"), ("end", "completed", 4)]
            assert await late.end() == lines[1:]
            assert await last.end() == lines[1:]
            # What the new run had taken in before it was opened got its offset later.
            assert await latest.end() == lines[2:]


async def test_a_run_that_ended_before_any_worker_took_it_up_goes_on_with_the_offsets(
    client: Client, unique: Any
) -> None:
    name = unique("roll")
    await left(client, name)
    async with following(client, name) as live:
        await live.count(2)
        await signal(client, name, "c", "d")
        await client.get_workflow_handle(name).terminate()
        lines = await live.end()
    assert lines == [*items("a", "b", "c", "d"), ("end", "terminated", 4)]
    for start in range(5):
        assert await story(client, name, from_offset=start) == lines[start:]
    assert await WorkflowStreamClient.create(client, name).get_offset() == 4


async def test_a_stream_that_ended_before_any_worker_took_its_first_task(
    client: Client, unique: Any
) -> None:
    name = unique("roll")
    handle = await client.start_workflow(
        Host.run,
        HostInput(),
        id=name,
        task_queue=name,
        start_signal=wire.PUBLISH_SIGNAL,
        start_signal_args=[batch("a")],
    )
    async with following(client, name) as live:
        await signal(client, name, "b", "c")
        await handle.signal(Host.publish, ["lost with the workflow"])
        await handle.terminate()
        lines = await live.end()
    assert lines == [*items("a", "b", "c"), ("end", "terminated", 3)]
    assert await story(client, name, from_offset=1) == lines[1:]
    assert await WorkflowStreamClient.create(client, name).get_offset() == 3


def batch(*values: str) -> RawValue:
    entries = [entry_of("out", json_payload(f'"{value}"'.encode())) for value in values]
    return RawValue(batch_payload(entries, "", 0))


async def signal(client: Client, workflow_id: str, *values: str) -> None:
    """Publish without waiting for what becomes of it."""
    handle = client.get_workflow_handle(workflow_id)
    for value in values:
        await handle.signal(wire.PUBLISH_SIGNAL, batch(value))
