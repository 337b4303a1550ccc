"""Workflows whose streams the tests read through a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import temporalio.contrib.workflow_streams as contrib
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from workflow_streams import WorkflowStream, WorkflowStreamClient
from workflow_streams.log import wire


@workflow.defn(name="Talks", sandboxed=False)
class Talks:
    """Publishes what it is told to, until it is told how to end."""

    @workflow.init
    def __init__(self, keep_last: int | None = None) -> None:
        self.stream = WorkflowStream(keep_last=keep_last)
        self.outcome = ""

    @workflow.run
    async def run(self, keep_last: int | None = None) -> None:
        await workflow.wait_condition(lambda: self.outcome != "")
        if self.outcome == "fail":
            raise ApplicationError("secret of the workflow")

    @workflow.signal
    def say(self, topic: str, json_text: str) -> None:
        payload = Payload(metadata={"encoding": b"json/plain"}, data=json_text.encode())
        self.stream.topic(topic).publish(payload)

    @workflow.signal
    def say_raw(self, data: list[int]) -> None:
        payload = Payload(metadata={"encoding": b"binary/plain"}, data=bytes(data))
        self.stream.topic("raw").publish(payload)

    @workflow.signal
    def count(self, first: int, last: int) -> None:
        self.stream.topic("n", type=int).publish_many(list(range(first, last)))

    @workflow.signal
    async def truncate(self, offset: int) -> None:
        # In a run's first task, it does not see yet what has come with it.
        await workflow.wait_condition(lambda: self.stream.head >= offset)
        self.stream.truncate(offset)

    @workflow.signal
    def end(self, how: str) -> None:
        self.outcome = how


@activity.defn(name="stutter")
async def stutter() -> None:
    """Fails in the middle of what it says, once."""
    attempt = activity.info().attempt
    async with WorkflowStreamClient.from_within_activity() as stream:
        words = stream.topic("words", type=str)
        for word in ("one", "two"):
            await words.send(f"{word} of {attempt}")
        if attempt == 1:
            raise ApplicationError("once more")


@workflow.defn(name="Stutters", sandboxed=False)
class Stutters:
    """Runs an activity that is retried."""

    @workflow.init
    def __init__(self) -> None:
        WorkflowStream()
        self.go = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.go)
        await workflow.execute_activity(
            stutter,
            start_to_close_timeout=timedelta(seconds=20),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )

    @workflow.signal
    def start(self) -> None:
        self.go = True


@workflow.defn(name="ContribTalks", sandboxed=False)
class ContribTalks:
    """Hosted by the contrib."""

    @workflow.init
    def __init__(self) -> None:
        self.stream = contrib.WorkflowStream()
        self.done = False
        self.stream.topic("own", type=str).publish("first")

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.done)
        # Outside of the sandbox, the SDK's warning of an open poll fails the test's workflow.
        self.stream.detach_pollers()
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.signal
    def end(self) -> None:
        self.done = True


@workflow.defn(name="Quiet", sandboxed=False)
class Quiet:
    """Hosts no stream."""

    def __init__(self) -> None:
        self.done = False

    @workflow.run
    async def run(self) -> str:
        await workflow.wait_condition(lambda: self.done)
        return "secret result"

    @workflow.signal
    def end(self) -> None:
        self.done = True


HOSTS = [Talks, Stutters, ContribTalks, Quiet]


async def said(handle: WorkflowHandle[object, object], head: int) -> None:
    """Wait until the workflow has done what it was told, by which the stream has come to `head`."""
    assert await handle.query(wire.OFFSET_QUERY, result_type=int) == head


@asynccontextmanager
async def hosting(
    client: Client, kind: str, workflow_id: str, *arguments: object, **start: Any
) -> AsyncIterator[WorkflowHandle[object, object]]:
    """Run a worker with one workflow of this kind."""
    queue = f"queue of {workflow_id}"
    async with Worker(client, task_queue=queue, workflows=HOSTS, activities=[stutter]):
        handle = await client.start_workflow(
            kind, args=arguments, id=workflow_id, task_queue=queue, **start
        )
        try:
            yield handle
        finally:
            if (await handle.describe()).close_time is None:
                await handle.terminate()


async def ended(handle: WorkflowHandle[object, object]) -> None:
    """Wait until a workflow has closed."""
    while (await handle.describe()).close_time is None:
        await asyncio.sleep(0.02)
