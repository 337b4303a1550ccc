"""Streams on the SDK's servers for tests, which skip time: both of its kinds."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sysconfig
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from workflow_streams import End, Gap, Item, Last, Rewind, WorkflowStreamClient

from .time_host import Open, Reminder, Reminders, Writer, write

pytestmark = pytest.mark.processes


def program(name: str) -> str:
    """The package puts its binary where the environment's commands are."""
    path = shutil.which(name, path=sysconfig.get_path("scripts"))
    if path is None:
        pytest.skip(f"no {name} for this platform")
    return path


async def story_of(stream: WorkflowStreamClient, from_offset: int = 0) -> list[Any]:
    return [event async for event in stream.follow(from_offset=from_offset)]


@pytest.fixture
async def env() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=program("temporal-test-server")
    ) as environment:
        yield environment


async def test_it_is_followed_through_rollovers_to_its_end_while_days_are_skipped(
    env: WorkflowEnvironment, unique: Callable[[str], str]
) -> None:
    name = unique("reminder")
    async with Worker(env.client, task_queue=name, workflows=[Reminder]):
        began = await env.get_current_time()
        handle = await env.client.start_workflow(
            Reminder.run, Reminders(), id=name, task_queue=name
        )
        reader = asyncio.create_task(story_of(WorkflowStreamClient.create(env.client, name)))
        assert await handle.result() == "reminded"
        assert await env.get_current_time() - began >= timedelta(days=6)
        story = await reader
    assert story[:-1] == [Item("days", i, i) for i in range(6)]
    end = story[-1]
    assert isinstance(end, End)
    assert (end.outcome, end.offset) == ("completed", 6)
    times = [event.time for event in story if isinstance(event, Item) and event.time]
    assert all(b - a >= timedelta(days=1) for a, b in itertools.pairwise(times))
    assert len(times) == 6


async def test_a_live_reader_gets_each_item_while_the_test_moves_time_by_hand(
    env: WorkflowEnvironment, unique: Callable[[str], str]
) -> None:
    name = unique("reminder")
    async with Worker(env.client, task_queue=name, workflows=[Reminder]):
        await env.client.start_workflow(Reminder.run, Reminders(1), id=name, task_queue=name)
        stream = WorkflowStreamClient.create(env.client, name)
        events = stream.follow()
        for day in range(3):
            assert await stream.get_offset() == day
            await env.sleep(timedelta(days=1, minutes=1))
            assert await anext(events) == Item("days", day, day)
        assert isinstance(await anext(events), End)


async def test_a_retried_activity_rewinds_and_send_tells_the_offset(
    env: WorkflowEnvironment, unique: Callable[[str], str]
) -> None:
    name = unique("writer")
    async with Worker(env.client, task_queue=name, workflows=[Writer], activities=[write]):
        await env.client.execute_workflow(Writer.run, "to be", id=name, task_queue=name)
        events = await story_of(WorkflowStreamClient.create(env.client, name))
    [rewind] = [event for event in events if isinstance(event, Rewind)]
    assert [event.data for event in events if isinstance(event, Item)] == [
        "writing", "to", "be", "to", "be", "end",
    ]  # fmt: skip
    assert (rewind.ranges, rewind.reason, rewind.next_offset) == ((range(1, 3),), "attempt", 3)
    assert events.index(rewind) == 3


async def test_a_service_publishes_sends_and_is_told_of_gaps(
    env: WorkflowEnvironment, unique: Callable[[str], str]
) -> None:
    name = unique("open")
    async with Worker(env.client, task_queue=name, workflows=[Open]):
        handle = await env.client.start_workflow(Open.run, id=name, task_queue=name)
        async with WorkflowStreamClient.create(env.client, name) as stream:
            news = stream.topic("news", type=str)
            assert await news.send("0") == 0
            for i in range(1, 6):
                news.publish(str(i))
            await stream.flush()
            assert await stream.get_offset() == 6
            assert await news.send("6") == 6
        last = stream.subscribe("news", Last(2))
        assert [(await anext(last)).offset for _ in range(2)] == [5, 6]
        await handle.signal(Open.close)
        await handle.result()
        story = await story_of(stream, from_offset=1)
    assert story[:-1] == [Gap(1, 3, "truncated"), *(Item("news", str(i), i) for i in range(3, 7))]
    assert isinstance(story[-1], End)


async def test_it_works_on_the_real_server_with_time_skipping_too(
    unique: Callable[[str], str],
) -> None:
    name = unique("reminder")
    async with (
        await WorkflowEnvironment.start_time_skipping_v2(
            dev_server_existing_path=program("temporal"),
            dev_server_log_level="error",
            dev_server_extra_args=[
                "--dynamic-config-value",
                "frontend.WorkflowTimeSkippingEnabled=true",
            ],
        ) as env,
        Worker(env.client, task_queue=name, workflows=[Reminder]),
    ):
        await env.client.execute_workflow(Reminder.run, Reminders(), id=name, task_queue=name)
        stream = WorkflowStreamClient.create(env.client, name)
        assert [item.data async for item in stream.subscribe()] == list(range(6))
