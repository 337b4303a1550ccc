"""`capture_published`: activities that publish, run without a server."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from temporalio import activity
from temporalio.testing import ActivityEnvironment

from workflow_streams import WorkflowStreamClient, WorkflowStreamItem
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


async def test_it_holds_what_an_activity_published_in_order() -> None:
    with capture_published({"progress": Progress}) as captured:
        assert await ActivityEnvironment().run(report, "order-1") == 1
    assert captured.items == [
        WorkflowStreamItem("log", "begin order-1", 0),
        WorkflowStreamItem("progress", Progress(1), 1),
        WorkflowStreamItem("log", "end", 2),
    ]


async def test_without_types_it_decodes_by_default() -> None:
    with capture_published() as captured:
        await ActivityEnvironment().run(report, "order-1")
        assert captured.items[1].data == {"done": 1}


async def test_offsets_go_on_from_one_activity_to_the_next() -> None:
    with capture_published() as captured:
        await ActivityEnvironment().run(report, "one")
        await ActivityEnvironment().run(report, "two")
    assert [item.offset for item in captured.items] == [0, 1, 2, 3, 4, 5]
    assert captured.items[3].data == "begin two"


async def test_each_capture_is_its_own() -> None:
    with capture_published() as first:
        await ActivityEnvironment().run(report, "one")
        with capture_published() as second:
            await ActivityEnvironment().run(report, "two")
    assert [first.items[0].data, second.items[0].data] == ["begin one", "begin two"]
    assert len(first.items) == len(second.items) == 3


async def test_it_holds_what_was_published_before_a_failure() -> None:
    with capture_published() as captured, pytest.raises(ValueError, match="no further"):
        await ActivityEnvironment().run(fail)
    assert [item.data for item in captured.items] == ["as far as this"]
