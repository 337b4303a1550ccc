"""A run that does not go on where the run before it ended is an error for every reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from workflow_streams import Item, WorkflowStream, WorkflowStreamClient, WorkflowStreamState
from workflow_streams.errors import StreamCorruptedError

from .story import SECONDS, following, next_run, run_id_of, send


@workflow.defn(sandboxed=False)
class Forgetful:
    """Hands on a state of before, if it is told to forget."""

    @workflow.init
    def __init__(self, state: WorkflowStreamState | None) -> None:
        self.stream = WorkflowStream(state)
        self.order = ""
        self.before = self.stream.get_state()

    @workflow.run
    async def run(self, state: WorkflowStreamState | None) -> None:
        await workflow.wait_condition(lambda: self.order != "")
        if self.order == "forget":
            workflow.continue_as_new(args=[self.before])
        if self.order == "roll":
            await self.stream.continue_as_new(lambda handed_on: [handed_on])

    @workflow.signal
    def do(self, order: str) -> None:
        self.order = order


async def rolled(handle: WorkflowHandle[object, object], order: str) -> None:
    before = await run_id_of(handle)
    await handle.signal(Forgetful.do, order)
    await next_run(handle, before)


async def told(client: Client, name: str) -> list[object]:
    """What a new reader gets before the error."""
    seen: list[object] = []
    stream = WorkflowStreamClient.create(client, name)
    with pytest.raises(StreamCorruptedError, match="prior_state"):
        async for event in stream.follow():
            assert isinstance(event, Item)
            seen.append(event.data)
    return seen


@pytest.mark.parametrize("runs_after", [0, 1])
async def test_no_reader_takes_it_for_the_end(
    client: Client, unique: Callable[[str], str], runs_after: int
) -> None:
    name = unique("forgetful")
    async with Worker(client, task_queue=name, workflows=[Forgetful]):
        await client.start_workflow(Forgetful.run, None, id=name, task_queue=name)
        handle = client.get_workflow_handle(name)
        async with following(client, name) as connected:
            await send(client, name, "a", "b")
            await connected.count(2)
            await rolled(handle, "roll")
            assert await send(client, name, "c", "d") == [2, 3]
            await connected.count(4)
            await rolled(handle, "forget")
            with pytest.raises(StreamCorruptedError, match="prior_state"):
                await connected.end()
            assert [line[1] for line in connected.lines] == ["a", "b", "c", "d"]
        for _ in range(runs_after):
            await rolled(handle, "roll")
        # While it is open, and when it has ended.
        assert await asyncio.wait_for(told(client, name), SECONDS) == ["a", "b", "c", "d"]
        await handle.signal(Forgetful.do, "finish")
        await handle.result()
        assert await asyncio.wait_for(told(client, name), SECONDS) == ["a", "b", "c", "d"]
