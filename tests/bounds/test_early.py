"""Signals that come before their run has opened: few are held, and none is lost."""

from __future__ import annotations

import asyncio
import base64
import random
import weakref
from collections.abc import Callable

import pytest
from temporalio.client import Client
from temporalio.common import RawValue

from tests.read.hosts import Host, HostInput, hosting, worker
from tests.read.story import following, items, roll_over, send, story
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.compact import compact_payloads
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload
from workflow_streams.log.wire import Batch
from workflow_streams.read.feeds import feed as feed_module
from workflow_streams.read.feeds import lookup
from workflow_streams.read.runs import early
from workflow_streams.read.runs.chain import Chain
from workflow_streams.read.runs.source import WorkflowSource

KIBIBYTE = 1024


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not met():
            await asyncio.sleep(0.01)


def batch(number: int, value: str) -> RawValue:
    entry = entry_of("out", json_payload(f'"{value}"'.encode()))
    return RawValue(batch_payload([entry], "publisher", number))


@pytest.mark.parametrize("limit", [early.EARLY_BYTES, 40 * KIBIBYTE], ids=["held", "read again"])
async def test_what_comes_before_any_worker_is_bounded_and_told_when_there_is_one(
    client: Client, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(early, "EARLY_BYTES", limit)
    name = unique("early")
    values = [f"{number} " + "x" * 10 * KIBIBYTE for number in range(12)]
    handle = await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
    async with following(client, name) as reader:
        for number, value in enumerate(values, 1):
            await handle.signal(wire.PUBLISH_SIGNAL, batch(number, value))
            # One that is sent again is dropped, also when it is read again.
            await handle.signal(wire.PUBLISH_SIGNAL, batch(number, "again"))
            if number == 1:
                await handle.signal("unknown", "not for the stream")
        feed = lookup.feed_of(WorkflowSource(client, name))
        await until(
            lambda: (
                isinstance(feed._reading, Chain)
                and len(feed._reading.run._early) == 2 * len(values)
            )
        )
        assert isinstance(feed._reading, Chain)
        held = feed._reading.run._early.size
        assert held <= limit
        await until(lambda: feed_module.rings._beside.get(weakref.ref(feed), 0) == held)
        assert feed.view.holds_early
        assert (reader.lines, len(feed.ring)) == ([], 0)
        async with worker(client, name):
            await reader.count(len(values))
            await send(client, name, "after")
            await reader.count(len(values) + 1)
            assert not feed.view.holds_early
            await roll_over(handle)
            await send(client, name, "in the next run")
            await handle.signal(Host.order, "finish")
            expected = [
                *items(*values, "after", "in the next run"),
                ("end", "completed", len(values) + 2),
            ]
            assert await reader.end() == expected
    assert await story(client, name) == expected


async def test_what_nobody_ever_worked_on_is_told_when_its_run_is_ended(
    client: Client, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early, "EARLY_BYTES", 20 * KIBIBYTE)
    name = unique("unserved")
    values = [f"{number} " + "x" * 10 * KIBIBYTE for number in range(5)]
    handle = await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
    async with following(client, name) as reader:
        for number, value in enumerate(values, 1):
            await handle.signal(wire.PUBLISH_SIGNAL, batch(number, value))
        await handle.terminate()
        assert await reader.end() == [*items(*values), ("end", "terminated", len(values))]


async def test_a_batch_that_is_half_sent_is_room_that_the_rings_do_not_have(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("half")
    value = base64.b64encode(random.Random(1).randbytes(1_500_000)).decode()
    entry = entry_of("out", json_payload(f'"{value}"'.encode()))
    fragments = compact_payloads(Batch([entry], "publisher", 1, "tag"))
    async with hosting(client, name) as handle, following(client, name) as reader:
        await send(client, name, "before")
        await reader.count(1)
        feed = lookup.feed_of(WorkflowSource(client, name))
        *first, last = fragments
        assert first
        for fragment in first:
            await handle.signal(wire.PUBLISH_SIGNAL, RawValue(fragment))
        await until(lambda: feed_module.rings._beside.get(weakref.ref(feed), 0) > 1_000_000)
        await handle.signal(wire.PUBLISH_SIGNAL, RawValue(last))
        await reader.count(2)
        await until(lambda: weakref.ref(feed) not in feed_module.rings._beside)
        assert reader.lines == items("before", value)
