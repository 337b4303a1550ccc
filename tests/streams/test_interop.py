"""The contrib's client on our workflow, ours on the contrib's, and histories of both."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest
import temporalio.contrib.workflow_streams as contrib
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Replayer, Worker

import workflow_streams as ours
from workflow_streams import End


@dataclass
class ContribInput:
    rolls: int = 0
    stream_state: contrib.WorkflowStreamState | None = None


@dataclass
class OurInput:
    rolls: int = 0
    stream_state: ours.WorkflowStreamState | None = None


@workflow.defn(name="Host")
class ContribHost:
    @workflow.init
    def __init__(self, host: ContribInput) -> None:
        self.stream = contrib.WorkflowStream(host.stream_state)
        self.own = self.stream.topic("own", type=str)
        self.done = False
        self.own.publish("init")

    @workflow.run
    async def run(self, host: ContribInput) -> str:
        await workflow.wait_condition(lambda: self.done)
        if host.rolls:
            await self.stream.continue_as_new(lambda state: [ContribInput(host.rolls - 1, state)])
        self.own.publish("last")
        return "done"

    @workflow.signal
    def finish(self) -> None:
        self.own.publish("finish")
        self.done = True


@workflow.defn(name="Host")
class OurHost:
    @workflow.init
    def __init__(self, host: OurInput) -> None:
        self.stream = ours.WorkflowStream(host.stream_state)
        self.own = self.stream.topic("own", type=str)
        self.done = False
        self.own.publish("init")

    @workflow.run
    async def run(self, host: OurInput) -> str:
        await workflow.wait_condition(lambda: self.done)
        if host.rolls:
            await self.stream.continue_as_new(lambda state: [OurInput(host.rolls - 1, state)])
        self.own.publish("last")
        return "done"

    @workflow.signal
    def finish(self) -> None:
        self.own.publish("finish")
        self.done = True


async def read(library: ModuleType, client: Client, name: str) -> list[tuple[int, str, object]]:
    stream = library.WorkflowStreamClient.create(client, name)
    return [(item.offset, item.topic, item.data) async for item in stream.subscribe()]


async def publish(library: ModuleType, client: Client, name: str, label: str) -> None:
    async with library.WorkflowStreamClient.create(client, name) as stream:
        for i in range(3):
            stream.topic("out", type=str).publish(f"{label} {i}", force_flush=True)


async def run_id_of(client: Client, name: str) -> str:
    return (await client.get_workflow_handle(name).describe()).run_id


async def roll_over(client: Client, name: str) -> None:
    before = await run_id_of(client, name)
    await client.get_workflow_handle(name).signal("finish")
    while await run_id_of(client, name) == before:
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("host", [ContribHost, OurHost])
async def test_both_clients_publish_and_read_alike_across_runs_and_after_the_end(
    client: Client, unique: Any, host: Any
) -> None:
    name = unique("host")
    first = ContribInput(1) if host is ContribHost else OurInput(1)
    async with Worker(client, task_queue=name, workflows=[host]):
        await client.start_workflow("Host", first, id=name, task_queue=name)
        readers = [asyncio.create_task(read(library, client, name)) for library in (contrib, ours)]
        for label in "ab":
            await publish(contrib, client, name, f"contrib {label}")
            await publish(ours, client, name, f"ours {label}")
            offsets = [
                await library.WorkflowStreamClient.create(client, name).get_offset()
                for library in (contrib, ours)
            ]
            assert offsets[0] == offsets[1]
            if label == "a":
                await roll_over(client, name)
        await client.get_workflow_handle(name).signal("finish")
        await client.get_workflow_handle(name).result()
        theirs, mine = await asyncio.wait_for(asyncio.gather(*readers), 30)
        assert mine == theirs
        assert [offset for offset, _, _ in mine] == list(range(17))
        assert [data for _, topic, data in mine if topic == "out"] == [
            f"{who} {label} {i}" for label in "ab" for who in ("contrib", "ours") for i in range(3)
        ]
        assert [data for _, topic, data in mine if topic == "own"] == [
            "init", "finish", "init", "finish", "last"
        ]  # fmt: skip
        for library in (ours, contrib):
            assert await read(library, client, name) == mine


async def test_contrib_history_replays_and_a_run_lives_through_the_switch(
    client: Client, unique: Any
) -> None:
    name = unique("switch")
    async with Worker(client, task_queue=name, workflows=[ContribHost], max_cached_workflows=0):
        await client.start_workflow("Host", ContribInput(1), id=name, task_queue=name)
        await publish(contrib, client, name, "before")
        assert await contrib.WorkflowStreamClient.create(client, name).get_offset() == 4
    history = await client.get_workflow_handle(name).fetch_history()
    await Replayer(workflows=[OurHost]).replay_workflow(history)

    async with Worker(client, task_queue=name, workflows=[OurHost], max_cached_workflows=0):
        reader = asyncio.create_task(read(ours, client, name))
        await publish(ours, client, name, "after")
        assert await contrib.WorkflowStreamClient.create(client, name).get_offset() == 7
        run_id = await run_id_of(client, name)
        await roll_over(client, name)
        # The next run is a stream of ours, with the same offsets.
        await publish(ours, client, name, "native")
        stream = ours.WorkflowStreamClient.create(client, name)
        assert await stream.topic("out", type=str).send("last but two") == 12
        await client.get_workflow_handle(name).signal("finish")
        await client.get_workflow_handle(name).result()
        expected = ["init", *(f"before {i}" for i in range(3)), *(f"after {i}" for i in range(3))]
        expected += ["finish", "init", *(f"native {i}" for i in range(3)), "last but two"]
        expected += ["finish", "last"]
        mine = await asyncio.wait_for(reader, 30)
        assert [(o, d) for o, _, d in mine] == list(enumerate(expected))
        for old in (run_id, await run_id_of(client, name)):
            history = await client.get_workflow_handle(name, run_id=old).fetch_history()
            await Replayer(workflows=[OurHost]).replay_workflow(history)
    # Without any worker: the native run holds all that was retained.
    story = [event async for event in stream.follow()]
    assert [e.data for e in story[:-1]] == expected
    assert isinstance(story[-1], End)
    assert story[-1].offset == len(expected)
