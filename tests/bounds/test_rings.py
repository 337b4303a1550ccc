"""The rings of all streams that a process reads have a bound together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from tests.read.hosts import hosting
from tests.read.story import attached, following, items, send, told
from workflow_streams import WorkflowStreamClient
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.read.feeds import feed as feed_module
from workflow_streams.read.feeds import lookup, rings
from workflow_streams.read.feeds.rings import Rings
from workflow_streams.read.runs.source import WorkflowSource
from workflow_streams.testing.fixtures import StreamServer

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE


class Owner:
    """What has a ring that gives way at once."""

    def __init__(self, rings: Rings) -> None:
        self._rings = rings
        self.size = 0

    def grow(self, size: int) -> None:
        self.size += size
        self._rings.used(self, self.size)

    def give_way(self, size: int) -> None:
        self.size -= size
        self._rings.shrunk(self, self.size)


def test_those_give_way_that_have_been_idle_longest() -> None:
    rings = Rings(100)
    one, two, three = (Owner(rings) for _ in range(3))
    for owner in (one, two, three):
        owner.grow(30)
    one.grow(0)
    three.grow(30)
    assert (one.size, two.size, three.size) == (30, 10, 60)
    three.grow(25)
    assert (one.size, two.size, three.size) == (15, 0, 85)
    assert rings.size == 100
    # What is in use does not give way to itself.
    three.grow(50)
    assert (one.size, two.size, three.size) == (0, 0, 135)
    two.grow(40)
    assert (two.size, three.size) == (40, 60)


def test_what_is_gone_makes_room() -> None:
    rings = Rings(100)
    kept = Owner(rings)
    kept.grow(40)
    for _ in range(50):
        Owner(rings).grow(30)
    assert rings.size <= 100
    kept.grow(50)
    assert kept.size == 90


def test_what_is_held_beside_the_rings_is_room_that_they_do_not_have() -> None:
    rings = Rings(100)
    one, two, three = (Owner(rings) for _ in range(3))
    one.grow(40)
    two.grow(40)
    rings.holds_beside(three, 50)
    assert (one.size, two.size, rings.beside) == (10, 40, 50)
    # More than all room: whoever is used next keeps what it has just got, and the others nothing.
    rings.holds_beside(three, 500)
    assert (one.size, two.size) == (0, 0)
    two.grow(20)
    assert (two.size, rings.size) == (20, 20)
    rings.holds_beside(three, 0)
    two.grow(70)
    assert (two.size, rings.beside) == (90, 0)
    rings.holds_beside(three, 60)
    del three
    one.grow(30)
    assert (one.size, rings.beside) == (30, 0)


def held() -> int:
    """Return what all rings hold together."""
    return feed_module.rings.size


async def test_streams_that_are_idle_give_way_and_their_readers_miss_nothing(
    client: Client, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rings, "RINGS_BYTES", 2 * MEBIBYTE)
    value = "x" * 200 * KIBIBYTE
    names = [unique("idle") for _ in range(6)]
    async with AsyncExitStack() as stack:
        readers = []
        for name in names:
            await stack.enter_async_context(hosting(client, name))
            readers.append(
                [await stack.enter_async_context(following(client, name)) for _ in range(2)]
            )
            for _ in range(4):
                await send(client, name, value)
            await asyncio.gather(*(reader.count(4) for reader in readers[-1]))
            assert held() <= 2 * MEBIBYTE
        feeds = [lookup.feed_of(WorkflowSource(client, name)) for name in names]
        assert sum(feed.ring.size for feed in feeds) <= 2 * MEBIBYTE
        # The first are empty, the last ones are not.
        assert [len(feed.ring) > 0 for feed in feeds][:2] == [False, False]
        assert len(feeds[-1].ring) > 2
        for name, pair in zip(names, readers, strict=True):
            # Who comes now, and who has waited.
            async with following(client, name) as late:
                await send(client, name, "last")
                expected = items(*[value] * 4, "last")
                for reader in (late, *pair):
                    await reader.count(5)
                    assert reader.lines == expected
            assert held() <= 2 * MEBIBYTE


async def test_a_single_reader_that_has_stopped_gives_way_and_goes_on_by_the_history(
    client: Client,
    stream_server: StreamServer,
    unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rings, "RINGS_BYTES", 2 * MEBIBYTE)
    monkeypatch.setattr(feed_module, "RING_BYTES", MEBIBYTE)
    reading = await stream_server.connect()
    value = "x" * 200 * KIBIBYTE
    names = [unique("stalled") for _ in range(4)]
    async with AsyncExitStack() as stack:
        stalled = []
        for name in names:
            await stack.enter_async_context(hosting(client, name))
            for _ in range(8):
                await send(client, name, value)
            reader = aiter(WorkflowStreamClient.create(reading, name).follow())
            stack.push_async_callback(reader.aclose)  # type: ignore[attr-defined]
            stalled.append((reader, [told(await anext(reader))]))
            await attached(reading, name, 1)
            assert held() <= 2 * MEBIBYTE + 300 * KIBIBYTE
        for reader, lines in stalled:
            lines += [told(await anext(reader)) for _ in range(7)]
            assert lines == items(*[value] * 8)
        assert held() <= 2 * MEBIBYTE + 300 * KIBIBYTE


async def test_what_was_refused_takes_no_room(client: Client, unique: Callable[[str], str]) -> None:
    name = unique("again")
    entry = entry_of("out", Payload(metadata={"encoding": b"binary/plain"}, data=b"x" * 50_000))
    async with hosting(client, name) as handle, following(client, name) as reader:
        for _ in range(20):
            batch = batch_payload([entry] * 5, "publisher", 1)
            await handle.signal(wire.PUBLISH_SIGNAL, RawValue(batch))
        await send(client, name, "last")
        await reader.count(6)
        feed = lookup.feed_of(WorkflowSource(client, name))
        held_items = [
            moment.judged.entries
            for moment in (feed.ring[i] for i in range(feed.ring.start, feed.ring.stop))
            if moment.judged is not None
        ]
        assert [len(entries) for entries in held_items] == [5, *[0] * 19, 1]
