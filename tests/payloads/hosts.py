"""Workflows that publish values of many kinds, by themselves and by an activity."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow

from workflow_streams import WorkflowStream, WorkflowStreamClient, WorkflowStreamState


@dataclass
class Secret:
    text: str
    level: int = 1


@dataclass
class VaultInput:
    rolls: int = 0
    stream_state: WorkflowStreamState | None = None


@activity.defn
async def whisper(text: str) -> int:
    async with WorkflowStreamClient.from_within_activity() as stream:
        secrets = stream.topic("activity-topic", type=Secret)
        secrets.publish(Secret(f"{text} by activity", 2))
        return await secrets.send(Secret(f"{text} acknowledged", 3))


@workflow.defn
class Vault:
    """Publishes a secret in each run, hosts until told to close, then rolls over or ends."""

    @workflow.init
    def __init__(self, vault: VaultInput) -> None:
        self.stream = WorkflowStream(vault.stream_state)
        self.closed = False
        self.own = self.stream.topic("own-topic", type=Secret)

    @workflow.run
    async def run(self, vault: VaultInput) -> None:
        self.own.publish(Secret("the eagle lands"))
        await workflow.execute_activity(
            whisper, "the eagle told", start_to_close_timeout=timedelta(seconds=30)
        )
        await workflow.wait_condition(lambda: self.closed)
        if vault.rolls:
            await self.stream.continue_as_new(lambda state: [VaultInput(vault.rolls - 1, state)])
        self.own.publish_many([Secret("the eagle left"), Secret("the nest is empty")])

    @workflow.signal
    def close(self) -> None:
        self.closed = True


@dataclass
class Values:
    values: list[Any] = field(default_factory=list)
