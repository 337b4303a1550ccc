"""Workflow that hosts a stream until it is told to close, for the fault tests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from workflow_streams import WorkflowStream, WorkflowStreamState

TASK_TIMEOUT = timedelta(seconds=1)
"""Of workflow tasks that die with their worker or server; by default they are missed 10 s."""


@dataclass
class HostInput:
    stream_state: WorkflowStreamState | None = None
    keep_last: int | None = None


@workflow.defn
class Host:
    @workflow.init
    def __init__(self, host: HostInput) -> None:
        self.stream = WorkflowStream(host.stream_state, keep_last=host.keep_last)
        self.own = self.stream.topic("own", type=str)
        self.closed = False
        self.rolls = False

    @workflow.run
    async def run(self, host: HostInput) -> int:
        await workflow.wait_condition(lambda: self.closed or self.rolls)
        if self.rolls:
            await self.stream.continue_as_new(lambda state: [HostInput(state, host.keep_last)])
        return self.stream.head

    @workflow.signal
    def publish(self, value: str) -> None:
        self.own.publish(value)

    @workflow.signal
    def publish_bytes(self, count: int) -> None:
        self.stream.topic("large", type=str).publish("x" * count)

    @workflow.signal
    def truncate(self, up_to: int) -> None:
        self.stream.truncate(up_to)

    @workflow.signal
    def work(self, seconds: float) -> None:
        """Hold the workflow task up."""
        with workflow.unsafe.sandbox_unrestricted():
            time.sleep(seconds)

    @workflow.signal
    def roll(self) -> None:
        self.rolls = True

    @workflow.signal
    def close(self) -> None:
        self.closed = True

    @workflow.query
    def malformed(self) -> int:
        return self.stream.malformed


async def start_host(client: Client, name: str, host: HostInput | None = None) -> str:
    """Start a Host workflow on the task queue of its own name; return the workflow's id."""
    await client.start_workflow(
        Host.run, host or HostInput(), id=name, task_queue=name, task_timeout=TASK_TIMEOUT
    )
    return name


@asynccontextmanager
async def hosting(client: Client, name: str, host: HostInput | None = None) -> AsyncIterator[str]:
    """Run a Host workflow and its worker; yield the workflow's id."""
    async with Worker(client, task_queue=name, workflows=[Host]):
        yield await start_host(client, name, host)
