"""Bad input gets a clear, typed error where it was made, and harms nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from tests.texts import encode_payload
from workflow_streams import End, Gap, Item, Last, WorkflowStreamClient, errors
from workflow_streams.log import wire
from workflow_streams.log.payloads import json_payload

from .hosts import Host, HostInput, hosting


async def offsets_and_data(stream: WorkflowStreamClient, **how: Any) -> list[tuple[int, object]]:
    return [(item.offset, item.data) async for item in stream.subscribe(**how)]


async def test_value_that_cannot_be_encoded_raises_at_its_call_and_harms_nothing_else(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        async with stream:
            topic = stream.topic("t")
            topic.publish("before")
            with pytest.raises(errors.EncodeError) as raised:
                topic.publish(object())
            assert raised.value.topic == "t"
            assert raised.value.value_type is object
            topic.publish("after")
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert await offsets_and_data(stream) == [(0, "before"), (1, "after")]


async def test_item_over_the_limit_raises_and_the_largest_one_arrives(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        largest = "x" * 1_400_000
        async with stream:
            with pytest.raises(errors.ItemTooLargeError) as raised:
                stream.topic("t").publish("x" * 2_000_000)
            assert raised.value.limit == wire.MAX_ITEM_BYTES < raised.value.size
            stream.topic("t").publish(largest)
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert await offsets_and_data(stream) == [(0, largest)]


async def test_item_over_the_limit_in_the_workflow_fails_it_and_the_reader_learns_why(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        handle = client.get_workflow_handle(workflow_id)
        await handle.signal(Host.publish, "fine")
        await handle.signal(Host.publish_bytes, 2_000_000)
        stream = WorkflowStreamClient.create(client, workflow_id)
        item, end = [event async for event in stream.follow()]
        assert isinstance(item, Item)
        assert (item.offset, item.data) == (0, "fine")
        assert isinstance(end, End)
        assert (end.outcome, end.offset) == ("failed", 1)
        assert isinstance(end.failure, ApplicationError)
        assert end.failure.type == "ItemTooLargeError"
        assert "topic 'large'" in str(end.failure)
        assert f"the limit is {wire.MAX_ITEM_BYTES:,}" in str(end.failure)


async def test_unknown_workflow(client: Client, unique: Any) -> None:
    workflow_id = unique("nobody")
    stream = WorkflowStreamClient.create(client, workflow_id)
    for reading in (
        lambda: anext(aiter(stream.subscribe())),
        lambda: anext(aiter(stream.follow(from_offset=Last(1)))),
        stream.get_offset,
        lambda: stream.topic("t").send("lost"),
    ):
        with pytest.raises(errors.StreamNotFoundError) as missing:
            await reading()
        assert missing.value.workflow_id == workflow_id
        assert workflow_id in str(missing.value)
    with pytest.raises(errors.PublishError) as raised:
        async with stream:
            stream.topic("t").publish("lost")
    assert (raised.value.undelivered, raised.value.workflow_id) == (1, workflow_id)
    assert isinstance(raised.value.__cause__, errors.StreamNotFoundError)


async def test_closed_workflow_says_what_was_not_delivered_and_stays_readable(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        topic = stream.topic("t")
        topic.publish("kept")
        await stream.flush()
        handle = client.get_workflow_handle(workflow_id)
        await handle.signal(Host.publish, "its own")
        await handle.signal(Host.close)
        await handle.result()
        for value in range(3):
            topic.publish(value)
        with pytest.raises(errors.PublishError) as raised:
            await stream.flush()
        assert (raised.value.undelivered, raised.value.uncertain) == (3, 0)
        assert raised.value.workflow_id == workflow_id
        assert workflow_id in str(raised.value)
        assert isinstance(raised.value.__cause__, errors.StreamClosedError)
        with pytest.raises(errors.PublishError) as raised:
            await topic.send("too late")
        assert isinstance(raised.value.__cause__, errors.StreamClosedError)
    first, second, end = [event async for event in stream.follow()]
    assert (first.offset, first.data) == (0, "kept")
    assert (second.offset, second.data) == (1, "its own")
    assert end == End("completed", 2, end.run_id)
    assert await stream.get_offset() == 2
    assert [event async for event in stream.follow(from_offset=1)] == [second, end]
    assert [event async for event in stream.follow(from_offset=7)] == [end]


@pytest.mark.parametrize("offset", [-1, 1.0, "0", None, True, Last(-1)])
async def test_offset_that_cannot_be(client: Client, offset: Any) -> None:
    stream = WorkflowStreamClient.create(client, "any")
    for start in (stream.subscribe, stream.follow, stream.topic("t").subscribe):
        with pytest.raises(errors.InvalidOffsetError) as raised:
            start(from_offset=offset)
        assert raised.value.offset is offset
        assert isinstance(raised.value, ValueError)


async def test_offset_past_the_head_waits(client: Client, unique: Any) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        topic = stream.topic("t")
        reader = asyncio.create_task(offsets_and_data(stream, from_offset=3))
        for value in range(5):
            assert await topic.send(value) == value
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert await reader == [(3, 3), (4, 4)]


async def test_truncated_offset_gets_a_gap_and_offset_0_does_not(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        handle = client.get_workflow_handle(workflow_id)
        for value in "abcdef":
            await stream.topic("t").send(value)
        await handle.signal(Host.truncate, 4)
        await handle.signal(Host.close)
        await handle.result()
        assert await stream.get_offset() == 6
    gap, *rest, end = [event async for event in stream.follow(from_offset=1)]
    assert gap == Gap(1, 4, "truncated")
    assert [(e.offset, e.data) for e in rest] == [(4, "e"), (5, "f")]
    assert end == End("completed", 6, end.run_id)
    assert [type(event) async for event in stream.follow()] == [Item, Item, End]
    items = [item async for item in stream.subscribe(from_offset=1)]
    assert [(item.offset, item.skipped) for item in items] == [(4, 3), (5, 0)]
    items = [item async for item in stream.subscribe()]
    assert [(item.offset, item.skipped) for item in items] == [(4, 0), (5, 0)]


async def test_topic_bound_to_two_types(client: Client) -> None:
    stream = WorkflowStreamClient.create(client, "any")
    stream.topic("t", type=int)
    with pytest.raises(errors.TopicTypeError) as raised:
        stream.topic("t", type=str)
    assert (raised.value.topic, raised.value.bound, raised.value.asked) == ("t", int, str)
    assert stream.topic("t", type=int).type is int
    with pytest.raises(RuntimeError):
        stream.topic("u", type=Payload)
    with pytest.raises(RuntimeError):
        stream.subscribe(result_type=Payload)


async def test_undecodable_item_raises_with_its_offset_and_iteration_goes_on(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        handle = client.get_workflow_handle(workflow_id)
        good = encode_payload(json_payload(b'"good"'))
        await handle.signal(
            wire.PUBLISH_SIGNAL,
            wire.PublishInput(
                [
                    wire.PublishEntry("t", good),
                    wire.PublishEntry("t", "!!! no base64"),
                    wire.PublishEntry("t", encode_payload(json_payload(b"{broken"))),
                    wire.PublishEntry("t", good),
                ]
            ),
        )
        await handle.signal(Host.close)
        seen: list[object] = []
        items = aiter(WorkflowStreamClient.create(client, workflow_id).subscribe())
        while True:
            try:
                seen.append((await anext(items)).data)
            except errors.DecodeError as err:
                seen.append((err.topic, err.offset))
            except StopAsyncIteration:
                break
        assert seen == ["good", ("t", 1), ("t", 2), "good"]


async def test_malformed_publish_signals_are_ignored_counted_and_told_once_a_run(
    client: Client, unique: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        handle = client.get_workflow_handle(workflow_id)
        stream = WorkflowStreamClient.create(client, workflow_id)
        await stream.topic("t").send("before")
        bad: list[Any] = [
            {"items": [{"topic": 1, "data": ""}]},
            {"items": "none"},
            {"items": [], "sequence": "one"},
            [1, 2],
            "text",
            RawValue(Payload(metadata={"encoding": b"binary/plain"}, data=b"\x00")),
            RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b"{")),
        ]
        for message in bad:
            await handle.signal(wire.PUBLISH_SIGNAL, message)
        await handle.signal(wire.PUBLISH_SIGNAL)
        await handle.signal(wire.PUBLISH_SIGNAL, args=[{"items": []}, 2])
        assert await stream.topic("t").send("after") == 1
        assert await handle.query(Host.malformed) == len(bad) + 2
        assert await handle.query(wire.OFFSET_QUERY, result_type=int) == 2
        first = (await handle.describe()).run_id
        await handle.signal(Host.roll)
        while (second := (await handle.describe()).run_id) == first:
            await asyncio.sleep(0.01)
        for message in bad:
            await handle.signal(wire.PUBLISH_SIGNAL, message)
        assert await stream.topic("t").send("in the next run") == 2
        await handle.signal(Host.close)
        await handle.result()
        assert await handle.query(Host.malformed) == 2 * len(bad) + 2
        assert await offsets_and_data(stream) == [
            (0, "before"), (1, "after"), (2, "in the next run")
        ]  # fmt: skip
        told = [r for r in caplog.records if r.name == "temporalio.workflow"]
        assert [r.__dict__["temporal_workflow"]["run_id"] for r in told] == [first, second]


async def test_wrong_namespace(stream_server: Any) -> None:
    elsewhere = await Client.connect(stream_server.address, namespace="no-such-namespace")
    stream = WorkflowStreamClient.create(elsewhere, "any")
    for reading in (lambda: anext(aiter(stream.subscribe())), stream.get_offset):
        with pytest.raises(errors.NamespaceNotFoundError, match="no-such-namespace"):
            await reading()
    stream.topic("t").publish(1)
    with pytest.raises(errors.PublishError, match="no-such-namespace") as raised:
        await stream.flush()
    assert raised.value.undelivered == 1
    assert isinstance(raised.value.__cause__, errors.NamespaceNotFoundError)


async def test_publishing_from_another_thread_is_refused(client: Client, unique: Any) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        async with WorkflowStreamClient.create(client, workflow_id) as stream:
            topic = stream.topic("t")
            with pytest.raises(errors.UsageError, match="call_soon_threadsafe"):
                await asyncio.to_thread(topic.publish, "refused")
            topic.publish("first")
            loop = asyncio.get_running_loop()
            publishing = asyncio.Event()

            def second() -> None:
                topic.publish("second")
                publishing.set()

            await asyncio.to_thread(loop.call_soon_threadsafe, second)
            await publishing.wait()
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert await offsets_and_data(stream) == [(0, "first"), (1, "second")]


async def test_published_but_never_sent_is_told(client: Client) -> None:
    stream = WorkflowStreamClient.create(client, "any")
    stream.topic("t").publish(1)
    stream.topic("t").publish(2)
    with pytest.warns(ResourceWarning, match=r"2 item\(s\) for workflow 'any' .* never sent"):
        del stream


async def test_ring_buffer_keeps_the_last(client: Client, unique: Any) -> None:
    async with hosting(client, unique("host"), HostInput(keep_last=3)) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        handle = client.get_workflow_handle(workflow_id)
        for value in range(10):
            await stream.topic("t").send(value)
        await handle.signal(Host.close)
        await handle.result()
    assert await offsets_and_data(stream) == [(7, 7), (8, 8), (9, 9)]
    gap, *items, end = [event async for event in stream.follow(from_offset=2)]
    assert gap == Gap(2, 7, "truncated")
    assert [(e.offset, e.data) for e in items] == [(7, 7), (8, 8), (9, 9)]
    assert end == End("completed", 10, end.run_id)
