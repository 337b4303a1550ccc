"""What type checkers make of the API; checked, never run.

``assert_type`` fails where a type is another, and an ignored error that does not occur is an
error, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_never, assert_type

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from workflow_streams import (
    LATEST,
    End,
    Gap,
    Item,
    Last,
    ReadOptions,
    Rewind,
    Subscription,
    TopicHandle,
    WorkflowStream,
    WorkflowStreamClient,
    WorkflowStreamItem,
    WorkflowStreamState,
    WorkflowTopicHandle,
    connect,
)
from workflow_streams.events import Event


@dataclass
class Status:
    kind: str


@dataclass
class TextDelta:
    text: str


class Host:
    def __init__(self, state: WorkflowStreamState | None) -> None:
        self.stream = WorkflowStream(state, keep_last=5)
        status = self.stream.topic("status", type=Status)
        assert_type(status, WorkflowTopicHandle[Status])
        assert_type(status.type, type[Status])
        assert_type(self.stream.topic("any"), WorkflowTopicHandle[Any])
        status.publish(Status("received"))
        status.publish(Payload())
        status.publish_many([Status("shipped"), Payload()])
        status.publish("received")  # type: ignore[arg-type]
        status.publish_many(["shipped"])  # type: ignore[list-item]
        self.stream.topic("any").publish(object())

    async def roll_over(self) -> int:
        assert_type(self.stream.get_state(), WorkflowStreamState)
        assert_type(self.stream.head, int)
        assert_type(self.stream.rollover_due, bool)
        await self.stream.continue_as_new(lambda state: [state], publisher_ttl=timedelta(hours=1))
        return "unreachable"  # nothing comes back from continue_as_new


async def publishes(stream: WorkflowStreamClient) -> None:
    status = stream.topic("status", type=Status)
    assert_type(status, TopicHandle[Status])
    assert_type(stream.topic("any"), TopicHandle[Any])
    async with stream as entered:
        assert_type(entered, WorkflowStreamClient)
        status.publish(Status("received"), force_flush=True)
        status.publish("received")  # type: ignore[arg-type]
        assert_type(await status.send(Payload()), int)
        await status.send(1)  # type: ignore[arg-type]
        await stream.flush()


async def reads(client: Client) -> None:
    stream = WorkflowStreamClient.create(client, "workflow", max_batch_size=10)
    assert_type(stream, WorkflowStreamClient)
    assert_type(await stream.get_offset(), int)
    status = stream.topic("status", type=Status)

    assert_type(stream.subscribe(), Subscription[WorkflowStreamItem[Any]])
    assert_type(
        stream.subscribe(["status"], LATEST, result_type=Status),
        Subscription[WorkflowStreamItem[Status]],
    )
    assert_type(
        stream.subscribe(status, Last(5), result_type=RawValue),
        Subscription[WorkflowStreamItem[RawValue]],
    )
    assert_type(status.subscribe(7), Subscription[WorkflowStreamItem[Status]])
    stream.subscribe("status", from_offset="7")  # type: ignore[call-overload]

    async for item in status.subscribe():
        assert_type(item.data, Status)
        assert_type(item.offset, int)
    async for raw in stream.subscribe([status, "other"], result_type=RawValue):
        assert_type(raw.data, RawValue)


async def follows(stream: WorkflowStreamClient) -> None:
    async for event in stream.follow("status", 3, result_type=Status):
        match event:
            case Item(data=data, offset=offset):
                assert_type(data, Status)
                assert_type(offset, int)
            case Gap(start, end, _):
                assert_type((start, end), tuple[int, int])
            case Rewind(ranges):
                assert_type(ranges, tuple[range, ...])
            case End(outcome, failure=failure):
                assert_type(failure, BaseException | None)
                assert outcome != "complete"  # type: ignore[comparison-overlap]
            case _:
                assert_never(event)
    async for event in stream.topic("status", type=Status).follow(LATEST):
        assert_type(event, Item[Status] | Gap | Rewind | End)


async def one_task_reads_two_types(stream: WorkflowStreamClient) -> None:
    topics: Mapping[str, type[TextDelta | Status]] = {"delta": TextDelta, "status": Status}
    async for event in stream.follow(topics, until=LATEST):
        assert_type(event, Item[TextDelta | Status] | Gap | Rewind | End)
        match event:
            case Item(data=data):
                match data:
                    case TextDelta(text=text):
                        assert_type(text, str)
                    case Status():
                        assert_type(data, Status)
                    case _:
                        assert_never(data)
            case Gap() | Rewind() | End():
                pass
            case _:
                assert_never(event)
    # Of types in a literal, pyright makes a union and mypy an object; patterns narrow both.
    async for told in stream.follow({"delta": TextDelta, "status": Status}):
        match told:
            case Item(data=TextDelta(text=text)):
                assert_type(text, str)
            case Item(data=Status() as status):
                assert_type(status, Status)
            case Item() | Gap() | Rewind() | End():
                pass
            case _:
                assert_never(told)
    async for item in stream.subscribe({"delta": TextDelta}):
        assert_type(item, Item[TextDelta])
    stream.follow({"delta": 7})  # type: ignore[arg-type]


async def topics_tell_events_apart(stream: WorkflowStreamClient) -> None:
    delta = stream.topic("delta", type=TextDelta)
    status = stream.topic("status", type=Status)
    async for event in stream.follow([delta, status]):
        if delta.has(event):
            assert_type(event, Item[TextDelta])
        match event:
            case Item() if delta.has(event):
                assert_type(event.data, TextDelta)
            case Item() if status.has(event):
                assert_type(event.data, Status)
            case Item() | Gap() | Rewind() | End():
                pass
            case _:
                assert_never(event)


async def options_are_checked(stream: WorkflowStreamClient) -> None:
    options: ReadOptions = {"wait": timedelta(minutes=1), "until": LATEST, "max_outage": None}
    stream.follow("status", **options)
    stream.subscribe("status", from_position="0", until=7)
    status = stream.topic("status", type=Status)
    assert_type(status.follow(**options), Subscription[Event[Status]])
    status.subscribe(until="7")  # type: ignore[arg-type]
    status.subscribe(till=7)  # type: ignore[call-arg]
    stream.follow(wait=60)  # type: ignore[call-overload]
    stream.follow(till=7)  # type: ignore[call-overload]


async def leaves_early(stream: WorkflowStreamClient) -> None:
    whole: AsyncIterator[WorkflowStreamItem[Any]] = stream.subscribe()
    async with stream.topic("status", type=Status).subscribe() as statuses:
        assert_type(statuses, Subscription[WorkflowStreamItem[Status]])
        assert_type(await anext(statuses), Item[Status])
    assert_type(await anext(whole), Item[Any])


async def connects() -> None:
    assert_type(await connect(namespace="orders"), Client)
