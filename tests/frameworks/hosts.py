"""Workflows that run one activity, on a stream of either package."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import temporalio.contrib.workflow_streams as contrib
from temporalio import workflow
from temporalio.common import RetryPolicy

import workflow_streams as ours

ONCE_MORE = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=2)


@dataclass
class Task:
    """The activity to run.

    Attributes:
        activity: Its name.
        argument: What it gets.
        seconds: Its start-to-close timeout.
    """

    activity: str
    argument: str = ""
    seconds: float = 60


async def run(task: Task) -> None:
    await workflow.execute_activity(
        task.activity,
        task.argument,
        start_to_close_timeout=timedelta(seconds=task.seconds),
        retry_policy=ONCE_MORE,
    )


@workflow.defn
class OurHost:
    @workflow.init
    def __init__(self, task: Task) -> None:
        self.stream = ours.WorkflowStream()

    @workflow.run
    async def run(self, task: Task) -> None:
        await run(task)


@workflow.defn
class ContribHost:
    @workflow.init
    def __init__(self, task: Task) -> None:
        self.stream = contrib.WorkflowStream()

    @workflow.run
    async def run(self, task: Task) -> None:
        await run(task)
