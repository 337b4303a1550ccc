"""Size limits: of an item, of a batch, of a payload after a codec, of a message, of the buffer."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.worker import Worker

from tests.dense import dense
from tests.texts import entry_json
from workflow_streams import End, Item, WorkflowStreamClient, errors
from workflow_streams.log import wire
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload
from workflow_streams.publish.batcher import compact_bytes
from workflow_streams.testing.fixtures import StreamServer

from .codecs import Encrypting, Failing, Growing, with_codec
from .conftest import ONE_ATTEMPT
from .hosts import Host, hosting, start_host

KIND = Payload(metadata={"encoding": b"binary/plain"}).SerializeToString()


def payload_of(size: int) -> Payload:
    """A payload that does not become smaller when it is packed."""
    data = random.Random(1).randbytes(size)
    return Payload(metadata={"encoding": b"binary/plain"}, data=data)


def largest(fits: Callable[[int], bool]) -> int:
    """The largest size that fits."""
    low, high = 0, wire.MAX_ITEM_BYTES
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def entry_bytes(topic: str, size: int) -> int:
    return len(entry_json(topic, KIND, bytes(size)))


@pytest.mark.parametrize("topic", ["t", "Überschrift ✓"])
async def test_largest_item_arrives_encrypted_and_one_byte_more_is_refused(
    stream_server: StreamServer, unique: Any, topic: str
) -> None:
    client = await stream_server.connect(data_converter=with_codec(Encrypting()))
    size = largest(lambda size: entry_bytes(topic, size) <= wire.MAX_ITEM_BYTES)
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        async with stream:
            with pytest.raises(errors.ItemTooLargeError) as raised:
                stream.topic(topic).publish(payload_of(size + 1))
            assert raised.value.size == entry_bytes(topic, size + 1)
            assert raised.value.limit == wire.MAX_ITEM_BYTES
            stream.topic(topic).publish(payload_of(size))
            stream.topic(topic).publish("after")
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        first, second = [item async for item in stream.subscribe(result_type=RawValue)]
    assert first.data.payload == payload_of(size)
    assert (first.offset, first.topic) == (0, topic)
    assert second.data.payload.data == b'"after"'


async def test_largest_item_of_the_workflow_arrives_encrypted_and_a_larger_one_fails_it(
    stream_server: StreamServer, unique: Any
) -> None:
    client = await stream_server.connect(data_converter=with_codec(Encrypting()))

    def fits(size: int) -> bool:
        entry = entry_of("large", json_payload(b'"%s"' % (b"x" * size)))
        return len(entry_json(*entry)) <= wire.MAX_ITEM_BYTES - 100

    size = largest(fits)
    async with hosting(client, unique("host")) as workflow_id:
        handle = client.get_workflow_handle(workflow_id)
        await handle.signal(Host.publish_bytes, size)
        await handle.signal(Host.publish_bytes, size + 1000)
        stream = WorkflowStreamClient.create(client, workflow_id)
        item, end = [event async for event in stream.follow()]
    assert isinstance(item, Item)
    assert item.data == "x" * size
    assert isinstance(end, End)
    assert end.outcome == "failed"
    assert "the limit is" in str(end.failure)


async def test_batches_stay_below_what_the_sdk_warns_of(
    client: Client, unique: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        values = [f"{number} {dense(1000)}" for number in range(2000)]
        async with stream:
            for value in values:
                stream.topic("t").publish(value)
        assert "TMPRL1103" not in "".join(capfd.readouterr())
        stream.topic("t").publish(dense(600_000))
        await stream.flush()
        assert "TMPRL1103" in "".join(capfd.readouterr())
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert [item.data async for item in stream.subscribe()] == [*values, dense(600_000)]


@pytest.mark.parametrize(
    ("times", "why"),
    [(2, "Blob data size exceeds limit"), (4, "larger than max")],
    ids=["over the server's payload limit", "over the message limit of gRPC"],
)
async def test_item_that_a_codec_makes_too_large_is_refused_and_the_publisher_goes_on(
    stream_server: StreamServer, unique: Any, times: int, why: str
) -> None:
    client = await stream_server.connect(
        data_converter=with_codec(Growing(times)), retry_config=ONE_ATTEMPT
    )
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        async with stream:
            stream.topic("t").publish("before")
            await stream.flush()
            stream.topic("t").publish(payload_of(1_200_000))
            with pytest.raises(errors.PublishError, match=why) as raised:
                await stream.flush()
            assert (raised.value.undelivered, raised.value.uncertain) == (1, 0)
            assert not isinstance(raised.value, errors.PublishTimeoutError)
            assert isinstance(raised.value.__cause__, errors.RequestRejectedError)
            stream.topic("t").publish("after")
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert [(i.offset, i.data) async for i in stream.subscribe()] == [
            (0, "before"),
            (1, "after"),
        ]


async def test_codec_that_breaks_is_told_and_one_that_cannot_reach_its_keys_is_waited_for(
    stream_server: StreamServer, unique: Any
) -> None:
    codec = Failing()
    plain = await stream_server.connect()
    client = await stream_server.connect(data_converter=with_codec(codec))
    workflow_id = await start_host(plain, unique("host"))
    stream = WorkflowStreamClient.create(client, workflow_id)
    async with stream:
        codec.error = lambda: KeyError("no such key")
        stream.topic("t").publish("lost")
        with pytest.raises(errors.PublishError, match="no such key") as raised:
            await stream.flush()
        assert (raised.value.undelivered, raised.value.uncertain) == (1, 0)
        assert isinstance(raised.value.__cause__, KeyError)
        for broken in (ConnectionRefusedError, TimeoutError):
            codec.error, codec.calls = lambda broken=broken: broken("keys"), 0
            stream.topic("t").publish(broken.__name__)
            while codec.calls < 2:
                await asyncio.sleep(0.01)
            codec.error = None
            await stream.flush()
    await plain.get_workflow_handle(workflow_id).signal(Host.close)
    async with Worker(plain, task_queue=workflow_id, workflows=[Host]):
        found = [item.data async for item in stream.subscribe()]
    assert found == ["ConnectionRefusedError", "TimeoutError"]


@pytest.mark.parametrize("limit", ["items", "bytes"])
async def test_full_buffer_refuses_items_without_loss_until_there_is_room(
    client: Client, unique: Any, limit: str
) -> None:
    """Seven fit in, by whichever limit; what is refused is offered again after a flush."""
    topic = "é"
    values = [f"{number:02}" for number in range(40)]
    entry = entry_of(topic, json_payload(b'"00"'))
    fits = {"items": 7, "bytes": 7 * compact_bytes(*entry)}
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient(
            client.get_workflow_handle(workflow_id),
            client=client,
            **{f"max_buffer_{limit}": fits[limit]},
        )
        refused = []
        async with stream:
            # Since it is known how the host reads items, they are measured like that.
            await stream.topic("first").send(0)
            for value in values:
                try:
                    stream.topic(topic).publish(value)
                except errors.BufferFullError as err:
                    assert err.workflow_id == workflow_id
                    refused.append(value)
                    await stream.flush()
                    stream.topic(topic).publish(value)
        assert refused == values[7::7]
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        found = [(item.offset, item.data) async for item in stream.subscribe(topic)]
        assert found == list(enumerate(values, 1))
