"""What streams begin with may be many values; making them leaves others their turn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from temporalio.client import Client

from workflow_streams import LATEST, Item, WorkflowStreamClient, create_stream
from workflow_streams.hosted import forks, host_worker
from workflow_streams.hosted.forks import ForkSource
from workflow_streams.hosted.streams import Hosting, found, setup_of
from workflow_streams.log import entries as log_entries
from workflow_streams.log.positions import parse_position
from workflow_streams.temporal.link import ClientLink

Unique = Callable[[str], str]
COUNT = 10 * log_entries.AT_ONCE


class Turns:
    """Counts the turns of a task that runs beside others."""

    def __init__(self) -> None:
        self.count = 0

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._take())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _take(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


async def test_values_are_encoded_a_few_at_a_time(client: Client, unique: Unique) -> None:
    name, queue, turns = unique("stream"), unique("queue"), Turns()
    seen: list[int] = []

    def values() -> Iterator[int]:
        for number in range(COUNT):
            seen.append(turns.count)
            yield number

    async with host_worker(client, task_queue=queue), turns.taken():
        await create_stream(client, name, initial=values(), task_queue=queue)
    assert len(set(seen)) >= COUNT // log_entries.AT_ONCE
    found = [item.data async for item in reading(client, name)]
    assert found == list(range(COUNT))


async def test_items_are_copied_into_a_fork_a_few_at_a_time(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, fork, queue, turns = unique("stream"), unique("fork"), unique("queue"), Turns()
    seen: list[int] = []
    beginning_with = ForkSource.beginning_with

    async def noting(source: ForkSource, *arguments: object) -> AsyncIterator[str]:
        async for entry in beginning_with(source, *arguments):  # type: ignore[arg-type]
            seen.append(turns.count)
            yield entry

    async with host_worker(client, task_queue=queue), turns.taken():
        await create_stream(client, name, initial=range(COUNT), task_queue=queue)
        monkeypatch.setattr(ForkSource, "beginning_with", noting)
        own = range(COUNT, 2 * COUNT)
        await create_stream(client, fork, forked_from=name, initial=own, task_queue=queue)
    assert len(seen) == 2 * COUNT
    for part in (seen[:COUNT], seen[COUNT:]):
        assert len(set(part)) >= COUNT // log_entries.AT_ONCE
    assert [item.data async for item in reading(client, fork)] == list(range(2 * COUNT))


async def test_a_fork_of_forks_remembers_the_nearest_ones(
    client: Client, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "_MOST_ANCESTORS", 3)
    names, queue = [unique(f"fork {i}") for i in range(6)], unique("queue")
    positions: list[str] = []
    async with host_worker(client, task_queue=queue):
        await create_stream(client, names[0], initial=["a", "b"], task_queue=queue)
        for source, fork in pairwise(names):
            await create_stream(client, fork, forked_from=source, task_queue=queue)
        for name in names:
            positions.append((await anext(reading(client, name))).position)
        setup = await setup_of(await client.get_workflow_handle(names[-1]).describe())
        assert setup is not None
        assert len(setup.sources.split(",")) == 3
        async with found(Hosting(ClientLink(client), queue), names[-1]) as stream:
            known = [stream.knows(parse_position(position)) for position in positions]
        assert known == [False, False, True, True, True, True]


def reading(client: Client, name: str) -> AsyncIterator[Item[int]]:
    """Read what is in a stream."""
    return WorkflowStreamClient.create(client, name).subscribe(until=LATEST)
