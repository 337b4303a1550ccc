"""A workflow that publishes from everywhere at once, and tells its log as it has it in memory."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field

from temporalio import workflow

from workflow_streams import WorkflowStream, WorkflowStreamState
from workflow_streams.wire import decode_payload


@dataclass
class ChaosInput:
    rolls: int = 2
    before: list[str] = field(default_factory=list)
    stream_state: WorkflowStreamState | None = None


@workflow.defn
class Chaos:
    @workflow.init
    def __init__(self, chaos: ChaosInput) -> None:
        self.stream = WorkflowStream(chaos.stream_state)
        self.carried = len(chaos.stream_state.log) if chaos.stream_state else 0
        self.own = self.stream.topic("own", type=str)
        self.finished = False
        self.own.publish("init")

    @workflow.run
    async def run(self, chaos: ChaosInput) -> list[str]:
        dice = workflow.random()

        async def background(k: int) -> None:
            for i in range(4):
                self.own.publish_many([f"background {k} {i} a", f"background {k} {i} b"])
                await workflow.sleep(dice.random() * 0.05)

        await asyncio.gather(*[background(k) for k in range(3)])
        await workflow.wait_condition(lambda: self.finished or chaos.rolls > 0)
        self.stream.detach_pollers()
        await workflow.wait_condition(workflow.all_handlers_finished)
        self.own.publish("last of this run")
        state = self.stream.get_state()
        log = self.stream._log.tail(sys.maxsize)  # pyright: ignore[reportPrivateUsage]
        seen = chaos.before + [
            decode_payload(item.data).data.decode() for item in log[self.carried :]
        ]
        if chaos.rolls > 0:
            workflow.continue_as_new(ChaosInput(chaos.rolls - 1, seen, state))
        return seen

    @workflow.signal
    async def handler(self, i: int) -> None:
        self.own.publish(f"handler {i} a")
        await workflow.sleep(0.001)
        self.own.publish(f"handler {i} b")

    @workflow.update
    async def update(self, i: int) -> int:
        self.own.publish(f"update {i}")
        return i

    @workflow.signal
    def finish(self) -> None:
        self.finished = True
