"""Batches of very many small items, and those who poll for them or read them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from temporalio.client import Client, WorkflowUpdateStage
from temporalio.common import RawValue
from temporalio.worker import Replayer

from workflow_streams import WorkflowStreamClient, create_stream
from workflow_streams.hosted import host_worker
from workflow_streams.hosted.appends import Append, signals_of
from workflow_streams.hosted.host import WorkflowStreamHost
from workflow_streams.log import wire
from workflow_streams.log.compact import MOST_BATCHES, SIGNAL_BOUNDS, compact_payload
from workflow_streams.log.packed import pack
from workflow_streams.log.payloads import JSON_KIND
from workflow_streams.log.wire import Batch

Unique = Callable[[str], str]
MANY = 300_000
POLLS = 9


async def failed_tasks(client: Client, name: str) -> int:
    failed = 0
    async for event in client.get_workflow_handle(name).fetch_history_events():
        failed += event.HasField("workflow_task_failed_event_attributes")
        failed += event.HasField("workflow_task_timed_out_event_attributes")
    return failed


async def test_many_polls_get_a_batch_of_very_many_items(client: Client, unique: Unique) -> None:
    """Their task has 2 s."""
    queue = unique("hosts")
    names = [unique("stream")]
    entries = pack([("default", JSON_KIND, b"%d" % (n % 7)) for n in range(MANY)])
    async with host_worker(client, task_queue=queue):
        for name in names:
            await create_stream(client, name, task_queue=queue)
        polls = [
            await client.get_workflow_handle(name).start_update(
                wire.POLL,
                wire.PollInput([], 0),
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                result_type=wire.PollResult,
            )
            for name in names
            for _ in range(POLLS)
        ]
        for name in names:
            for signal in signals_of(Append(entries), "tag"):
                await client.get_workflow_handle(name).signal(wire.PUBLISH_SIGNAL, RawValue(signal))
        for page in await asyncio.gather(*(poll.result() for poll in polls)):
            assert page.more_ready
            assert [item.offset for item in page.items] == list(range(page.next_offset))
            assert page.items
        # Later on, each looks at the part that it asks for.
        for offset in (MANY // 2, MANY - 1):
            poll = wire.PollInput([], offset)
            for name in names:
                handle = client.get_workflow_handle(name)
                page = await handle.execute_update(wire.POLL, poll, result_type=wire.PollResult)
                assert page.items[0].offset == offset
        for name in names:
            assert not await failed_tasks(client, name)
            history = await client.get_workflow_handle(name).fetch_history()
            await Replayer(workflows=[WorkflowStreamHost]).replay_workflow(history)


@pytest.mark.parametrize("shape", ["one body", "topics", "publishers"])
async def test_signals_at_their_bounds_stop_neither_host_nor_reader(
    client: Client, unique: Unique, shape: str
) -> None:
    """Each is a few kilobytes."""
    name, queue = unique("stream"), unique("hosts")
    count = SIGNAL_BOUNDS.items
    items = [("t", JSON_KIND, b"x" * 120)] * count
    empty = [Batch([], f"p{number}", 1) for number in range(MOST_BATCHES - 1)]
    if shape == "topics":
        items = [(f"{n % 5_000:05}", b"", b"") for n in range(count)]
    signals = 1
    if shape == "publishers":
        items, signals = items[:1], 50
    async with host_worker(client, task_queue=queue):
        await create_stream(client, name, task_queue=queue)
        handle = client.get_workflow_handle(name)
        for number in range(signals):
            batches = [Batch(b.entries, f"{b.publisher_id}-{number}", 1) for b in empty]
            signal = compact_payload([*batches, Batch(items, "", 0)])
            await handle.signal(wire.PUBLISH_SIGNAL, RawValue(signal))
        head = signals * len(items)
        assert await handle.query(wire.OFFSET_QUERY) == head
        found = 0
        stream = WorkflowStreamClient.create(client, name)
        async with stream.follow(until=head, result_type=RawValue) as reader:
            async for _ in reader:
                found += 1
        assert found == head
        assert not await failed_tasks(client, name)


async def test_a_long_topic_is_not_told_with_very_many_items(
    client: Client, unique: Unique
) -> None:
    """A megabyte of a signal would become gigabytes where each item tells its topic."""
    name, queue = unique("stream"), unique("hosts")
    items = [("t" * 1_000_000, JSON_KIND, b"1")] * 1_000
    async with host_worker(client, task_queue=queue):
        await create_stream(client, name, task_queue=queue)
        handle = client.get_workflow_handle(name)
        await handle.signal(wire.PUBLISH_SIGNAL, RawValue(compact_payload([Batch(items, "", 0)])))
        assert await handle.query(wire.OFFSET_QUERY) == 0
        # Publishers write such a batch in a form that can hold it.
        async with WorkflowStreamClient.create(client, name) as stream:
            await stream.topic("known").send(0)
            stream.topic("t" * 100_000, type=int).publish(1)
            for number in range(500):
                stream.topic("short", type=int).publish(number)
        found = [
            (item.topic[:5], item.data)
            async for item in WorkflowStreamClient.create(client, name).subscribe(until=502)
        ]
        assert found == [("known", 0), ("ttttt", 1), *(("short", n) for n in range(500))]
