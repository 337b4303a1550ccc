"""What our readers are told, in the form in which the sibling's are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from temporalio.client import Client

from tests.read.story import Follower, Line, told
from workflow_streams import End, Gap, Item, Rewind, WorkflowStreamClient


def line(event: Item[Any] | Gap | Rewind | End) -> Line:
    """An item as (offset, topic, data), anything else as in stories."""
    match event:
        case Item(topic=topic, data=data, offset=offset):
            return offset, topic, data
        case _:
            return told(event)


@asynccontextmanager
async def following(client: Client, workflow_id: str, **how: Any) -> AsyncIterator[Follower]:
    """Follow a stream by our reader while in the block."""
    stream = WorkflowStreamClient.create(client, workflow_id)
    follower = Follower(line(event) async for event in stream.follow(**how))
    try:
        yield follower
    finally:
        await follower.stop()


def items(topic: str, *values: Any, start: int = 0) -> list[Line]:
    """Items of one topic with consecutive offsets."""
    return [(offset, topic, value) for offset, value in enumerate(values, start)]
