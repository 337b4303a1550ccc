"""Activities of workflows that host no stream: told so, and led to the stream of another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.worker import Worker

from workflow_streams import End, Item, Rewind, WorkflowStreamClient, errors
from workflow_streams.events import Event

from .families import STREAMS, Child, ChildInput, tell_home
from .hosts import Host, hosting
from .test_network import publish_signals


@asynccontextmanager
async def families(client: Client, name: str) -> AsyncIterator[str]:
    async with Worker(client, task_queue=name, workflows=[Child], activities=[tell_home]):
        yield name


async def story(client: Client, workflow_id: str) -> list[Event[Any]]:
    await client.get_workflow_handle(workflow_id).signal(Host.close)
    stream = WorkflowStreamClient.create(client, workflow_id)
    return [event async for event in stream.follow()]


async def test_publishing_to_a_workflow_without_a_stream_is_an_error(
    client: Client, unique: Any
) -> None:
    async with families(client, unique("child")) as name:
        with pytest.raises(WorkflowFailureError) as failed:
            await client.execute_workflow(Child.run, ChildInput(), id=name, task_queue=name)
        error = failed.value.cause.__cause__
        assert "1 item(s) were not delivered" in str(error)
        assert f"Workflow {name!r}: hosts no stream" in str(error)
        assert "from_within_activity(workflow_id=...)" in str(error)
        assert await publish_signals(client, name) == []


async def test_every_publisher_is_told_and_one_that_publishes_nothing_is_not(
    client: Client, unique: Any
) -> None:
    """The workflow waits for an activity that nobody runs."""
    name = unique("child")
    async with Worker(client, task_queue=name, workflows=[Child]):
        handle = await client.start_workflow(Child.run, ChildInput(), id=name, task_queue=name)
        while (await handle.describe()).raw_description.pending_activities == []:
            await asyncio.sleep(0.01)
        for _ in range(2):
            stream = WorkflowStreamClient.create(client, name)
            async with stream:
                pass
            with pytest.raises(errors.PublishError) as raised:
                async with stream:
                    stream.topic("t").publish("lost")
            assert isinstance(raised.value.__cause__, errors.StreamNotFoundError)
            assert (raised.value.undelivered, raised.value.uncertain) == (1, 0)
            with pytest.raises(errors.StreamNotFoundError, match="hosts no stream"):
                await stream.topic("t").send("lost")
        await handle.terminate()


async def test_activity_publishes_to_the_stream_of_another_workflow_attempt_by_attempt(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as host, families(client, unique("child")) as name:
        child = ChildInput(host, attempts=2)
        await client.execute_workflow(Child.run, child, id=name, task_queue=name)
        with pytest.raises(errors.FencedError, match="attempt 2"):
            await STREAMS[name, 1].topic("told").send("late")
        first, rewind, second, end = await story(client, host)
        assert isinstance(first, Item)
        assert isinstance(second, Item)
        assert [(i.offset, i.data) for i in (first, second)] == [(0, "attempt 1"), (1, "attempt 2")]
        assert isinstance(rewind, Rewind)
        assert (rewind.ranges, rewind.reason, rewind.attempt) == ((range(1),), "attempt", 2)
        assert isinstance(end, End)


async def test_attempts_count_where_the_stream_rolls_over_between_them(
    client: Client, unique: Any
) -> None:
    """The new run is told which offsets of the run before are the attempt's."""
    async with hosting(client, unique("host")) as host, families(client, unique("child")) as name:
        child = ChildInput(host, attempts=2, rolls=True)
        await client.execute_workflow(Child.run, child, id=name, task_queue=name)
        with pytest.raises(errors.FencedError, match="attempt 2"):
            await STREAMS[name, 1].topic("told").send("late")
        first, rewind, second, _ = await story(client, host)
        assert isinstance(first, Item)
        assert isinstance(second, Item)
        assert [(i.offset, i.data) for i in (first, second)] == [(0, "attempt 1"), (1, "attempt 2")]
        assert isinstance(rewind, Rewind)
        assert (rewind.ranges, rewind.reason, rewind.attempt) == ((range(1),), "attempt", 2)
