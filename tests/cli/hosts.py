"""Streams for the command to work on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import temporalio.contrib.workflow_streams as contrib
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError

from tests.texts import encode_payload
from workflow_streams import WorkflowStream, WorkflowStreamState
from workflow_streams.log import wire
from workflow_streams.log.payloads import json_payload


@dataclass
class Scripted:
    """What a host does: publish `items`, roll over, stay until `go`, and so on, in this order."""

    items: list[str]
    rolls: int = 0
    stays: bool = False
    last: list[str] = field(default_factory=list[str])
    truncate: int = 0
    fails: bool = False
    stream_state: WorkflowStreamState | None = None


@workflow.defn
class Host:
    @workflow.init
    def __init__(self, script: Scripted) -> None:
        self.stream = WorkflowStream(script.stream_state)
        self.told = False

    @workflow.run
    async def run(self, script: Scripted) -> None:
        own = self.stream.topic("own")
        own.publish_many(script.items)
        if script.rolls:
            rest = replace(script, rolls=script.rolls - 1)
            await self.stream.continue_as_new(lambda state: [replace(rest, stream_state=state)])
        if script.stays:
            await workflow.wait_condition(lambda: self.told)
        own.publish_many(script.last)
        if script.truncate:
            self.stream.truncate(script.truncate)
        if script.fails:
            raise ApplicationError("out of ink", type="PrinterError") from ValueError("cyan")

    @workflow.signal
    def go(self) -> None:
        self.told = True


@dataclass
class ContribInput:
    items: list[str]
    stream_state: contrib.WorkflowStreamState | None = None


@workflow.defn
class ContribHost:
    @workflow.init
    def __init__(self, given: ContribInput) -> None:
        self.stream = contrib.WorkflowStream(given.stream_state)
        self.told = False
        for item in given.items:
            self.stream.topic("own", type=str).publish(item)

    @workflow.run
    async def run(self, given: ContribInput) -> None:
        await workflow.wait_condition(lambda: self.told)
        # A command that has ended leaves a poll behind, if it had begun one.
        self.stream.detach_pollers()
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.signal
    def go(self) -> None:
        self.told = True


@workflow.defn
class Streamless:
    """Hosts no stream."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


workflows = [Host, ContribHost, Streamless]

Handle = WorkflowHandle[Any, Any]


class Streams:
    """Makes workflows that host streams, each with an id that begins with the queue's name."""

    def __init__(self, client: Client, queue: str) -> None:
        self.client = client
        self.queue = queue

    async def start(self, name: str, *items: str, **script: Any) -> Handle:
        """Start a host."""
        return await self.client.start_workflow(
            Host.run,
            Scripted(list(items), **script),
            id=f"{self.queue}-{name}",
            task_queue=self.queue,
        )

    async def signalled(self, name: str, *batches: Any, **script: Any) -> Handle:
        """Run a host that takes these batches and then ends."""
        handle = await self.start(name, stays=True, **script)
        for given in batches:
            await handle.signal(wire.PUBLISH_SIGNAL, given)
        await handle.signal("go")
        return handle

    async def start_contrib(self, name: str, *items: str) -> Handle:
        return await self.client.start_workflow(
            ContribHost.run,
            ContribInput(list(items)),
            id=f"{self.queue}-{name}",
            task_queue=self.queue,
        )

    async def start_streamless(self, name: str) -> Handle:
        return await self.client.start_workflow(
            Streamless.run, id=f"{self.queue}-{name}", task_queue=self.queue
        )


def batch(
    *items: tuple[str, Payload | str], publisher: str = "", sequence: int = 0
) -> wire.PublishInput:
    """Return a publish signal's argument; a text in place of a payload stands there as it is."""
    entries = [
        wire.PublishEntry(topic, data if isinstance(data, str) else encode_payload(data))
        for topic, data in items
    ]
    return wire.PublishInput(entries, publisher, sequence)


def json_item(text: str) -> Payload:
    return json_payload(text.encode())


def payload(encoding: str | None, data: bytes, **metadata: str) -> Payload:
    """Return a payload of any encoding."""
    names = {"encoding": encoding, **metadata}
    return Payload(metadata={k: v.encode() for k, v in names.items() if v is not None}, data=data)
