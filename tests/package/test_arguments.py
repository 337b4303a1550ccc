"""What cannot work is refused where it is given, and nothing is accepted and then dropped."""

from __future__ import annotations

import enum
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from tests.read.hosts import Host, hosting
from tests.read.story import items, story
from workflow_streams import WorkflowStream, WorkflowStreamClient
from workflow_streams.errors import UsageError
from workflow_streams.topics import TopicTypes


class Number(enum.IntEnum):
    ONE = 1


class Name(enum.StrEnum):
    NEWS = "news"


@pytest.mark.parametrize("name", [7, None, True, Number.ONE, b"bytes", 1.5, ["l"], ("t",)])
def test_a_topic_has_a_str_for_a_name(name: Any) -> None:
    with pytest.raises(UsageError, match="A topic's name is a str"):
        TopicTypes().bind(name, None)


async def test_what_is_no_topic_costs_the_others_nothing(client: Client, unique: Any) -> None:
    name = unique("odd")
    async with hosting(client, name) as handle:
        async with WorkflowStreamClient.create(client, name) as stream:
            stream.topic("fine").publish("one")
            for topic in (7, None, b"bytes"):
                with pytest.raises(UsageError):
                    stream.topic(topic).publish("lost")  # type: ignore[call-overload]
                with pytest.raises(UsageError):
                    stream.follow([topic])  # type: ignore[list-item]
            stream.topic(Name.NEWS).publish("two")
            for topic in ("", "\x00", "a\nb", "\ud800", "\u2028"):
                stream.topic(topic).publish(topic)
        await handle.signal(Host.order, "finish")
        await handle.result()
    assert await story(client, name) == [
        *items("one", "two", "", "\x00", "a\nb", "\ud800", "\u2028"),
        ("end", "completed", 7),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_interval": 5},
        {"max_retry_duration": None},
        {"max_retry_duration": 60.0},
    ],
)
async def test_times_are_timedeltas(client: Client, wrong: Any) -> None:
    with pytest.raises(UsageError, match="is a timedelta, not"):
        WorkflowStreamClient.create(client, "any", **wrong)
    stream = WorkflowStreamClient.create(client, "any")
    for how in ({"wait": 5}, {"max_outage": 1.5}):
        with pytest.raises(UsageError, match="is a timedelta, not"):
            stream.follow(**how)  # type: ignore[call-overload]


@pytest.mark.parametrize("value", [1.5, "5", True, 0, -1])
@pytest.mark.parametrize("name", ["max_batch_size", "max_buffer_items", "max_buffer_bytes"])
async def test_counts_are_whole_numbers(client: Client, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match="must be a whole number, at least 1, not"):
        WorkflowStreamClient.create(client, "any", **{name: value})


@pytest.mark.parametrize("keep_last", [100.0, "5", True, 0])
def test_a_ring_holds_a_whole_number(keep_last: Any) -> None:
    with pytest.raises(ValueError, match="must be a whole number, at least 1, not"):
        WorkflowStream(keep_last=keep_last)


@pytest.mark.parametrize("offset", [1.0, True, "1", None])
async def test_no_odd_offset_gets_into_the_history(
    client: Client, unique: Any, offset: Any
) -> None:
    name = unique("odd")
    async with hosting(client, name) as handle:
        await handle.signal(Host.publish, ["a", "b"])
        with pytest.raises(WorkflowUpdateFailedError) as failed:
            await handle.execute_update("truncate_now", offset)
        assert isinstance(failed.value.cause, ApplicationError)
        assert failed.value.cause.type == "TruncateOutOfRange"
        await handle.execute_update("truncate_now", 1)
        await handle.signal(Host.order, "finish")
        await handle.result()
    assert await story(client, name) == [(1, "b"), ("end", "completed", 2)]


def test_a_timedelta_of_a_subclass_will_do() -> None:
    class Fortnight(timedelta):
        pass

    from workflow_streams.arguments import seconds_of

    assert seconds_of("wait", Fortnight(days=14)) == 14 * 86_400
