"""A workflow that publishes from everywhere at once, and tells its log as it had it in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

from workflow_streams import WorkflowStream, WorkflowStreamClient, WorkflowStreamState
from workflow_streams.log.wire import Entry

WINDOW = 30
"""How many items a truncation leaves, and how many a ring buffer holds."""


@dataclass
class ChaosInput:
    """How often it rolls over, and whether it keeps all, truncates, or is a ring buffer."""

    rolls: int = 2
    mode: str = "all"
    before: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    stream_state: WorkflowStreamState | None = None


@dataclass
class ChaosResult:
    """Offset and value of every item, where the retained ones begin, and what was no batch."""

    memory: list[tuple[int, str]]
    base: int
    malformed: int


class Remembering(WorkflowStream):
    """Keeps what its log in memory took in, also when that has been truncated."""

    def __init__(self, *arguments: Any, **how: Any) -> None:
        super().__init__(*arguments, **how)
        self.memory: list[tuple[int, str]] = []
        self.append = self._copy.append
        self._copy.append = self.remember

    def remembered(self) -> list[tuple[int, str]]:
        """Offset and value of each item of this run, with those of the current task."""
        self._order.settle(now=True)
        return self.memory

    def remember(self, entries: Sequence[Entry]) -> None:
        values = [data.decode() for _, _, data in entries]
        self.memory.extend(enumerate(values, self._copy.fold.head - len(entries)))
        self.append(entries)


@activity.defn
async def flaky(label: str) -> None:
    """Publish, and fail at the first attempt."""
    attempt = activity.info().attempt
    async with WorkflowStreamClient.from_within_activity() as stream:
        for i in range(3):
            await stream.topic("out", type=str).send(f"{label} {attempt} {i}")
    if attempt == 1:
        raise RuntimeError("as meant")


@workflow.defn
class Chaos:
    @workflow.init
    def __init__(self, chaos: ChaosInput) -> None:
        keep_last = WINDOW if chaos.mode == "ring" else None
        self.stream = Remembering(chaos.stream_state, keep_last=keep_last)
        self.truncates = chaos.mode == "truncate"
        self.own = self.stream.topic("own", type=str)
        self.finished = False
        self.own.publish("init")

    @workflow.run
    async def run(self, chaos: ChaosInput) -> ChaosResult:
        dice = workflow.random()

        async def background(k: int) -> None:
            for i in range(4):
                self.own.publish_many([f"background {k} {i} a", f"background {k} {i} b"])
                self.truncate()
                await workflow.sleep(dice.random() * 0.05)

        await asyncio.gather(
            *[background(k) for k in range(3)],
            workflow.execute_activity(
                flaky,
                f"run {chaos.rolls} attempt",
                start_to_close_timeout=timedelta(seconds=5),
                retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
            ),
        )
        await workflow.wait_condition(lambda: self.finished or chaos.rolls > 0)
        self.stream.detach_pollers()
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.own.publish("last of this run")
        state = self.stream.get_state()
        seen = chaos.before + self.stream.remembered()
        if chaos.rolls > 0:
            workflow.continue_as_new(ChaosInput(chaos.rolls - 1, chaos.mode, seen, state))
        return ChaosResult(seen, self.stream.base, self.stream.malformed)

    def truncate(self) -> None:
        if self.truncates:
            self.stream.truncate(max(0, self.stream.head - WINDOW))

    @workflow.signal
    async def handler(self, i: int) -> None:
        self.own.publish(f"handler {i} a")
        self.truncate()
        await workflow.sleep(0.001)
        self.own.publish(f"handler {i} b")

    @workflow.update
    async def update(self, i: int) -> int:
        self.own.publish(f"update {i}")
        self.truncate()
        return i

    @workflow.signal
    def finish(self) -> None:
        self.finished = True
