"""What ``subscribe`` and ``follow`` return, and what they take."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from workflow_streams import (
    DecodeError,
    End,
    Item,
    Rewind,
    Subscription,
    UsageError,
    WorkflowStreamClient,
)
from workflow_streams.read.feeds.lookup import feed_of
from workflow_streams.read.runs.source import WorkflowSource

from .hosts import Host, hosting
from .story import SECONDS


@dataclass
class TextDelta:
    text: str


@dataclass
class Status:
    state: str


async def publish_both(stream: WorkflowStreamClient) -> None:
    """Two topics in turn, and a third one that has no type."""
    async with stream:
        stream.topic("delta").publish(TextDelta("a"))
        stream.topic("status").publish(Status("ready"))
        stream.topic("delta").publish(TextDelta("b"))
        stream.topic("other").publish({"n": 7})


async def test_leaving_the_block_stops_the_reading(client: Client, unique: Any) -> None:
    name = unique("subscription")
    async with hosting(client, name) as handle:
        stream = WorkflowStreamClient.create(client, name)
        await publish_both(stream)
        async with stream.subscribe() as found:
            assert isinstance(found, Subscription)
            async for item in found:
                assert item.offset == 0
                break
            assert (await anext(found)).offset == 1
            feed = feed_of(WorkflowSource(client, name))
            assert feed.is_retained
        assert not feed.is_retained
        with pytest.raises(StopAsyncIteration):
            await anext(found)

        # So does an error, which goes on its way; and one that was never begun has nothing to stop.
        with pytest.raises(ValueError, match="of the block"):
            async with stream.follow() as events:
                await anext(events)
                feed = feed_of(WorkflowSource(client, name))
                raise ValueError("of the block")
        assert not feed.is_retained
        async with stream.follow():
            pass
        untouched = stream.follow()
        await untouched.aclose()
        assert [event async for event in untouched] == []
    await handle.terminate()


async def test_a_step_that_is_cancelled_loses_nothing(client: Client, unique: Any) -> None:
    name = unique("subscription")
    async with hosting(client, name) as handle:
        stream = WorkflowStreamClient.create(client, name)
        async with stream.subscribe() as found:
            waiting = asyncio.ensure_future(anext(found))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            await publish_both(stream)
            async with asyncio.timeout(SECONDS):
                assert [(await anext(found)).offset for _ in range(4)] == [0, 1, 2, 3]
    await handle.terminate()


async def test_each_topic_decodes_to_its_type(client: Client, unique: Any) -> None:
    name = unique("subscription")
    async with hosting(client, name) as handle:
        stream = WorkflowStreamClient.create(client, name)
        await publish_both(stream)
        await handle.signal(Host.order, "finish")
        await handle.result()

        events = [e async for e in stream.follow({"delta": TextDelta, "status": Status})]
        assert events[:-1] == [
            Item("delta", TextDelta("a"), 0),
            Item("status", Status("ready"), 1),
            Item("delta", TextDelta("b"), 2),
        ]
        assert isinstance(events[-1], End)
        items = [i async for i in stream.subscribe({"status": RawValue, "other": dict[str, int]})]
        assert isinstance(items[0].data, RawValue)
        assert items[1] == Item("other", {"n": 7}, 3)
        # A mapping is for one reading, and binds nothing; a topic's own type is not asked.
        assert stream.topic("delta").type is Any
        stream.topic("delta", type=int)
        assert [i.data async for i in stream.subscribe({"delta": TextDelta})] == [
            TextDelta("a"), TextDelta("b"),
        ]  # fmt: skip


async def test_a_handle_without_a_type_reads_as_its_topic_is_bound(
    client: Client, unique: Any
) -> None:
    name = unique("subscription")
    async with hosting(client, name) as handle:
        stream = WorkflowStreamClient.create(client, name)
        await publish_both(stream)
        untyped = stream.topic("delta")
        assert [i.data async for i in untyped.subscribe(until=1)] == [{"text": "a"}]
        assert stream.topic("delta", type=TextDelta).type is TextDelta
        assert stream.topic("delta").type is TextDelta
        assert [i.data async for i in untyped.subscribe(until=1)] == [TextDelta("a")]
    await handle.terminate()


async def test_a_handle_knows_its_items(client: Client, unique: Any) -> None:
    name = unique("subscription")
    async with hosting(client, name) as handle:
        stream = WorkflowStreamClient.create(client, name)
        await publish_both(stream)
        await handle.signal(Host.order, "finish")
        delta = stream.topic("delta", type=TextDelta)
        status = stream.topic("status", type=Status)
        async with asyncio.timeout(SECONDS):
            events = [event async for event in stream.follow([delta, status])]
        assert [event.data.text for event in events if delta.has(event)] == ["a", "b"]
        assert [event.data.state for event in events if status.has(event)] == ["ready"]
        assert not delta.has(Rewind((), "attempt", 0))


async def test_iteration_goes_on_behind_what_does_not_decode(client: Client, unique: Any) -> None:
    name = unique("subscription")
    async with hosting(client, name) as handle:
        stream = WorkflowStreamClient.create(client, name)
        await publish_both(stream)
        async with stream.subscribe({"delta": Status, "other": dict}, until=4) as found:
            for offset in (0, 2):
                with pytest.raises(DecodeError) as raised:
                    await anext(found)
                assert raised.value.offset == offset
            assert [item.data async for item in found] == [{"n": 7}]
    await handle.terminate()


async def test_what_cannot_be_meant_is_refused(client: Client) -> None:
    stream = WorkflowStreamClient.create(client, "any")
    for read in (stream.follow, stream.subscribe):
        with pytest.raises(UsageError, match="not both"):
            read({"delta": TextDelta}, result_type=Status)  # type: ignore[call-overload]
        with pytest.raises(UsageError, match="RawValue"):
            read({"delta": Payload})
        with pytest.raises(UsageError, match="A topic's name is a str"):
            read({7: TextDelta})  # type: ignore[call-overload]
    for name, call in [
        ("follow", stream.follow),
        ("subscribe", stream.subscribe),
        ("follow", stream.topic("delta").follow),
        ("subscribe", stream.topic("delta").subscribe),
    ]:
        with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected .* 'till'"):
            call(till=7)  # type: ignore[operator]
