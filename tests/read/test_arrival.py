"""Waiting for a workflow that has not been started yet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio.client import (
    Client,
    DescribeWorkflowInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowExecutionDescription,
)

from workflow_streams.embedded import EmbeddedServer
from workflow_streams.embedded.ports import free_port
from workflow_streams.errors import NamespaceNotFoundError, StreamNotFoundError
from workflow_streams.read import arrival
from workflow_streams.read.arrival import pause_after, wait_for_workflow
from workflow_streams.testing.fixtures import StreamServer

Unique = Callable[[str], str]


class Looks(Interceptor):
    """Counts the descriptions that a client asks for; give it to a client."""

    def __init__(self) -> None:
        self.begun = self.answered = self.active = self.most = 0
        self._news = asyncio.Condition()

    async def reach(self, answered: int) -> None:
        async with self._news:
            await self._news.wait_for(lambda: self.answered >= answered)

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        looks = self

        class Outbound(OutboundInterceptor):
            async def describe_workflow(
                self, input: DescribeWorkflowInput
            ) -> WorkflowExecutionDescription:
                looks.begun += 1
                looks.active += 1
                looks.most = max(looks.most, looks.active)
                try:
                    return await super().describe_workflow(input)
                finally:
                    looks.active -= 1
                    looks.answered += 1
                    async with looks._news:
                        looks._news.notify_all()

        return Outbound(next)


@pytest.fixture
def looks() -> Looks:
    return Looks()


@pytest.fixture
async def client(stream_server: StreamServer, looks: Looks) -> Client:
    return await stream_server.connect(interceptors=[looks])


@asynccontextmanager
async def started(client: Client, name: str) -> AsyncIterator[None]:
    """Start a workflow that no worker takes up."""
    handle = await client.start_workflow("Nothing", id=name, task_queue="nobody works here")
    try:
        yield
    finally:
        await handle.terminate()


def waiting(client: Client, name: str, seconds: float = 100) -> asyncio.Task[None]:
    return asyncio.create_task(wait_for_workflow(client, name, None, seconds))


async def test_it_returns_once_the_workflow_has_been_started(
    client: Client, looks: Looks, unique: Unique
) -> None:
    name = unique("late")
    task = waiting(client, name)
    await looks.reach(3)
    assert not task.done()
    async with started(client, name):
        await task
    # Closed by now, and there all the same.
    await wait_for_workflow(client, name, None, 0)


async def test_it_ends_with_an_error_when_the_time_is_over(
    client: Client, looks: Looks, unique: Unique
) -> None:
    name = unique("never")
    with pytest.raises(StreamNotFoundError) as caught:
        await wait_for_workflow(client, name, None, 0.2)
    assert caught.value.workflow_id == name
    assert "0.2 s" in str(caught.value)
    assert isinstance(caught.value.__cause__, StreamNotFoundError)
    before = looks.begun
    for seconds in (0, -1):
        with pytest.raises(StreamNotFoundError):
            await wait_for_workflow(client, name, None, seconds)
    assert looks.begun == before + 2


async def test_a_thousand_who_wait_for_one_workflow_cost_one_call_at_a_time(
    client: Client, looks: Looks, unique: Unique
) -> None:
    name = unique("late")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait_for_workflow(client, name, None, 100)) for _ in range(1000)]
        await looks.reach(4)
        assert not any(task.done() for task in tasks)
        async with started(client, name):
            await asyncio.wait(tasks)
    assert looks.most == 1
    assert looks.begun < 100


async def test_who_leaves_disturbs_nobody_and_the_last_one_ends_the_looking(
    client: Client, looks: Looks, unique: Unique
) -> None:
    name = unique("late")
    leaving, staying, hasty = waiting(client, name), waiting(client, name), waiting(client, name, 0)
    await looks.reach(2)
    leaving.cancel()
    await asyncio.wait({leaving, hasty})
    assert leaving.cancelled()
    assert isinstance(hasty.exception(), StreamNotFoundError)
    await looks.reach(looks.answered + 2)
    assert not staying.done()
    staying.cancel()
    await asyncio.wait({staying})
    assert arrival._arrivals.all_of(client.service_client) == []


async def test_who_comes_during_a_pause_and_whose_time_ends_in_one_has_the_server_asked(
    client: Client, looks: Looks, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "LOOKS_PER_SECOND", 0.001)  # pauses of many minutes
    name = unique("late")
    patient = waiting(client, name)
    await looks.reach(1)
    async with started(client, name):
        await waiting(client, name)
        await patient
    assert looks.begun == 2
    with pytest.raises(StreamNotFoundError):
        await waiting(client, unique("never"), 0.1)
    assert looks.begun == 4


def test_pauses_grow_with_the_time_and_with_what_is_waited_for() -> None:
    assert [pause_after(looks, 1) for looks in (1, 2, 3, 5, 6, 1000)] == [
        0.05, 0.1, 0.2, 0.8, 1.0, 1.0,
    ]  # fmt: skip
    for workflows in (100, 10_000):
        assert workflows / pause_after(1, workflows) == arrival.LOOKS_PER_SECOND


async def test_what_waiting_does_not_mend_is_raised_at_once(
    stream_server: StreamServer, unique: Unique
) -> None:
    client = await Client.connect(stream_server.address, namespace="no-such-namespace")
    with pytest.raises(NamespaceNotFoundError):
        await wait_for_workflow(client, unique("late"), None, 100)


@pytest.mark.processes
async def test_only_an_answer_of_the_server_tells_that_the_workflow_is_not_there(
    looks: Looks, unique: Unique, tmp_path: Any
) -> None:
    port = free_port()
    name = unique("late")
    client = await Client.connect(f"127.0.0.1:{port}", lazy=True, interceptors=[looks])
    task = waiting(client, name, 0.01)
    await looks.reach(2)
    assert not task.done()
    async with EmbeddedServer(port=port):
        with pytest.raises(StreamNotFoundError):
            await task
