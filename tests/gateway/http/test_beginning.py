"""Where a read begins: nothing that stood there when it was asked for is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from temporalio.client import Client

from workflow_streams import Last
from workflow_streams.gateway import GatewaySettings
from workflow_streams.gateway.formats.offsets import ReadStart
from workflow_streams.gateway.reading.beginning import begin
from workflow_streams.gateway.requests.reads import ReadQuery
from workflow_streams.gateway.temporal.link import TemporalLink
from workflow_streams.gateway.temporal.streams import found
from workflow_streams.read.walk import Slice

from .hosts import ended, hosting, said

Unique = Callable[[str], str]


@pytest.mark.parametrize(("start", "first"), [("start", 0), (3, 3), (Last(2), 8), (Last(1), 9)])
async def test_a_stream_that_ends_while_it_is_looked_up_is_read_to_its_end(
    client: Client, unique: Unique, start: ReadStart, first: int
) -> None:
    name = unique("talks")
    link = TemporalLink(client, task_queue=None, call_seconds=100)
    settings = GatewaySettings(open_seconds=100)
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("count", args=[0, 10])
        await said(talks, 10)
        async with found(link, settings, name) as stream, stream.held():
            await stream.now()
            await talks.signal("end", "complete")
            await ended(talks)
            # As it is described right after the end, but its feed is no more by the time that
            # reading begins, so that the walk takes another one.
            while not stream.feed.done:
                await asyncio.sleep(0.01)
            looked_up = replace(stream, described=await talks.describe())
            begun = await begin(looked_up, ReadQuery(start, None, None, frozenset()))
            await begun.reading.aclose()
    slices = [step for step in begun.first.steps if isinstance(step, Slice)]
    offsets = [part.offset + index for part in slices for index in range(len(part.entries))]
    assert offsets == list(range(first, 10))
    assert begun.first.end is not None
