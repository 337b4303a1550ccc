"""A batch that is sent again counts once; an activity that is tried again says all of it again."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from tests.read.story import roll_over
from tests.texts import encode_payload
from workflow_streams import WorkflowStreamClient
from workflow_streams.log import wire
from workflow_streams.log.payloads import json_payload
from workflow_streams.log.wire import PublishEntry, PublishInput

from .hosts import Handle, Hosting, SpeakerHost
from .processes import Sibling
from .reading import following, items


async def send(handle: Handle, publisher_id: str, sequence: int, *values: str) -> None:
    """Signal a batch as it is on the wire."""
    payloads = [json_payload(f'"{value}"'.encode()) for value in values]
    entries = [PublishEntry("raw", encode_payload(payload)) for payload in payloads]
    await handle.signal(wire.PUBLISH_SIGNAL, PublishInput(entries, publisher_id, sequence))


async def test_a_batch_that_comes_again_counts_once_also_after_a_rollover(
    client: Client, sibling: Sibling, hosts: Hosting, unique: Any
) -> None:
    name = unique("again")
    async with (
        hosts(name) as handle,
        following(client, name) as mine,
        sibling.following(name) as other,
    ):
        for _ in range(2):
            await send(handle, "one", 1, "one 1", "one 2")
            await send(handle, "two", 1, "two 1")
        await send(handle, "one", 2, "one 3")
        await asyncio.gather(mine.count(4), other.count(4))
        await roll_over(handle)
        await send(handle, "one", 2, "one 3")
        await send(handle, "one", 1, "one 1", "one 2")
        await send(handle, "two", 2, "two 2")
        await send(handle, "two", 1, "two 1")
        # Nobody in particular may say the same thing twice.
        for _ in range(2):
            await send(handle, "", 0, "nobody")
        values = ["one 1", "one 2", "two 1", "one 3", "two 2", "nobody", "nobody"]
        await asyncio.gather(mine.count(len(values)), other.count(len(values)))
        await handle.signal("order", "finish")
        assert await mine.end() == [*items("raw", *values), ("end", "completed", len(values))]
        assert await other.end() == [*items("raw", *values), ("ended",)]


@activity.defn
async def speak() -> None:
    """Fail in the first attempt, with half of what there is to say."""
    attempt = activity.info().attempt
    async with WorkflowStreamClient.from_within_activity() as stream:
        topic = stream.topic("speech", type=str)
        topic.publish(f"attempt {attempt}, begun")
        await stream.flush()
        if attempt == 1:
            raise ApplicationError("as told")
        topic.publish(f"attempt {attempt}, done")


# A host knows of attempts only where activity and host are both ours; else each of them counts.
SPEECH = items("speech", "attempt 1, begun", "attempt 2, begun", "attempt 2, done")


async def test_an_activity_of_ours_publishes_to_the_workflow_of_theirs_that_runs_it(
    client: Client, sibling: Sibling, their_hosts: Hosting, unique: Any
) -> None:
    name = unique("activity")
    async with (
        Worker(client, task_queue=name, activities=[speak]),
        their_hosts(name) as handle,
        following(client, name) as mine,
        sibling.following(name) as other,
    ):
        await handle.signal("work", name)
        await asyncio.gather(mine.count(3), other.count(3))
        await handle.signal("order", "finish")
        assert await mine.end() == [*SPEECH, ("end", "completed", 3)]
        assert await other.end() == [*SPEECH, ("ended",)]


async def test_an_activity_of_theirs_publishes_to_the_workflow_of_ours_that_runs_it(
    client: Client, sibling: Sibling, sibling_queue: str, unique: Any
) -> None:
    name = unique("activity")
    handle = await client.start_workflow(SpeakerHost.run, sibling_queue, id=name, task_queue=name)
    async with (
        Worker(client, task_queue=name, workflows=[SpeakerHost]),
        following(client, name) as mine,
        sibling.following(name) as other,
    ):
        await asyncio.gather(mine.count(3), other.count(3))
        await handle.signal(SpeakerHost.finish)
        assert await mine.end() == [*SPEECH, ("end", "completed", 3)]
        assert await other.end() == [*SPEECH, ("ended",)]
