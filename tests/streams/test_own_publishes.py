"""Publishing from workflow code in a loop: many items in one task, few events."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from tests.dense import dense
from tests.read.story import items, story
from workflow_streams import WorkflowStream
from workflow_streams.host.writing import records as records_module

COUNT = 20_000


LARGE = 700_000


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


@workflow.defn(name="Varied")
class Varied:
    """Publishes texts of some sizes, around a local activity that outlasts a workflow task."""

    @workflow.init
    def __init__(self, sizes: list[int]) -> None:
        self.stream = WorkflowStream()
        self.own = self.stream.topic("own", type=str)

    @workflow.run
    async def run(self, sizes: list[int]) -> None:
        for size in sizes:
            self.own.publish(dense(self.size(size)))
            self.own.publish("small")
            self.own.publish(dense(self.size(size)))
            await workflow.execute_local_activity(
                rest, start_to_close_timeout=timedelta(seconds=100)
            )
            self.own.publish(dense(self.size(size)))

    def size(self, size: int) -> int:
        return size


@workflow.defn(name="Varied")
class LaterVaried(Varied):
    """A later version of that code, which publishes other texts."""

    @workflow.init
    def __init__(self, sizes: list[int]) -> None:
        super().__init__(sizes)

    @workflow.run
    async def run(self, sizes: list[int]) -> None:
        await super().run(sizes)

    def size(self, size: int) -> int:
        return 1 if size > 10_000 else 300_000


@activity.defn
async def rest() -> None:
    await asyncio.sleep(1.5)


async def test_no_large_item_stays_in_the_memo_and_texts_may_change_for_a_replay(
    client: Client, unique: Callable[[str], str]
) -> None:
    """The memo is part of each description of a workflow, and of each row of a list of them."""
    name = unique("varied")
    sizes = [300_000, 10, 20_000]
    async with Worker(client, task_queue=name, workflows=[Varied], activities=[rest]):
        handle = await client.start_workflow(
            Varied.run, sizes, id=name, task_queue=name, task_timeout=timedelta(seconds=1)
        )
        await handle.result()
    assert (await handle.describe()).raw_info.memo.ByteSize() < 2_000
    history = await handle.fetch_history()
    records = [
        e for e in history.events if e.HasField("workflow_properties_modified_event_attributes")
    ]
    assert len(records) == 1 + 4 * 3 + 3 * 2
    for version in (Varied, LaterVaried):
        await Replayer(workflows=[version]).replay_workflow(history)
    texts = [text for size in sizes for text in (dense(size), "small", dense(size), dense(size))]
    assert await story(client, name) == [*items(*texts), ("end", "completed", 12)]


async def test_a_run_whose_large_items_stayed_in_the_memo_replays(
    client: Client, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an earlier version left them."""
    name = unique("earlier")
    with monkeypatch.context() as earlier:
        earlier.setattr(records_module, "_MEMO_BYTES", 10**9)
        async with Worker(
            client,
            task_queue=name,
            workflows=[Varied],
            activities=[rest],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            handle = await client.start_workflow(Varied.run, [100_000], id=name, task_queue=name)
            await handle.result()
    assert (await handle.describe()).raw_info.memo.ByteSize() > 70_000
    await Replayer(workflows=[Varied]).replay_workflow(await handle.fetch_history())


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
