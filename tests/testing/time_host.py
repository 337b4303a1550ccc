"""Workflows that take their time, for servers that skip it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from workflow_streams import WorkflowStream, WorkflowStreamClient, WorkflowStreamState


@dataclass
class Reminders:
    runs: int = 2
    stream_state: WorkflowStreamState | None = None


@workflow.defn
class Reminder:
    """Publishes once a day for three days, then rolls over, as often as it is told."""

    @workflow.init
    def __init__(self, reminders: Reminders) -> None:
        self.stream = WorkflowStream(reminders.stream_state)
        self.days = self.stream.topic("days", type=int)

    @workflow.run
    async def run(self, reminders: Reminders) -> str:
        for _ in range(3):
            await asyncio.sleep(timedelta(days=1).total_seconds())
            self.days.publish(self.stream.head)
        if reminders.runs > 1:
            await self.stream.continue_as_new(lambda state: [Reminders(reminders.runs - 1, state)])
        return "reminded"


@activity.defn
async def write(text: str) -> None:
    async with WorkflowStreamClient.from_within_activity() as stream:
        words = stream.topic("words", type=str)
        for word in text.split():
            words.publish(word)
        if activity.info().attempt == 1:
            await stream.flush()
            raise ApplicationError("the pen broke")
        await words.send("end")


@workflow.defn
class Writer:
    @workflow.init
    def __init__(self, text: str) -> None:
        self.status = WorkflowStream().topic("status", type=str)

    @workflow.run
    async def run(self, text: str) -> None:
        self.status.publish("writing")
        await workflow.execute_activity(
            write,
            text,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(initial_interval=timedelta(hours=1)),
        )


@workflow.defn
class Open:
    """Hosts until it is told to close, as the stream of a test that publishes itself."""

    @workflow.init
    def __init__(self) -> None:
        self.stream = WorkflowStream(keep_last=4)
        self.closed = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.closed)

    @workflow.signal
    def close(self) -> None:
        self.closed = True
