"""A workflow whose handlers look at all that a stream shows, and act on what they see."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow

from workflow_streams import ExternalWorkflowStream, WorkflowStream, WorkflowStreamState

Sight = list[Any]


@dataclass
class MixInput:
    """How the workflow behaves.

    Attributes:
        rolls: How often it may still roll over; it does so when it is told to.
        keep_last: Size of the ring buffer, if the stream is one.
        own_handlers: Whether it registers handlers of its own in its constructor.
        own_task: Whether it begins a task there.
        patch: Whether its own code has a patch in the first task.
        other: Another workflow to whose stream it publishes as well, if any.
    """

    rolls: int = 0
    keep_last: int | None = None
    own_handlers: bool = False
    own_task: bool = False
    patch: bool = False
    other: str | None = None
    stream_state: WorkflowStreamState | None = None


@dataclass
class MixResult:
    """What the last run saw."""

    seen: list[Sight] = field(default_factory=list[Sight])


@activity.defn
async def nap(seconds: float) -> None:
    """Sleep."""
    await asyncio.sleep(seconds)


@workflow.defn
class Mix:
    """What its handlers do depends on the head and base that they see."""

    @workflow.init
    def __init__(self, mix: MixInput) -> None:
        self.input = mix
        self.stream = WorkflowStream(mix.stream_state, keep_last=mix.keep_last)
        self.own = self.stream.topic("own", type=str)
        self.seen: list[Sight] = []
        self.rolling = self.finishing = False
        self.sleepers: list[asyncio.Task[None]] = []
        self.other = None if mix.other is None else ExternalWorkflowStream(mix.other)
        self.told = 0
        self.own.publish("init")
        self.look("init")
        if mix.own_handlers:
            workflow.set_signal_handler("registered", self.registered)
            workflow.set_update_handler("registered update", self.registered_update)
        if mix.own_task:
            self.background = asyncio.create_task(self.beside())

    @workflow.run
    async def run(self, mix: MixInput) -> MixResult:
        async with self.other or nullcontext():
            return await self.host(mix)

    def tell(self) -> None:
        """Tell the other workflow's readers a number, each one more than the last."""
        if self.other is not None and self.other.is_open:
            self.other.topic("told", type=str).publish(f"{self.input.rolls} {self.told}")
            self.told += 1

    async def host(self, mix: MixInput) -> MixResult:
        self.look("run")
        self.tell()
        if mix.patch:
            workflow.patched("the user's own")
        self.own.publish("run")
        while True:
            await workflow.wait_condition(lambda: self.rolling or self.finishing)
            self.look("woken")
            await workflow.wait_condition(lambda: all(task.done() for task in self.sleepers))
            if mix.rolls > 0 and not self.finishing:
                await self.stream.continue_as_new(self.next_input)
            self.rolling = False
            if self.finishing:
                self.stream.detach_pollers()
                await workflow.wait_condition(workflow.all_handlers_finished)
                self.look("end")
                self.own.publish("end")
                return MixResult(self.seen)

    def next_input(self, state: WorkflowStreamState) -> list[MixInput]:
        return [replace(self.input, rolls=self.input.rolls - 1, stream_state=state)]

    def look(self, who: str) -> Sight:
        """Note all that the stream shows."""
        stream = self.stream
        sight = [
            who, stream.head, stream.base, stream.malformed, stream.closed, stream.rollover_due,
        ]  # fmt: skip
        self.seen.append(sight)
        return sight

    def act(self, who: str) -> Sight:
        """Do what depends on what is seen: publish, truncate, set a timer, or nothing."""
        sight = self.look(who)
        what = (self.stream.head + 2 * self.stream.base) % 5
        if what == 0:
            large = "x" * 20_000 if self.stream.head % 2 else ""
            self.own.publish(f"{who} at {self.stream.head} {large}")
        elif what == 1:
            self.stream.truncate(max(0, self.stream.head - 7))
        elif what == 2:
            self.sleepers.append(asyncio.create_task(workflow.sleep(0.01)))
        elif what == 3:
            self.own.publish_many([f"{who} many {i}" for i in range(3)])
            self.stream.truncate(max(0, self.stream.head - 10))
        if self.stream.head % 2:
            self.tell()
        self.look(f"{who} after")
        return sight

    async def beside(self) -> None:
        self.act("beside")
        await asyncio.sleep(0)
        self.act("beside later")

    @workflow.signal
    def look_now(self, i: int) -> None:
        """Act in the first step."""
        self.act(f"signal {i}")

    @workflow.signal
    async def look_later(self, i: int) -> None:
        """Act in the second step, as the contrib advises, and once a condition is met."""
        await asyncio.sleep(0)
        self.act(f"later signal {i}")
        await workflow.wait_condition(lambda: self.stream.head > 3 or self.finishing)
        self.act(f"waiting signal {i}")

    @workflow.signal
    async def work_here(self, i: int) -> None:
        """Run local activities beside one another, whose ends a replay groups otherwise."""
        tasks = [
            workflow.start_local_activity(
                nap,
                0.01 * (i % 3) + 0.02 * k + (0.9 if i % 11 == 5 else 0),
                start_to_close_timeout=timedelta(seconds=30),
            )
            for k in range(3)
        ]
        self.own.publish(f"works here {i}")
        for k, task in enumerate(tasks):
            await task
            self.tell()
            self.own.publish(f"worked here {i} {k}" * (1000 if i % 3 else 1))
            self.own.publish(f"and told so {i} {k}")

    @workflow.signal
    async def tell_here(self, i: int) -> None:
        """Wait for the other stream beside a local activity, and set a timer after each."""
        if self.other is not None and self.other.is_open:
            napping = workflow.start_local_activity(
                nap, 0.02 * (i % 4), start_to_close_timeout=timedelta(seconds=30)
            )
            self.tell()
            self.tell()
            await self.other.flush()
            self.sleepers.append(asyncio.create_task(workflow.sleep(0.01)))
            self.own.publish(f"told {i}")
            await napping
            self.tell()
            self.own.publish(f"napped {i}")

    @workflow.update
    def ask(self, i: int) -> Sight:
        """Act in the first step, and answer with what was seen."""
        return self.act(f"update {i}")

    @workflow.update
    async def ask_later(self, i: int) -> Sight:
        """Act in the second step, and after a timer."""
        await asyncio.sleep(0)
        self.act(f"later update {i}")
        await workflow.sleep(0.01)
        return self.act(f"slow update {i}")

    @ask.validator
    def check_ask(self, i: int) -> None:
        if i % 7 == 3 and not self.input.own_task:
            raise ValueError("a number that is refused")

    def registered(self, i: int) -> None:
        self.act(f"registered signal {i}")

    def registered_update(self, i: int) -> Sight:
        return self.act(f"registered update {i}")

    @workflow.signal
    def roll(self) -> None:
        self.rolling = True

    @workflow.signal
    def finish(self) -> None:
        self.finishing = True

    @workflow.query
    def sights(self) -> list[Sight]:
        """All that was seen in this run."""
        return self.seen
