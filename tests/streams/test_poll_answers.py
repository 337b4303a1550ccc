"""What a workflow task brings fits into one message, however many clients wait with a poll.

The server ends a workflow whose task brings more than 4 MiB.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import temporalio.contrib.workflow_streams as contrib
from temporalio import workflow
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowUpdateHandle,
    WorkflowUpdateStage,
)
from temporalio.worker import Replayer, Worker

from tests.dense import dense
from tests.read.story import SECONDS, next_run, run_id_of, send
from workflow_streams import ExternalWorkflowStream, WorkflowStream, WorkflowStreamState
from workflow_streams.log import wire

from .polling import polled_values

# What is left of the server's 4 MiB for what else a task brings.
MESSAGE_BYTES = 4 * 1024 * 1024 - 64 * 1024
# The largest item there is: what its value has in letters.
LARGEST = 1_523_600


@dataclass
class Burst:
    """What a host publishes in one task: texts of so many letters, to itself and to others."""

    own: list[int] = field(default_factory=list[int])
    told: list[int] = field(default_factory=list[int])


@dataclass
class HostInput:
    to: str = ""
    stream_state: WorkflowStreamState | None = None


@workflow.defn(name="PolledHost")
class Host:
    """Publishes in its own function what its signals say, when it is told to go."""

    @workflow.init
    def __init__(self, host: HostInput) -> None:
        self.stream = WorkflowStream(host.stream_state)
        self.own = self.stream.topic("own", type=str)
        self.bursts: list[Burst] = []
        self.order = ""

    @workflow.run
    async def run(self, host: HostInput) -> None:
        async with AsyncExitStack() as stack:
            there = None
            if host.to:
                there = await stack.enter_async_context(ExternalWorkflowStream(host.to))
            while not self.order or self.bursts:
                await workflow.wait_condition(lambda: bool(self.bursts or self.order))
                while self.bursts:
                    burst = self.bursts.pop(0)
                    for size in burst.told:
                        assert there is not None
                        there.topic("told", type=str).publish(dense(size))
                    self.own.publish_many([dense(size) for size in burst.own])
        if self.order == "roll":
            await self.stream.continue_as_new(lambda state: [HostInput(host.to, state)])
        self.stream.detach_pollers()
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.signal
    def burst(self, burst: Burst) -> None:
        self.bursts.append(burst)

    @workflow.signal
    def end(self, order: str) -> None:
        self.order = order


def worker(client: Client, name: str) -> Worker:
    return Worker(client, task_queue=name, workflows=[Host])


@asynccontextmanager
async def hosting(
    client: Client, name: str, to: str = ""
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """Run a host, which at the end finishes and replays."""
    async with worker(client, name):
        await client.start_workflow(Host.run, HostInput(to), id=name, task_queue=name)
        handle = client.get_workflow_handle(name)
        yield handle
        await handle.signal(Host.end, "finish")
        await handle.result()
    history = await handle.fetch_history()
    assert most_brought(history) <= MESSAGE_BYTES
    await Replayer(workflows=[Host]).replay_workflow(history)


def most_brought(history: WorkflowHistory) -> int:
    """Return how much one task has brought at the most."""
    most = brought = 0
    for event in history.events:
        if event.HasField("workflow_task_completed_event_attributes"):
            brought = 0
        for name in (
            "workflow_execution_update_accepted_event_attributes",
            "workflow_execution_update_completed_event_attributes",
            "workflow_properties_modified_event_attributes",
            "signal_external_workflow_execution_initiated_event_attributes",
        ):
            if event.HasField(name):  # pyright: ignore[reportArgumentType]
                brought += getattr(event, name).ByteSize()
        most = max(most, brought)
    return most


async def start_poll(
    handle: WorkflowHandle[Any, Any], offset: int, topics: list[str] | None = None
) -> WorkflowUpdateHandle[contrib.PollResult]:
    """Begin a poll as the contrib's client does, and see it accepted."""
    return await handle.start_update(
        wire.POLL,
        contrib.PollInput(topics or [], offset),
        id=uuid.uuid4().hex,
        wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        result_type=contrib.PollResult,
    )


class Reader:
    """Polls as the contrib's client does, but without its rest.

    Attributes:
        sizes: How long the data of each item was.
        polls: How many it took.
    """

    def __init__(self, handle: WorkflowHandle[Any, Any]) -> None:
        self.sizes: list[int] = []
        self.polls = 0
        self._handle = handle
        self._offset = 0
        self._first: WorkflowUpdateHandle[contrib.PollResult] | None = None

    async def begin(self) -> None:
        self._first = await start_poll(self._handle, self._offset)

    async def read(self, count: int) -> None:
        async with asyncio.timeout(SECONDS):
            while len(self.sizes) < count:
                update, self._first = self._first, None
                page = await (update or await start_poll(self._handle, self._offset)).result()
                self.polls += 1
                assert [item.offset for item in page.items] == list(
                    range(self._offset, self._offset + len(page.items))
                )
                assert page.next_offset == self._offset + len(page.items)
                assert page.items or page.more_ready
                self.sizes += [len(item.data) for item in page.items]
                self._offset = page.next_offset


