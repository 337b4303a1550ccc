"""Publishing from workflow code in a loop: many items in one task, few events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker

from tests.reader.story import items, story
from workflow_streams import WorkflowStream

COUNT = 20_000


LARGE = 1_000_000


@workflow.defn
class Large:
    """Publishes three large items, in one task or in several."""

    @workflow.init
    def __init__(self, rests: bool) -> None:
        self.stream = WorkflowStream()
        self.own = self.stream.topic("own", type=str)

    @workflow.run
    async def run(self, rests: bool) -> None:
        for letter in "abc":
            self.own.publish(letter * LARGE)
            if rests:
                await workflow.sleep(0.001)


@dataclass
class LoopInput:
    count: int = COUNT


@workflow.defn
class Loop:
    @workflow.init
    def __init__(self, loop: LoopInput) -> None:
        self.stream = WorkflowStream()
        self.own = self.stream.topic("own", type=str)

    @workflow.run
    async def run(self, loop: LoopInput) -> int:
        for i in range(loop.count):
            self.own.publish(f"word {i}")
            if i % 1000 == 999:
                self.stream.truncate(i - 999)
        return self.stream.head


async def test_a_loop_of_publishes_fits_into_one_workflow_task(
    client: Client, unique: Callable[[str], str]
) -> None:
    """The SDK gives a task 2 s, and would fail it again and again."""
    name = unique("loop")
    async with Worker(client, task_queue=name, workflows=[Loop]):
        handle = await client.start_workflow(Loop.run, LoopInput(), id=name, task_queue=name)
        async with asyncio.timeout(60):
            assert await handle.result() == COUNT
    history = await handle.fetch_history()
    # The first 1,000 calls are recorded one by one, those after them together.
    assert len(history.events) < 1_100
    await Replayer(workflows=[Loop]).replay_workflow(history)
    kept = [f"word {i}" for i in range(COUNT - 1000, COUNT)]
    assert await story(client, name) == [
        *items(*kept, start=COUNT - 1000),
        ("end", "completed", COUNT),
    ]


async def test_a_task_that_publishes_more_than_the_server_takes_is_told_so(
    client: Client, unique: Callable[[str], str]
) -> None:
    """The server would end the workflow, without a word to its code."""
    name = unique("large")
    async with Worker(client, task_queue=name, workflows=[Large]):
        handle = await client.start_workflow(Large.run, False, id=name, task_queue=name)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == "TaskFullError"
        other = f"{name} in several"
        resting = await client.start_workflow(Large.run, True, id=other, task_queue=name)
        await resting.result()
    for run in (handle, resting):
        await Replayer(workflows=[Large]).replay_workflow(await run.fetch_history())
    large = [letter * LARGE for letter in "abc"]
    assert await story(client, name) == [*items(*large[:2]), ("end", "failed", 2)]
    assert await story(client, other) == [*items(*large), ("end", "completed", 3)]
