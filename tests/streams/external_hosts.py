"""Workflows that publish to another one's stream, and what they publish to."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.contrib import workflow_streams as contrib
from temporalio.exceptions import ApplicationError

from tests.dense import dense
from workflow_streams import ExternalWorkflowStream, WorkflowStream, WorkflowStreamState

LARGE = 600_000


@dataclass
class TellerInput:
    """What a Teller does.

    Attributes:
        to: Whose stream it publishes to; that of its parent if there is none.
        script: Steps, each a word and what it is about; see Teller.
        own: Whether it has a stream of its own.
        runs: How often it has continued as new.
    """

    to: str | None
    script: list[tuple[str, Any]]
    own: bool = False
    runs: int = 0
    stream_state: WorkflowStreamState | None = None


@workflow.defn
class Teller:
    """Follows its script."""

    @workflow.init
    def __init__(self, teller: TellerInput) -> None:
        self.input = teller
        self.stream = WorkflowStream(teller.stream_state) if teller.own else None
        self.told = False
        self.seen: list[str] = []
        self.home: ExternalWorkflowStream | None = None

    @workflow.run
    async def run(self, teller: TellerInput) -> list[str]:
        to = teller.to
        self.home = ExternalWorkflowStream(to) if to is not None else None
        async with self.home or ExternalWorkflowStream.of_parent() as self.home:
            topic = self.home.topic("told", type=str)
            for word, what in teller.script:
                if word == "publish":
                    topic.publish(what)
                elif word == "many":
                    topic.publish_many(what)
                elif word == "loop":
                    for i in range(what):
                        topic.publish(f"loop {i}")
                elif word == "own":
                    assert self.stream is not None
                    self.stream.topic("own", type=str).publish(what)
                elif word == "wait":
                    await workflow.wait_condition(lambda: self.told)
                    self.told = False
                elif word == "flush":
                    await self.flush(self.home)
                elif word == "fail":
                    if workflow.info().attempt < what:
                        raise ApplicationError("as the script says")
                elif word == "continue":
                    self.roll(what)
                elif word == "hand over" and teller.runs < what:
                    await self.hand_over()
        return self.seen

    async def flush(self, home: ExternalWorkflowStream) -> None:
        try:
            await home.flush()
            self.seen.append("flushed")
        except ApplicationError as err:
            self.seen.append(f"{err.type} {err.details[0]}")

    def roll(self, runs: int) -> None:
        if self.input.runs < runs:
            workflow.continue_as_new(replace(self.input, runs=self.input.runs + 1))

    async def hand_over(self) -> None:
        assert self.stream is not None
        await self.stream.continue_as_new(
            lambda state: [replace(self.input, runs=self.input.runs + 1, stream_state=state)]
        )

    @workflow.signal
    def tell(self) -> None:
        self.told = True

    @workflow.signal
    async def pass_on(self, what: str) -> None:
        """Publish what others say, as soon as that can be done."""
        await workflow.wait_condition(lambda: self.home is not None and self.home.is_open)
        assert self.home is not None
        self.home.topic("told", type=str).publish(what)


@workflow.defn
class Misuser:
    """Does what cannot be done, and says what came of it."""

    @workflow.run
    async def run(self, to: str) -> list[str]:
        told: list[str] = []

        def attempt(what: Any) -> None:
            try:
                what()
            except Exception as err:
                told.append(f"{type(err).__name__} {getattr(err, 'type', '')}".strip())

        attempt(ExternalWorkflowStream.of_parent)
        attempt(lambda: ExternalWorkflowStream(""))
        attempt(lambda: ExternalWorkflowStream(workflow.info().workflow_id))
        stream = ExternalWorkflowStream(to)
        topic = stream.topic("told", type=str)
        attempt(lambda: stream.topic("told", type=int))
        attempt(lambda: topic.publish("too early"))
        async with stream:
            attempt(lambda: topic.publish(dense(1_000_000)))
            attempt(lambda: stream.topic("odd").publish(object()))
            attempt(lambda: stream.topic("many").publish_many(["fine", object()]))
            attempt(lambda: topic.publish_many(["x" * 700_000] * 10))
            await stream.flush()
            try:
                await stream.__aenter__()
            except Exception as err:
                told.append(type(err).__name__)
            topic.publish("at last")
        attempt(lambda: topic.publish("too late"))
        return told


@workflow.defn
class Hasty:
    """Takes the state of its own stream while items for another one are on their way."""

    @workflow.init
    def __init__(self, to: str, flushes: bool, state: WorkflowStreamState | None) -> None:
        self.stream = WorkflowStream(state)

    @workflow.run
    async def run(self, to: str, flushes: bool, state: WorkflowStreamState | None) -> None:
        async with ExternalWorkflowStream(to) as other:
            other.topic("told", type=str).publish("a")
            if flushes:
                await other.flush()
            if state is None:
                workflow.continue_as_new(args=[to, flushes, self.stream.get_state()])


@workflow.defn
class Family:
    """Hosts a stream, and has a child publish to it, which may be retried."""

    @workflow.init
    def __init__(self, child: TellerInput) -> None:
        self.stream = WorkflowStream()

    @workflow.run
    async def run(self, child: TellerInput) -> int:
        self.stream.topic("own", type=str).publish("begun")
        await workflow.execute_child_workflow(
            Teller.run,
            child,
            id=f"{workflow.info().workflow_id} child",
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=10)),
        )
        return self.stream.head


@workflow.defn
class ContribHost:
    """Hosts a stream as the contrib does, until it has a number of items."""

    @workflow.init
    def __init__(self, count: int) -> None:
        self.stream = contrib.WorkflowStream()

    @workflow.run
    async def run(self, count: int) -> list[tuple[str, str]]:
        await workflow.wait_condition(lambda: self.stream._on_offset() >= count)
        state = self.stream.get_state()
        self.stream.detach_pollers()
        return [(item.topic, item.data) for item in state.log]


@activity.defn
async def nap(seconds: float) -> None:
    """Sleep."""
    await asyncio.sleep(seconds)


@workflow.defn
class Herald:
    """Publishes large items to several streams at once, and to one of its own."""

    @workflow.init
    def __init__(self, to: list[str], letters: str, own: list[int]) -> None:
        self.stream = WorkflowStream()
        self.own = self.stream.topic("own", type=str)

    @workflow.run
    async def run(self, to: list[str], letters: str, own: list[int]) -> None:
        async with AsyncExitStack() as stack:
            streams = [await stack.enter_async_context(ExternalWorkflowStream(name)) for name in to]
            naps = [
                workflow.start_local_activity(
                    nap, 0.1 * i, start_to_close_timeout=timedelta(seconds=30)
                )
                for i in range(len(streams))
            ]
            for letter in letters:
                for stream in streams:
                    stream.topic("told", type=str).publish(letter * LARGE)
            for size in own:
                self.own.publish(dense(size))
            for stream, napping in zip(streams, naps, strict=True):
                await napping
                stream.topic("told", type=str).publish("rested")
                await stream.flush()
                await workflow.sleep(0.001)


@workflow.defn
class Crier:
    """Tells many streams a word each, all at once."""

    @workflow.run
    async def run(self, to: str, streams: int) -> None:
        async with AsyncExitStack() as stack:
            for i in range(streams):
                stream = await stack.enter_async_context(ExternalWorkflowStream(to))
                stream.topic("told", type=str).publish(f"{i}")


@workflow.defn
class Shift:
    """Hosts a stream, and rolls over by itself whenever it has taken in three items."""

    @workflow.init
    def __init__(self, state: WorkflowStreamState | None) -> None:
        self.stream = WorkflowStream(state)
        self.begun_at = self.stream.head

    @workflow.run
    async def run(self, state: WorkflowStreamState | None) -> None:
        await workflow.wait_condition(lambda: self.stream.head >= self.begun_at + 3)
        await self.stream.continue_as_new(lambda state: [state])
