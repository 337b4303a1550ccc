"""Workflow without a stream of its own, whose activity publishes to one, for the fault tests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

from workflow_streams import WorkflowStreamClient

from .hosts import Host


@dataclass
class ChildInput:
    """Where to publish to, how often to try, and whether that one rolls over in between."""

    to: str | None = None
    attempts: int = 1
    rolls: bool = False


STREAMS: dict[tuple[str, int], WorkflowStreamClient] = {}
"""By child and attempt."""


@workflow.defn
class Child:
    @workflow.run
    async def run(self, child: ChildInput) -> None:
        await workflow.execute_activity(
            tell_home,
            child,
            start_to_close_timeout=timedelta(seconds=100),
            retry_policy=RetryPolicy(
                initial_interval=timedelta(milliseconds=10), maximum_attempts=child.attempts
            ),
        )


@activity.defn
async def tell_home(child: ChildInput) -> None:
    info = activity.info()
    stream = WorkflowStreamClient.from_within_activity(workflow_id=child.to)
    assert info.workflow_id is not None
    STREAMS[info.workflow_id, info.attempt] = stream
    async with stream:
        stream.topic("told").publish(f"attempt {info.attempt}")
    if info.attempt < child.attempts:
        if child.rolls:
            assert child.to is not None
            await roll(child.to)
        raise ApplicationError("fails")


async def roll(workflow_id: str) -> None:
    """Have a Host continue as new, and wait until it has."""
    handle = activity.client().get_workflow_handle(workflow_id)
    before = (await handle.describe()).run_id
    await handle.signal(Host.roll)
    while (await handle.describe()).run_id == before:
        await asyncio.sleep(0.01)
