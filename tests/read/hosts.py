"""Workflows that host streams, and one that does not, for the tests of reading."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from workflow_streams import WorkflowStream, WorkflowStreamState


@dataclass
class HostInput:
    """How a Host behaves: it fails in its first attempts, or finishes without being told."""

    stream_state: WorkflowStreamState | None = None
    keep_last: int | None = None
    failing_attempts: int = 0
    finishes: bool = False


@workflow.defn
class Host:
    """Does what its signals say; each `str` that it publishes itself goes to topic "own"."""

    @workflow.init
    def __init__(self, host: HostInput) -> None:
        self.stream = WorkflowStream(host.stream_state, keep_last=host.keep_last)
        self.own = self.stream.topic("own", type=str)
        self.orders: list[str] = []

    @workflow.run
    async def run(self, host: HostInput) -> str:
        if workflow.info().attempt <= host.failing_attempts:
            await workflow.wait_condition(lambda: "fail" in self.orders)
            raise ApplicationError("as told", type="Told")
        if not host.finishes:
            await workflow.wait_condition(lambda: bool(self.orders))
        order = self.orders[0] if self.orders else "finish"
        if order == "roll":
            await self.stream.continue_as_new(
                lambda state: [HostInput(state, host.keep_last, host.failing_attempts)]
            )
        if order == "leave":
            # Nobody works on that queue until a test says so.
            state = self.stream.get_state()
            workflow.continue_as_new(
                args=[HostInput(state, host.keep_last)],
                task_queue=f"{workflow.info().task_queue} 2",
            )
        if order == "fail":
            raise ApplicationError("as told", type="Told")
        return "done"

    @workflow.signal
    def publish(self, values: list[str]) -> None:
        self.own.publish_many(values)

    @workflow.signal
    def truncate(self, up_to: int) -> None:
        self.stream.truncate(up_to)

    @workflow.update
    def truncate_now(self, up_to: Any) -> None:
        self.stream.truncate(up_to)

    @workflow.signal
    def order(self, what: str) -> None:
        self.orders.append(what)


@workflow.defn
class Idler:
    """Hosts no stream."""

    def __init__(self) -> None:
        self.done = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.done)

    @workflow.signal
    def finish(self) -> None:
        self.done = True


def worker(client: Client, queue: str, **how: Any) -> Worker:
    """A worker whose tasks do not wait for one that has gone."""
    how.setdefault("workflows", [Host, Idler])
    return Worker(
        client,
        task_queue=queue,
        sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=100),
        **how,
    )


@asynccontextmanager
async def hosting(
    client: Client, name: str, host: HostInput | None = None, **start: Any
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """Run a Host and its worker; yield a handle that means the current run."""
    async with worker(client, name):
        await client.start_workflow(
            Host.run, host or HostInput(), id=name, task_queue=name, **start
        )
        yield client.get_workflow_handle(name)
