"""Workflow whose activity tells words, and goes on telling them when it has been given up."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

from workflow_streams import WorkflowStream, WorkflowStreamClient
from workflow_streams.errors import FencedError


@dataclass
class TellerInput:
    count: int = 3


@workflow.defn
class Teller:
    """Publishes a word, runs `tell`, waits to be told to finish, and publishes another."""

    @workflow.init
    def __init__(self, teller: TellerInput) -> None:
        self.stream = WorkflowStream()
        self.own = self.stream.topic("own", type=str)
        self.finished = False

    @workflow.run
    async def run(self, teller: TellerInput) -> None:
        self.own.publish("begin")
        await workflow.execute_activity(
            tell,
            teller.count,
            start_to_close_timeout=timedelta(seconds=60),
            heartbeat_timeout=timedelta(seconds=1),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )
        await workflow.wait_condition(lambda: self.finished)
        self.own.publish("end")

    @workflow.signal
    def finish(self) -> None:
        self.finished = True


@activity.defn
async def tell(count: int) -> None:
    """Publish words that name the attempt; the first attempt then waits for standard input."""
    attempt = activity.info().attempt
    telling = asyncio.create_task(publish_words(attempt, count))
    # The SDK cancels an attempt that has timed out. A zombie does not hear that.
    await (asyncio.shield(telling) if attempt == 1 else telling)


async def publish_words(attempt: int, count: int) -> None:
    async with WorkflowStreamClient.from_within_activity() as stream:
        topic = stream.topic("told", type=str)
        for number in range(count):
            await topic.send(f"{attempt}-{number}")
            activity.heartbeat()
        if attempt > 1:
            return
        topic.publish("1-unacknowledged")
        await asyncio.to_thread(sys.stdin.readline)
        topic.publish("1-late")
        await stream.flush()
        try:
            await topic.send("1-late and acknowledged")
        except FencedError:
            print("fenced", flush=True)
