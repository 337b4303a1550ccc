"""A rollover takes nothing from subscribers that poll, if they keep up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
import temporalio.contrib.workflow_streams as contrib
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from tests.dense import dense
from tests.read.hosts import hosting
from tests.read.story import SECONDS, next_run, roll_over, run_id_of, send
from workflow_streams import WorkflowStreamClient
from workflow_streams.host import rollover
from workflow_streams.log import wire

from .polling import polled_values


def burst(label: str, count: int, size: int) -> list[str]:
    return [f"{label} {i} ".ljust(size, ".") for i in range(count)]


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not met():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("count", "size"), [(10, 100_000), (25, 100_000), (8_000, 20), (3, 1_000_000)]
)
async def test_a_subscriber_gets_each_item_of_bursts_right_before_rollovers(
    client: Client, unique: Callable[[str], str], count: int, size: int
) -> None:
    name = unique("burst")
    got: list[tuple[int, bytes]] = []
    expected: list[str] = []

    async def publish(values: Sequence[str]) -> None:
        expected.extend(values)
        async with WorkflowStreamClient.create(client, name) as stream:
            for value in values:
                stream.topic("out", type=str).publish(value)

    async with hosting(client, name) as handle:
        reading = asyncio.create_task(polled_values(client, name, got))
        run = await run_id_of(handle)
        for label in "abc":
            await publish([f"small {label}"])
            await until(lambda: len(got) == len(expected))
            await publish(burst(label, count, size))
            await handle.signal("order", "roll")
            run = await next_run(handle, run)
        await publish(["last"])
        await until(lambda: len(got) >= len(expected))
        await handle.signal("order", "finish")
        await handle.result()
        await asyncio.wait_for(reading, SECONDS)
    assert got == [(i, f'"{value}"'.encode()) for i, value in enumerate(expected)]


async def test_a_poll_below_what_was_carried_along_is_told_so(
    client: Client, unique: Callable[[str], str]
) -> None:
    """By the contrib's own error, which its clients know, and not by a page from elsewhere."""
    name = unique("below")
    async with hosting(client, name) as handle:
        await send(client, name, *burst("a", 3, 300_000))
        await poll(client, name, 0)
        await roll_over(handle)
        with pytest.raises(WorkflowUpdateFailedError) as caught:
            await poll(client, name, 1)
        assert isinstance(caught.value.cause, ApplicationError)
        assert caught.value.cause.type == wire.TRUNCATED_OFFSET


async def test_without_subscribers_nothing_is_carried_along(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("alone")
    async with hosting(client, name) as handle:
        await send(client, name, *burst("a", 3, 10_000))
        await roll_over(handle)
        started = await anext(handle.fetch_history_events())
        size = started.workflow_execution_started_event_attributes.input.ByteSize()
        assert size < 2_000
        stream = contrib.WorkflowStreamClient.create(client, name)
        assert await stream.get_offset() == 3
        assert (await poll(client, name, 0, wait=False)).items == []


async def poll(client: Client, name: str, offset: int, *, wait: bool = True) -> contrib.PollResult:
    handle = client.get_workflow_handle(name)
    asked = contrib.PollInput([], offset)
    if not wait:
        return await handle.query(wire.POLL, asked, result_type=contrib.PollResult)
    return await handle.execute_update(wire.POLL, asked, result_type=contrib.PollResult)


async def test_a_rollover_waits_for_nobody_once_the_history_is_large(
    client: Client, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer adds to the history, and the server ends a workflow at 50 MiB."""
    monkeypatch.setattr(rollover, "_CATCH_UP", timedelta(seconds=10 * SECONDS))
    monkeypatch.setattr(rollover, "_LONGEST_CATCH_UP", timedelta(seconds=10 * SECONDS))
    monkeypatch.setattr(rollover, "_LAST_ROLLOVER_BYTES", 1024 * 1024)
    name = unique("large")
    async with hosting(client, name) as handle:
        run = await run_id_of(handle)
        await handle.query(wire.OFFSET_QUERY)
        async with WorkflowStreamClient.create(client, name) as stream:
            for number in range(30):
                stream.topic("out", type=str).publish(f"{number} {dense(100_000)}")
        # A subscriber that stays far behind.
        poll = wire.PollInput([], 0)
        page = await handle.execute_update(wire.POLL, poll, result_type=wire.PollResult)
        assert page.more_ready
        await handle.signal("order", "roll")
        async with asyncio.timeout(SECONDS):
            await next_run(handle, run)
        await handle.signal("order", "finish")
        await handle.result()
