"""Workflows that host streams in their worker's memory, as the contrib does."""

from __future__ import annotations

from dataclasses import dataclass, field

import temporalio.contrib.workflow_streams as contrib
from temporalio import workflow
from temporalio.exceptions import ApplicationError


@dataclass
class ContribInput:
    stream_state: contrib.WorkflowStreamState | None = None
    fails_first: bool = False


@workflow.defn
class ContribHost:
    @workflow.init
    def __init__(self, host: ContribInput) -> None:
        self.stream = contrib.WorkflowStream(host.stream_state)
        self.own = self.stream.topic("own", type=str)
        self.orders: list[str] = []

    @workflow.run
    async def run(self, host: ContribInput) -> str:
        await workflow.wait_condition(lambda: bool(self.orders))
        order = self.orders[0]
        if order == "roll":
            await self.stream.continue_as_new(lambda state: [ContribInput(state)])
        if order == "fail":
            raise ApplicationError("as told")
        if order == "last words":
            for i in range(3):
                self.own.publish(f"last {i}")
        return "done"

    @workflow.signal
    def publish(self, values: list[str]) -> None:
        for value in values:
            self.own.publish(value)

    @workflow.signal
    def truncate(self, up_to: int) -> None:
        self.stream.truncate(up_to)

    @workflow.signal
    def order(self, what: str) -> None:
        self.orders.append(what)


@dataclass
class Page:
    items: list[dict[str, object]] = field(default_factory=list)
    next_offset: int = 0
    more_ready: bool = False


@workflow.defn
class OtherLanguage:
    """Serves polls and the offset, as the contrib of other languages does; no poll query."""

    def __init__(self) -> None:
        self.log: list[dict[str, object]] = []
        self.finished = False

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: self.finished)

    @workflow.signal(name="__temporal_workflow_stream_publish")
    def on_publish(self, batch: contrib.PublishInput) -> None:
        for entry in batch.items:
            self.log.append({"topic": entry.topic, "data": entry.data, "offset": len(self.log)})

    @workflow.update(name="__temporal_workflow_stream_poll")
    async def on_poll(self, poll: contrib.PollInput) -> Page:
        await workflow.wait_condition(lambda: len(self.log) > poll.from_offset)
        return Page(self.log[poll.from_offset :], len(self.log))

    @workflow.query(name="__temporal_workflow_stream_offset")
    def offset(self) -> int:
        return len(self.log)

    @workflow.signal
    def finish(self) -> None:
        self.finished = True
