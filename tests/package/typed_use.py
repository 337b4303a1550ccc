"""What type checkers make of the API; checked, never run.

``assert_type`` fails where a type is another, and an ignored error that does not occur is an
error, too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
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
    Rewind,
    TopicHandle,
    WorkflowStream,
    WorkflowStreamClient,
    WorkflowStreamItem,
    WorkflowStreamState,
    WorkflowTopicHandle,
    connect,
)


@dataclass
class Status:
    kind: str


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

    assert_type(stream.subscribe(), AsyncIterator[WorkflowStreamItem[Any]])
    assert_type(
        stream.subscribe(["status"], LATEST, result_type=Status),
        AsyncIterator[WorkflowStreamItem[Status]],
    )
    assert_type(
        stream.subscribe(status, Last(5), result_type=RawValue),
        AsyncIterator[WorkflowStreamItem[RawValue]],
    )
    assert_type(status.subscribe(7), AsyncIterator[WorkflowStreamItem[Status]])
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


async def connects() -> None:
    assert_type(await connect(namespace="orders"), Client)
