"""Workflows whose streams the viewer's tests look at."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from workflow_streams import WorkflowStream, WorkflowStreamClient, WorkflowStreamState

TASK_QUEUE = f"viewer-tests-{uuid.uuid4().hex[:8]}"


@dataclass
class HostInput:
    stream_state: WorkflowStreamState | None = None


@workflow.defn
class ShownHost:
    """Hosts a stream until it is told how to end."""

    @workflow.init
    def __init__(self, host: HostInput) -> None:
        self.stream = WorkflowStream(host.stream_state)
        self.order = ""

    @workflow.run
    async def run(self, host: HostInput) -> None:
        await workflow.wait_condition(lambda: bool(self.order) or self.stream.rollover_due)
        if self.order == "fail":
            raise ApplicationError("card declined", non_retryable=True)
        if self.order != "close":
            await self.stream.continue_as_new(lambda state: [HostInput(state)])

    @workflow.signal
    def tell(self, order: str) -> None:
        self.order = order

    @workflow.signal
    async def truncate(self, up_to: int) -> None:
        # In a run's first task, it does not see yet what has come with it.
        await workflow.wait_condition(lambda: self.stream.head >= up_to)
        self.stream.truncate(up_to)


@dataclass
class Script:
    """What each attempt of the writer writes; all but the last fail when told to go on."""

    attempts: list[list[str]]


class Writers:
    """The activity that writes, and a word to each attempt when it may end."""

    def __init__(self) -> None:
        self._may_end: dict[tuple[str, int], asyncio.Event] = {}

    def may_end(self, workflow_id: str, attempt: int) -> asyncio.Event:
        return self._may_end.setdefault((workflow_id, attempt), asyncio.Event())

    @activity.defn
    async def write(self, script: Script) -> None:
        info = activity.info()
        assert info.workflow_id is not None
        async with WorkflowStreamClient.from_within_activity() as stream:
            for piece in script.attempts[info.attempt - 1]:
                stream.topic("delta").publish({"text": piece})
            await stream.flush()
            await self.may_end(info.workflow_id, info.attempt).wait()
            if info.attempt < len(script.attempts):
                raise RuntimeError("the provider has gone")


@workflow.defn
class ShownWriter:
    """Hosts what its activity writes."""

    @workflow.init
    def __init__(self, script: Script) -> None:
        WorkflowStream()

    @workflow.run
    async def run(self, script: Script) -> None:
        await workflow.execute_activity_method(
            Writers.write,
            script,
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=50), backoff_coefficient=1
            ),
        )


class Hosts:
    """Starts streams and publishes to them."""

    def __init__(self, client: Client, writers: Writers) -> None:
        self.client = client
        self.writers = writers

    async def host(self, workflow_id: str) -> WorkflowHandle[Any, Any]:
        return await self.client.start_workflow(
            ShownHost.run, HostInput(), id=workflow_id, task_queue=TASK_QUEUE
        )

    async def writer(self, workflow_id: str, *attempts: list[str]) -> WorkflowHandle[Any, Any]:
        return await self.client.start_workflow(
            ShownWriter.run, Script(list(attempts)), id=workflow_id, task_queue=TASK_QUEUE
        )

    async def publish(self, workflow_id: str, *items: tuple[str, Any]) -> None:
        async with WorkflowStreamClient.create(self.client, workflow_id) as stream:
            for topic, value in items:
                stream.topic(topic).publish(value)

    async def numbers(self, workflow_id: str, start: int, end: int, topic: str = "n") -> None:
        async with WorkflowStreamClient.create(self.client, workflow_id) as stream:
            for n in range(start, end):
                stream.topic(topic).publish(n)
                if n % 5000 == 4999:
                    await stream.flush()


@asynccontextmanager
async def running_hosts(client: Client) -> AsyncIterator[Hosts]:
    writers = Writers()
    async with Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[ShownHost, ShownWriter],
        activities=[writers.write],
    ):
        yield Hosts(client, writers)
