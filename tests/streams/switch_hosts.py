"""A workflow that hosts its stream with either package, to be switched in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import temporalio.contrib.workflow_streams as contrib
from temporalio import workflow

import workflow_streams as ours


class Host:
    """What both hosts do, but for the package that the stream is of."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.own = self.stream.topic("own", type=str)
        self.orders: list[str] = []
        self.own.publish("init")

    async def live(self, next_input: Callable[[Any], Any]) -> None:
        await workflow.wait_condition(lambda: bool(self.orders))
        if self.orders[0] == "roll":
            await self.stream.continue_as_new(lambda state: [next_input(state)])
        if self.orders[0] == "leave":
            # Nobody works on that queue until a test says so.
            self.stream.detach_pollers()
            await workflow.wait_condition(workflow.all_handlers_finished)
            workflow.continue_as_new(
                args=[next_input(self.stream.get_state())],
                task_queue=f"{workflow.info().task_queue} 2",
            )
        self.own.publish("last")

    @workflow.signal
    async def work(self) -> None:
        """Publish beside commands, in one task and over two."""
        self.own.publish("before")
        await workflow.sleep(0.01)
        self.own.publish("after")

    @workflow.signal
    def truncate(self, up_to: int) -> None:
        self.stream.truncate(up_to)

    @workflow.signal
    def order(self, what: str) -> None:
        self.orders.append(what)


@dataclass
class ContribInput:
    stream_state: contrib.WorkflowStreamState | None = None
    keep_last: int | None = None


@dataclass
class OurInput:
    stream_state: ours.WorkflowStreamState | None = None
    keep_last: int | None = None


@workflow.defn(name="Host")
class ContribHost(Host):
    @workflow.init
    def __init__(self, host: ContribInput) -> None:
        super().__init__(contrib.WorkflowStream(host.stream_state))

    @workflow.run
    async def run(self, host: ContribInput) -> None:
        await self.live(lambda state: ContribInput(state, host.keep_last))


@workflow.defn(name="Host")
class OurHost(Host):
    @workflow.init
    def __init__(self, host: OurInput) -> None:
        super().__init__(ours.WorkflowStream(host.stream_state, keep_last=host.keep_last))

    @workflow.run
    async def run(self, host: OurInput) -> None:
        await self.live(lambda state: OurInput(state, host.keep_last))
