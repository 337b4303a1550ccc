"""Everything stands in the stream once: publishers killed and retried, signals that come again."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import RawValue

from workflow_streams import WorkflowStreamClient
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload
from workflow_streams.testing.fixtures import StreamServer

from .hosts import Host, hosting
from .processes import running
from .reading import reading

COUNT = 60


async def test_publisher_killed_and_started_again(
    client: Client, stream_server: StreamServer, unique: Any
) -> None:
    """What a killed process got through has no holes, so its successor resumes at the head."""
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        publisher = ("publisher_process", stream_server.address, workflow_id, str(COUNT))
        async with reading(stream) as reader:
            async with running(*publisher) as process:
                await reader.count(20)
                await process.kill()
            assert len(reader.items) < COUNT
            async with running(*publisher) as process:
                assert await process.ended() == 0
            await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert reader.items == [(value, value) for value in range(COUNT)]


def batch(publisher: str, sequence: int, *values: str) -> RawValue:
    entries = [entry_of("t", json_payload(f'"{value}"'.encode())) for value in values]
    return RawValue(batch_payload(entries, publisher, sequence))


async def test_signals_that_come_again_count_once_across_rollovers(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        handle = client.get_workflow_handle(workflow_id)
        stream = WorkflowStreamClient.create(client, workflow_id)

        async def signal(publisher: str, *sequences: int) -> None:
            for sequence in sequences:
                values = [f"{publisher}{sequence}{letter}" for letter in "xy"]
                await handle.signal(wire.PUBLISH_SIGNAL, batch(publisher, sequence, *values))

        async with reading(stream) as reader:
            await signal("p", 1, 1)
            await signal("q", 1)
            await signal("p", 2, 1, 2)
            await handle.signal(Host.roll)
            await signal("p", 2, 1, 3)
            await signal("q", 1, 2, 2)
            await handle.signal(Host.roll)
            await signal("p", 3, 3, 4)
            await signal("", 0, 0)
            assert await handle.query(wire.OFFSET_QUERY, result_type=int) == 16
            await handle.signal(Host.close)
        expected = ["p1", "q1", "p2", "p3", "q2", "p4", "0", "0"]
        assert reader.items == list(enumerate(f"{batch}{x}" for batch in expected for x in "xy"))
        assert [(i.offset, i.data) async for i in stream.subscribe()] == reader.items


@pytest.mark.parametrize("count", [1, 50])
async def test_batch_is_taken_whole_or_not_at_all(client: Client, unique: Any, count: int) -> None:
    """A repeated batch that holds more than it did at first is still the same batch."""
    async with hosting(client, unique("host")) as workflow_id:
        handle = client.get_workflow_handle(workflow_id)
        values = [f"v{number}" for number in range(count)]
        await handle.signal(wire.PUBLISH_SIGNAL, batch("p", 1, *values))
        await handle.signal(wire.PUBLISH_SIGNAL, batch("p", 1, *values, "more"))
        await handle.signal(wire.PUBLISH_SIGNAL, batch("p", 2, "next"))
        await handle.signal(Host.close)
        stream = WorkflowStreamClient.create(client, workflow_id)
        assert [item.data async for item in stream.subscribe()] == [*values, "next"]