async def waiting_readers(handle: WorkflowHandle[Any, Any], count: int) -> list[Reader]:
    readers = [Reader(handle) for _ in range(count)]
    await asyncio.gather(*(reader.begin() for reader in readers))
    return readers


async def read(readers: list[Reader], count: int) -> None:
    """Have all read so many items, the same ones."""
    await asyncio.gather(*(reader.read(count) for reader in readers))
    assert all(reader.sizes[:count] == readers[0].sizes[:count] for reader in readers)


@pytest.mark.parametrize(("count", "size"), [(8, 700_000), (8, 1_000_000), (4, LARGEST)])
async def test_many_polls_wait_for_one_large_item(
    client: Client, unique: Callable[[str], str], count: int, size: int
) -> None:
    name = unique("large")
    async with hosting(client, name) as handle:
        readers = await waiting_readers(handle, count)
        await handle.signal(Host.burst, Burst([size]))
        await read(readers, 1)
        for reader in readers:
            await reader.begin()
        await send(client, name, dense(size))
        await read(readers, 2)
        assert all(length * 3 > size * 4 for length in readers[0].sizes)


async def test_many_polls_wait_for_many_items(client: Client, unique: Callable[[str], str]) -> None:
    name = unique("many")
    async with hosting(client, name) as handle:
        readers = await waiting_readers(handle, 10)
        await handle.signal(Host.burst, Burst([20_000] * 70))
        await read(readers, 70)
        # What one task has for all of them goes to all.
        assert max(reader.polls for reader in readers) < 40


