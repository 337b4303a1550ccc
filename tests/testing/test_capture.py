"""`capture_published`: activities that publish, run without a server."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import ActivityEnvironment

from workflow_streams import Item, Rewind, WorkflowStreamClient, errors
from workflow_streams.testing import capture_published


@dataclass
class Progress:
    done: int


@activity.defn
async def report(order: str) -> int:
    async with WorkflowStreamClient.from_within_activity() as stream:
        stream.topic("log").publish(f"begin {order}")
        sent = await stream.topic("progress", type=Progress).send(Progress(1))
        stream.topic("log").publish("end")
    return sent


@activity.defn
async def fail() -> None:
    async with WorkflowStreamClient.from_within_activity() as stream:
        stream.topic("log").publish("as far as this")
        raise ValueError("no further")


def attempt(number: int, *, after: timedelta = timedelta()) -> ActivityEnvironment:
    """Return the environment of a later attempt of the same activity."""
    environment = ActivityEnvironment()
    scheduled = environment.info.current_attempt_scheduled_time + after
    environment.info = dataclasses.replace(
        environment.info, attempt=number, current_attempt_scheduled_time=scheduled
    )
    return environment


async def test_it_holds_what_an_activity_published_in_order() -> None:
    with capture_published({"progress": Progress}) as published:
        assert await ActivityEnvironment().run(report, "order-1") == 1
    assert published.items == [
        Item("log", "begin order-1", 0),
        Item("progress", Progress(1), 1),
        Item("log", "end", 2),
    ]
    assert published.events == published.items


async def test_without_types_it_decodes_by_default_and_raw_on_request() -> None:
    with capture_published({"log": RawValue}) as published:
        await ActivityEnvironment().run(report, "order-1")
        raw, progress, _ = published.items
    assert raw.data.payload.data == b'"begin order-1"'
    assert progress.data == {"done": 1}


async def test_offsets_go_on_from_one_activity_to_the_next() -> None:
    with capture_published() as published:
        assert await ActivityEnvironment().run(report, "one") == 1
        assert await ActivityEnvironment().run(report, "two") == 4
    assert [item.offset for item in published.items] == [0, 1, 2, 3, 4, 5]
    assert published.items[3].data == "begin two"


async def test_activities_that_run_at_once_publish_to_the_same_capture() -> None:
    with capture_published() as published:
        offsets = await asyncio.gather(
            *(ActivityEnvironment().run(report, str(i)) for i in range(4))
        )
    assert [published.items[offset].topic for offset in offsets] == ["progress"] * 4
    begun = [item.data for item in published.items if str(item.data).startswith("begin")]
    assert sorted(begun) == [f"begin {i}" for i in range(4)]
    assert len(published.items) == 12


async def test_each_capture_is_its_own() -> None:
    with capture_published() as first:
        await ActivityEnvironment().run(report, "one")
        with capture_published() as second:
            await ActivityEnvironment().run(report, "two")
    assert [first.items[0].data, second.items[0].data] == ["begin one", "begin two"]
    assert len(first.items) == len(second.items) == 3


async def test_it_holds_what_was_published_before_a_failure() -> None:
    with capture_published() as published, pytest.raises(ValueError, match="no further"):
        await ActivityEnvironment().run(fail)
    assert [item.data for item in published.items] == ["as far as this"]


async def test_a_later_attempt_takes_back_what_the_failed_one_published() -> None:
    with capture_published() as published:
        with pytest.raises(ValueError, match="no further"):
            await attempt(1).run(fail)
        assert await attempt(2).run(report, "order-1") == 2
    assert published.events == [
        Item("log", "as far as this", 0),
        Rewind((range(1),), "attempt", 1, "test", 2),
        Item("log", "begin order-1", 1),
        Item("progress", {"done": 1}, 2),
        Item("log", "end", 3),
    ]
    assert [item.offset for item in published.items] == [0, 1, 2, 3]


async def test_an_attempt_that_was_given_up_but_lives_on_is_fenced() -> None:
    published_first, go_on = asyncio.Event(), asyncio.Event()

    async def zombie() -> None:
        async with WorkflowStreamClient.from_within_activity() as stream:
            await stream.topic("log").send("in time")
            published_first.set()
            await go_on.wait()
            stream.topic("log").publish("too late")
            await stream.topic("log").send("far too late")

    with capture_published() as published:
        old = asyncio.create_task(attempt(7).run(zombie))
        await published_first.wait()
        # The number starts again at 1 when somebody resets the activity; the time does not.
        await attempt(1, after=timedelta(seconds=1)).run(report, "order-1")
        go_on.set()
        with pytest.raises(errors.FencedError) as raised:
            await old
    assert raised.value.workflow_id == "test"
    assert published.events[:2] == [
        Item("log", "in time", 0),
        Rewind((range(1),), "attempt", 1, "test", 1),
    ]
    assert [item.data for item in published.items[1:]] == ["begin order-1", {"done": 1}, "end"]


async def test_the_head_is_known_while_the_activity_runs() -> None:
    async def counts() -> list[int]:
        async with WorkflowStreamClient.from_within_activity() as stream:
            heads = [await stream.get_offset()]
            for word in ("one", "two"):
                stream.topic("words").publish(word)
                await stream.flush()
                heads.append(await stream.get_offset())
        return heads

    with capture_published():
        assert await ActivityEnvironment().run(counts) == [0, 1, 2]


class Model(BaseModel):
    amount: int
    currency: str = "EUR"


async def test_values_go_through_the_given_converter_both_ways() -> None:
    async def publishes() -> None:
        async with WorkflowStreamClient.from_within_activity() as stream:
            stream.topic("models", type=Model).publish(Model(amount=3))
            stream.topic("models", type=Model).publish(
                Payload(metadata={"encoding": b"json/plain"}, data=b'{"amount":4}')
            )

    with capture_published({"models": Model}, data_converter=pydantic_data_converter) as published:
        await ActivityEnvironment().run(publishes)
    assert [item.data for item in published.items] == [Model(amount=3), Model(amount=4)]


async def test_wrong_values_raise_where_they_are_published_as_on_a_server() -> None:
    async def publishes(value: object) -> None:
        async with WorkflowStreamClient.from_within_activity() as stream:
            stream.topic("t").publish("before")
            stream.topic("t").publish(value)

    with capture_published() as published:
        with pytest.raises(errors.EncodeError):
            await ActivityEnvironment().run(publishes, object())
        with pytest.raises(errors.ItemTooLargeError):
            await ActivityEnvironment().run(publishes, "x" * 3_000_000)
    assert [item.data for item in published.items] == ["before", "before"]


async def test_an_activity_that_no_workflow_started_has_no_stream() -> None:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(environment.info, workflow_id=None)
    with capture_published(), pytest.raises(errors.UsageError, match="no parent workflow"):
        await environment.run(report, "order-1")


def test_an_activity_that_is_not_async_has_no_stream_as_on_a_worker() -> None:
    @activity.defn
    def plain() -> None:
        WorkflowStreamClient.from_within_activity()

    with capture_published(), pytest.raises(errors.UsageError, match="async def"):
        ActivityEnvironment().run(plain)


def test_a_test_that_is_not_async_can_run_an_activity_that_is() -> None:
    with capture_published() as published:
        assert asyncio.run(ActivityEnvironment().run(report, "order-1")) == 1
    assert len(published.items) == 3


@pytest.mark.parametrize("read", ["subscribe", "follow"])
async def test_reading_needs_a_server_and_says_so(read: str) -> None:
    async def reads() -> Any:
        stream = WorkflowStreamClient.from_within_activity()
        return await anext(getattr(stream, read)())

    with capture_published(), pytest.raises(errors.UsageError, match="captured for a test"):
        await ActivityEnvironment().run(reads)


async def test_outside_of_a_capture_the_activity_needs_its_client() -> None:
    with capture_published():
        pass
    with pytest.raises(RuntimeError, match="No client available"):
        await ActivityEnvironment().run(report, "order-1")
