"""Activities that publish with the contrib's client, and fail or linger on their first attempt."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.contrib.workflow_streams import PublishInput, WorkflowStreamClient
from temporalio.exceptions import ApplicationError

from tests.texts import encode_payload
from workflow_streams import WorkflowStreamsPlugin
from workflow_streams.log import wire
from workflow_streams.log.payloads import json_payload

STUMBLED = ApplicationError("stumbled")


async def send(stream: WorkflowStreamClient, *values: str) -> None:
    """Publish with the contrib's client, a batch for each value."""
    for value in values:
        stream.topic("words", type=str).publish(value)
        await stream.flush()


async def stumble_at(stream: WorkflowStreamClient) -> None:
    """Publish two items, fail on the first attempt, and publish two more."""
    attempt = activity.info().attempt
    async with stream:
        await send(stream, f"{attempt}a", f"{attempt}b")
        if attempt == 1:
            raise STUMBLED
        await send(stream, f"{attempt}c")


@activity.defn
async def stumble(argument: str) -> None:
    await stumble_at(WorkflowStreamClient.from_within_activity())


async def publish_to(workflow_id: str) -> None:
    async with WorkflowStreamClient.create(activity.client(), workflow_id) as stream:
        await send(stream, "one")


@activity.defn
async def stumble_elsewhere(workflow_id: str) -> None:
    """Publish to a workflow that has not started this activity."""
    await stumble_at(WorkflowStreamClient.create(activity.client(), workflow_id))


@activity.defn
async def stumble_with_a_client_of_its_own(address: str) -> None:
    client = await Client.connect(address, plugins=[WorkflowStreamsPlugin()])
    await stumble_at(contrib_client(client))


class Threaded:
    """An activity that runs in a thread, and publishes from there with the worker's client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @activity.defn
    def stumble_in_a_thread(self, argument: str) -> None:
        async def publish() -> None:
            await stumble_at(contrib_client(self._client))

        asyncio.run(publish())


def contrib_client(client: Client) -> WorkflowStreamClient:
    workflow_id = activity.info().workflow_id
    assert workflow_id is not None
    return WorkflowStreamClient.create(client, workflow_id)


@activity.defn
async def stumble_by_hand(argument: str) -> None:
    """Send a batch that is a dict, under an id which the attempts share on purpose."""
    info = activity.info()
    data = encode_payload(json_payload(b'"by hand"'))
    for sequence in range(1, info.attempt + 1):
        batch = {
            "items": [{"topic": "words", "data": data}],
            "publisher_id": "by hand",
            "sequence": sequence,
        }
        await own_workflow().signal(wire.PUBLISH_SIGNAL, batch)
    if info.attempt == 1:
        raise STUMBLED


@activity.defn
async def stumble_under_odd_ids(argument: str) -> None:
    """Send batches under ids as the contrib does not make them."""
    attempt = activity.info().attempt
    for publisher_id in ["a/b", "ä" * 1_000, "wfs1/run/1/1/nonce/of ours", ""]:
        value = f'"{attempt} {publisher_id[:3]}"'.encode()
        entry = wire.PublishEntry("words", encode_payload(json_payload(value)))
        batch = PublishInput(items=[entry], publisher_id=publisher_id, sequence=1)  # type: ignore[list-item]
        await own_workflow().signal(wire.PUBLISH_SIGNAL, batch)
    if attempt == 1:
        raise STUMBLED


def own_workflow() -> Any:
    workflow_id = activity.info().workflow_id
    assert workflow_id is not None
    return activity.client().get_workflow_handle(workflow_id)


class Lingering:
    """An activity whose first attempt goes on when its time is over, beside the second.

    Attributes:
        tasks: The attempts at work.
    """

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        self._second_began = asyncio.Event()
        self._first_has_sent = asyncio.Event()

    @activity.defn
    async def linger(self, argument: str) -> None:
        task = asyncio.create_task(self._work(activity.info().attempt))
        self.tasks.append(task)
        await asyncio.shield(task)

    async def _work(self, attempt: int) -> None:
        async with WorkflowStreamClient.from_within_activity() as stream:
            await send(stream, f"{attempt}a")
            if attempt == 1:
                await self._second_began.wait()
                await send(stream, "late", "later")
                self._first_has_sent.set()
            else:
                self._second_began.set()
                await self._first_has_sent.wait()
                await send(stream, f"{attempt}b")


class Pausing:
    """An activity that publishes, fails, and then waits to be let on.

    Attributes:
        go: Lets the second attempt publish.
    """

    def __init__(self, until_the_retry: timedelta | None = None) -> None:
        self.go = asyncio.Event()
        self._until_the_retry = until_the_retry

    @activity.defn
    async def pause(self, argument: str) -> None:
        async with WorkflowStreamClient.from_within_activity() as stream:
            if activity.info().attempt == 1:
                await send(stream, "1a")
                raise ApplicationError("stumbled", next_retry_delay=self._until_the_retry)
            await self.go.wait()
            await send(stream, "2a")
