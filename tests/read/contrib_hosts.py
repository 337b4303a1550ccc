"""Workflows that host streams in their worker's memory, as the contrib does."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

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


@dataclass
class Carried:
    log: list[dict[str, Any]] = field(default_factory=list)
    base: int = 0


MUTE: set[str] = set()
"""Workflows of `OtherLanguage` that answer no query."""

TASK_SECONDS = 1.0
"""How long the task takes by which an `OtherLanguage` rolls over or pauses."""


@workflow.defn(sandboxed=False)
class OtherLanguage:
    """Serves polls and the offset, as the contrib of other languages does; no poll query."""

    @workflow.init
    def __init__(self, carried: Carried | None = None) -> None:
        self.log = carried.log if carried is not None else []
        self.base = carried.base if carried is not None else 0
        self.finished = self.rolling = False

    @workflow.run
    async def run(self, carried: Carried | None = None) -> None:
        await workflow.wait_condition(lambda: self.finished or self.rolling)
        if self.rolling:
            if not workflow.unsafe.is_replaying():
                time.sleep(TASK_SECONDS)
            workflow.continue_as_new(Carried(self.log, self.base))

    @property
    def head(self) -> int:
        return self.base + len(self.log)

    @workflow.signal(name="__temporal_workflow_stream_publish")
    def on_publish(self, batch: contrib.PublishInput) -> None:
        for entry in batch.items:
            self.log.append({"topic": entry.topic, "data": entry.data, "offset": self.head})

    @workflow.update(name="__temporal_workflow_stream_poll")
    async def on_poll(self, poll: contrib.PollInput) -> Page:
        start = poll.from_offset
        await workflow.wait_condition(
            lambda: 0 < start < self.base or self.head > max(start, self.base)
        )
        if 0 < start < self.base:
            raise ApplicationError("truncated", type="TruncatedOffset", non_retryable=True)
        items = self.log[max(0, start - self.base) :]
        if poll.topics:
            items = [item for item in items if item["topic"] in poll.topics]
        return Page(items, self.head)

    @workflow.query(name="__temporal_workflow_stream_offset")
    def offset(self) -> int:
        if workflow.info().workflow_id in MUTE:
            raise ApplicationError("java.lang.IllegalStateException: at the workflow's end")
        return self.head

    @workflow.signal
    def truncate(self, up_to: int) -> None:
        self.log = self.log[up_to - self.base :]
        self.base = up_to

    @workflow.signal
    def pause(self) -> None:
        if not workflow.unsafe.is_replaying():
            time.sleep(TASK_SECONDS)

    @workflow.signal
    def roll(self) -> None:
        self.rolling = True

    @workflow.signal
    def finish(self) -> None:
        self.finished = True