async def test_many_polls_wait_for_what_comes_while_no_worker_is_there(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("away")
    async with worker(client, name):
        await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
        handle = client.get_workflow_handle(name)
        readers = await waiting_readers(handle, 10)
    for _ in range(3):
        await contrib_publish(client, name, ["x" * 100_000] * 5)
    async with worker(client, name):
        await read(readers, 15)
        await handle.signal(Host.end, "finish")
        await handle.result()
    history = await handle.fetch_history()
    assert most_brought(history) <= MESSAGE_BYTES
    await Replayer(workflows=[Host]).replay_workflow(history)


async def contrib_publish(client: Client, name: str, values: list[str]) -> None:
    async with contrib.WorkflowStreamClient.create(client, name) as stream:
        for value in values:
            stream.topic("out", type=str).publish(value)


async def test_polls_without_news_take_nothing_of_those_that_have_some(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("news")
    async with hosting(client, name) as handle:
        beyond = await asyncio.gather(*(start_poll(handle, 1000) for _ in range(8)))
        (reader,) = await waiting_readers(handle, 1)
        await handle.signal(Host.burst, Burst([20_000] * 30))
        await reader.read(30)
        assert reader.polls == 1
        for _ in range(2):
            await contrib_publish(client, name, ["x"] * 500)
        pages = await asyncio.gather(*(poll.result() for poll in beyond))
        assert all(len(page.items) + page.more_ready for page in pages)


@pytest.mark.parametrize(
    "burst",
    [Burst([20_000] * 75), Burst([20_000] * 75, [350_000] * 2), Burst([LARGEST], [350_000] * 2)],
)
async def test_polls_leave_room_for_what_the_workflow_publishes(
    client: Client, unique: Callable[[str], str], burst: Burst
) -> None:
    """The items that polls wait for are part of the same message."""
    name = unique("room")
    to = f"{name} to"
    await client.start_workflow(Host.run, HostInput(), id=to, task_queue=f"{name} away")
    async with hosting(client, name, to) as handle:
        readers = await waiting_readers(handle, 4)
        await handle.signal(Host.burst, burst)
        await read(readers, len(burst.own))
        # Others read what is there while the workflow publishes as much once more.
        late = [Reader(handle) for _ in range(4)]
        await asyncio.gather(read(late, len(burst.own)), handle.signal(Host.burst, burst))
    await client.get_workflow_handle(to).terminate()


async def test_a_lone_poll_gets_the_largest_item_beside_all_that_a_task_may_bring(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("lone")
    to = f"{name} to"
    await client.start_workflow(Host.run, HostInput(), id=to, task_queue=f"{name} away")
    async with hosting(client, name, to) as handle:
        burst = Burst([LARGEST], [340_000] * 4)
        reader = Reader(handle)
        for count in range(1, 6):
            await reader.begin()
            await handle.signal(Host.burst, burst)
            await reader.read(count)
        assert len(reader.sizes) == 5
    await client.get_workflow_handle(to).terminate()


async def test_subscribers_of_large_items_miss_nothing_in_rollovers(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("rolling")
    async with worker(client, name):
        await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
        handle = client.get_workflow_handle(name)
        readings: list[list[tuple[int, bytes]]] = [[] for _ in range(4)]
        reading = [asyncio.create_task(polled_values(client, name, got)) for got in readings]
        run, count = await run_id_of(handle), 0
        for sizes in ([LARGEST, 10], [700_000, 700_000], [1_000_000]):
            await handle.signal(Host.burst, Burst(sizes))
            count += len(sizes)
            async with asyncio.timeout(SECONDS):
                while any(len(got) < count - 1 for got in readings):
                    await asyncio.sleep(0.02)
            await handle.signal(Host.end, "roll")
            before, run = run, await next_run(handle, run)
            history = await client.get_workflow_handle(name, run_id=before).fetch_history()
            assert most_brought(history) <= MESSAGE_BYTES
            await Replayer(workflows=[Host]).replay_workflow(history)
        await have_read(readings, count)
        await handle.signal(Host.end, "finish")
        await handle.result()
        await asyncio.wait_for(asyncio.gather(*reading), SECONDS)
    sizes = [LARGEST, 10, 700_000, 700_000, 1_000_000]
    assert [[len(data) - 2 for _, data in got] for got in readings] == [sizes] * 4


@pytest.mark.parametrize("runs", [1, 2])
async def test_a_subscriber_that_comes_back_late_misses_nothing_of_a_short_run(
    client: Client, unique: Callable[[str], str], runs: int
) -> None:
    """The run in which it has not polled yet knows of it from the one before."""
    name = unique("short")
    async with worker(client, name):
        await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
        handle = client.get_workflow_handle(name)
        waiting = await start_poll(handle, 0)
        for _ in range(runs):
            run = await run_id_of(handle)
            await handle.signal(Host.end, "roll")
            run = await next_run(handle, run)
        assert (await waiting.result()).next_offset == 0
        await handle.signal(Host.burst, Burst([700_000, 700_000]))
        await handle.signal(Host.end, "roll")
        await have_recorded_large(client.get_workflow_handle(name, run_id=run))
        reader = Reader(handle)
        await reader.read(2)
        await next_run(handle, run)
        await handle.signal(Host.burst, Burst([10]))
        await reader.read(3)
        await handle.signal(Host.end, "finish")
        await handle.result()


@pytest.mark.parametrize(
    "sizes", [[600_000], [LARGEST], [300_000, 400_000, 500_000], [20_000] * 50]
)
async def test_what_is_published_and_answered_in_the_task_of_a_rollover_is_not_missed(
    client: Client, unique: Callable[[str], str], sizes: list[int]
) -> None:
    """An answer that is given in a run's last task does not reach its subscriber."""
    name = unique("last")
    readings: list[list[tuple[int, bytes]]] = [[] for _ in range(2)]
    expected = 0
    async with worker(client, name):
        await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
        reading = [asyncio.create_task(polled_values(client, name, got)) for got in readings]
        handle = client.get_workflow_handle(name)
        await handle.signal(Host.burst, Burst([10]))
        expected += 1
        await have_read(readings, expected)
        await have_polled(handle, len(readings))
    for _ in range(2):
        await handle.signal(Host.burst, Burst(sizes))
        expected += len(sizes)
        await handle.signal(Host.end, "roll")
        run = await run_id_of(handle)
        async with worker(client, name):
            await next_run(handle, run)
            await have_read(readings, expected)
            await have_polled(handle, len(readings))
    async with worker(client, name):
        await handle.signal(Host.end, "finish")
        await handle.result()
        await asyncio.wait_for(asyncio.gather(*reading), SECONDS)
    whole = [10, *sizes, *sizes]
    for got in readings:
        assert [(offset, len(data) - 2) for offset, data in got] == list(enumerate(whole))


async def have_read(readings: list[list[tuple[int, bytes]]], count: int) -> None:
    """Wait until all have read so many items, or so far."""
    async with asyncio.timeout(SECONDS):
        while any(not got or got[-1][0] < count - 1 for got in readings):
            await asyncio.sleep(0.02)


async def have_recorded_large(run: WorkflowHandle[Any, Any]) -> None:
    """Wait until a large item is in the history of a run."""
    async with asyncio.timeout(SECONDS):
        while all(event.ByteSize() < 500_000 for event in (await run.fetch_history()).events):
            await asyncio.sleep(0.02)


async def have_polled(handle: WorkflowHandle[Any, Any], count: int) -> None:
    """Wait until so many polls wait for more in the current run."""
    async with asyncio.timeout(SECONDS):
        while await waiting_polls(handle) < count:
            await asyncio.sleep(0.02)


async def waiting_polls(handle: WorkflowHandle[Any, Any]) -> int:
    waiting = 0
    for event in (await handle.fetch_history()).events:
        waiting += event.HasField("workflow_execution_update_accepted_event_attributes")
        waiting -= event.HasField("workflow_execution_update_completed_event_attributes")
    return waiting
