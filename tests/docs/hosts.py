"""A workflow with all that can stand in a stream, for readers made of the docs' code."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from workflow_streams import WorkflowStream, WorkflowStreamClient, WorkflowStreamState


@activity.defn
async def stumble(text: str) -> None:
    """Publish, fail once, publish again."""
    async with WorkflowStreamClient.from_within_activity() as stream:
        topic = stream.topic("activity", type=str)
        topic.publish(f"{text} begun")
        if activity.info().attempt == 1:
            raise ApplicationError("stumbled")
        topic.publish(f"{text} done")


@dataclass
class MixedInput:
    rolls: int = 0
    truncate_to: int = 0
    stream_state: WorkflowStreamState | None = None


@workflow.defn
class Mixed:
    """Publishes, has an activity stumble, waits to be closed, rolls over, and does it again."""

    @workflow.init
    def __init__(self, mixed: MixedInput) -> None:
        self.stream = WorkflowStream(mixed.stream_state)
        self.own = self.stream.topic("own", type=str)
        self.own.publish("init")
        self.closed = False

    @workflow.run
    async def run(self, mixed: MixedInput) -> None:
        await workflow.execute_activity(
            stumble,
            str(mixed.rolls),
            start_to_close_timeout=timedelta(seconds=10),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )
        self.own.publish_many(["after", "activity"])
        await workflow.wait_condition(lambda: self.closed)
        if mixed.rolls:
            next_run = mixed.rolls - 1
            await self.stream.continue_as_new(
                lambda state: [MixedInput(next_run, mixed.truncate_to, state)]
            )
        if mixed.truncate_to:
            self.stream.truncate(mixed.truncate_to)
        self.own.publish("last")

    @workflow.signal
    def close(self) -> None:
        self.closed = True


@workflow.defn
class Hello:
    """Says hello."""

    @workflow.init
    def __init__(self) -> None:
        self.words = WorkflowStream().topic("words", type=str)

    @workflow.run
    async def run(self) -> None:
        self.words.publish("hello")


@workflow.defn
class Parent:
    """Hosts a stream, and has a child of the given type ship."""

    @workflow.init
    def __init__(self, child: str) -> None:
        self.stream = WorkflowStream()

    @workflow.run
    async def run(self, child: str) -> None:
        await workflow.execute_child_workflow(child)
