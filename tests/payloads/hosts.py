"""Workflows that publish values of many kinds, by themselves and by an activity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity, workflow

from workflow_streams import WorkflowStream, WorkflowStreamClient, WorkflowStreamState

with workflow.unsafe.imports_passed_through():
    from .codecs import Coordinates
    from .models import NOTHING, ORDER, PICTURE, REPORT, Order, Report


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


@activity.defn
async def take_order() -> None:
    async with WorkflowStreamClient.from_within_activity() as stream:
        stream.topic("orders", type=Order).publish(ORDER)


@workflow.defn
class Shop:
    """Publishes pydantic models, itself and by an activity."""

    @workflow.init
    def __init__(self) -> None:
        self.stream = WorkflowStream()
        self.closed = False

    @workflow.run
    async def run(self) -> None:
        self.stream.topic("orders", type=Order).publish_many([ORDER, ORDER])
        await workflow.execute_activity(take_order, start_to_close_timeout=timedelta(seconds=30))
        await workflow.wait_condition(lambda: self.closed)

    @workflow.signal
    def close(self) -> None:
        self.closed = True


@workflow.defn
class Place:
    """Publishes one value that only the worker's own payload converter knows."""

    @workflow.init
    def __init__(self) -> None:
        self.stream = WorkflowStream()
        self.closed = False

    @workflow.run
    async def run(self) -> None:
        self.stream.topic("places", type=Coordinates).publish(Coordinates(1, 2))
        self.stream.topic("names", type=str).publish("home")
        await workflow.wait_condition(lambda: self.closed)

    @workflow.signal
    def close(self) -> None:
        self.closed = True


@workflow.defn
class Gallery:
    """Publishes ready payloads, and values of types, on several topics."""

    @workflow.init
    def __init__(self) -> None:
        self.stream = WorkflowStream()
        self.closed = False

    @workflow.run
    async def run(self) -> None:
        self.stream.topic("pictures").publish(PICTURE)
        self.stream.topic("pictures").publish_many([NOTHING, PICTURE])
        self.stream.topic("reports", type=Report).publish(REPORT)
        await workflow.wait_condition(lambda: self.closed)

    @workflow.signal
    def close(self) -> None:
        self.closed = True
