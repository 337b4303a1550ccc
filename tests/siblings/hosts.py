"""Hosts that do what their signals say: the sibling's workflow, and ours."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeAlias

from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy

from tests.read.hosts import hosting
from workflow_streams import WorkflowStream
from workflow_streams.log import wire

Handle: TypeAlias = WorkflowHandle[Any, Any]
Hosting: TypeAlias = Callable[[str], AbstractAsyncContextManager[Handle]]
"""Starts a workflow of that id; while in the block it is worked on. Its signals: `publish` some
values on topic "own", `truncate` up to an offset, and `order` "roll", "finish" or "fail"."""


def theirs(client: Client, queue: str) -> Hosting:
    """The sibling's workflow, which a worker of its own works on all the time."""

    @asynccontextmanager
    async def hosted(name: str) -> AsyncIterator[Handle]:
        await client.start_workflow("Host", {}, id=name, task_queue=queue)
        yield client.get_workflow_handle(name)

    return hosted


def ours(client: Client) -> Hosting:
    """Our workflow."""
    return lambda name: hosting(client, name)


async def done(handle: Handle) -> None:
    """Wait until a host has done what it was told."""
    await handle.query(wire.OFFSET_QUERY)


@workflow.defn
class SpeakerHost:
    """Has the sibling's activity publish to it, and ends when it is told to."""

    @workflow.init
    def __init__(self, activity_queue: str) -> None:
        self.stream = WorkflowStream()
        self.finished = False

    @workflow.run
    async def run(self, activity_queue: str) -> None:
        await workflow.execute_activity(
            "speak",
            task_queue=activity_queue,
            start_to_close_timeout=timedelta(minutes=1),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=50)),
        )
        await workflow.wait_condition(lambda: self.finished)

    @workflow.signal
    def finish(self) -> None:
        self.finished = True
