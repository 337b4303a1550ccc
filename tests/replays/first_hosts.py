"""Workflows whose handlers meet their run's first task."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import temporalio.contrib.workflow_streams as contrib
from temporalio import workflow
from temporalio.common import RawValue

from workflow_streams import WorkflowStream, WorkflowStreamState


@dataclass
class KeeperInput:
    stream_state: WorkflowStreamState | None = None


@workflow.defn
class Keeper:
    """Keeps the last ten items, when it is told to."""

    @workflow.init
    def __init__(self, keeper: KeeperInput) -> None:
        self.stream = WorkflowStream(keeper.stream_state)
        self.own = self.stream.topic("own", type=int)
        self.seen: list[int] = []
        self.orders: list[str] = []

    @workflow.run
    async def run(self, keeper: KeeperInput) -> list[int]:
        await workflow.wait_condition(lambda: bool(self.orders))
        if self.orders[0] == "roll":
            await self.stream.continue_as_new(lambda state: [KeeperInput(state)])
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.seen

    @workflow.update
    def keep(self) -> int:
        self.own.publish(0)
        self.seen.append(self.stream.head)
        self.stream.truncate(max(0, self.stream.head - 10))
        return self.stream.head

    @workflow.signal
    async def branch(self) -> None:
        """Set a timer only if there is something."""
        self.seen.append(self.stream.head)
        if self.stream.head:
            await workflow.sleep(0.01)
        self.own.publish(1)

    @workflow.signal
    async def branch_later(self) -> None:
        """As the contrib advises: other signals of the task are handled first."""
        await asyncio.sleep(0)
        self.seen.append(self.stream.head)
        if self.stream.head:
            await workflow.sleep(0.01)

    @workflow.signal
    def order(self, what: str) -> None:
        self.orders.append(what)

    @workflow.query
    def sights(self) -> list[int]:
        return self.seen


@workflow.defn
class DynamicKeeper(Keeper):
    """Has a handler for signals of any name, which the SDK knows before the stream's."""

    @workflow.init
    def __init__(self, keeper: KeeperInput) -> None:
        super().__init__(keeper)

    @workflow.run
    async def run(self, keeper: KeeperInput) -> list[int]:
        return await super().run(keeper)

    @workflow.signal(dynamic=True)
    def other(self, name: str, args: Sequence[RawValue]) -> None:
        self.seen.append(-len(args))


class Registrar:
    """Registers handlers in its constructor, which do not look at the stream."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.timers = self.done = 0
        workflow.set_signal_handler("registered", self.registered)
        workflow.set_signal_handler(None, self.dynamic)

    async def registered(self, seconds: float) -> None:
        """Start a timer, and then a second one."""
        self.timers += 1
        await workflow.sleep(seconds)
        await workflow.sleep(seconds)
        self.done += 1

    def dynamic(self, name: str, args: Sequence[RawValue]) -> None:
        workflow.upsert_memo({"dynamic": name})

    @workflow.signal
    async def declared(self) -> None:
        workflow.upsert_memo({"declared": self.timers})

    @workflow.signal
    async def finish(self) -> None:
        await workflow.wait_condition(lambda: self.done == self.timers > 0)
        self.finished = True

    async def live(self) -> int:
        self.finished = False
        await workflow.wait_condition(lambda: self.finished)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.timers


@workflow.defn(name="Registrar")
class ContribRegistrar(Registrar):
    @workflow.init
    def __init__(self) -> None:
        super().__init__(contrib.WorkflowStream())

    @workflow.run
    async def run(self) -> int:
        return await self.live()


@workflow.defn(name="Registrar")
class OurRegistrar(Registrar):
    @workflow.init
    def __init__(self) -> None:
        super().__init__(WorkflowStream())

    @workflow.run
    async def run(self) -> int:
        return await self.live()


@workflow.defn
class Gatherer:
    """Looks at the stream in tasks that its handler begins, with an interceptor or not."""

    @workflow.init
    def __init__(self) -> None:
        self.stream = WorkflowStream()
        self.own = self.stream.topic("own", type=str)
        self.seen: list[int] = []
        self.finished = False
        workflow.set_signal_handler("registered", self.registered)

    @workflow.run
    async def run(self) -> list[int]:
        await workflow.wait_condition(lambda: self.finished)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return self.seen

    async def look(self) -> None:
        self.seen.append(self.stream.head)
        if self.stream.head:
            await workflow.sleep(0.01)

    @workflow.signal
    async def gather(self) -> None:
        await asyncio.gather(self.look(), self.look())
        await asyncio.wait_for(self.look(), 10)

    async def registered(self) -> None:
        """Comes after the stream's handler, and may truncate what that has taken in."""
        self.seen.append(self.stream.head)
        self.stream.truncate(1)
        self.own.publish("truncated")

    @workflow.signal
    def finish(self) -> None:
        self.finished = True

    @workflow.query
    def sights(self) -> list[int]:
        return self.seen


@dataclass
class LeaverInput:
    rolls: int = 1
    stream_state: WorkflowStreamState | None = None


@workflow.defn
class Leaver:
    """Publishes when it has continued as new already; cancels all other tasks before."""

    @workflow.init
    def __init__(self, leaver: LeaverInput) -> None:
        self.stream = WorkflowStream(leaver.stream_state)
        self.own = self.stream.topic("own", type=str)

    @workflow.run
    async def run(self, leaver: LeaverInput) -> None:
        current = asyncio.current_task()
        for task in asyncio.all_tasks():
            if task is not current:
                task.cancel()
        await asyncio.sleep(0)
        self.own.publish_many([f"{leaver.rolls} {i}" for i in range(2)])
        for i in range(1500):
            self.own.publish(f"{i}")
        if leaver.rolls:
            try:
                await self.stream.continue_as_new(
                    lambda state: [LeaverInput(leaver.rolls - 1, state)]
                )
            finally:
                self.own.publish("too late")
                self.stream.truncate(self.stream.head)
