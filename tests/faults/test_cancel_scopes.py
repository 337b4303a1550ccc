"""Blocks that are left in a cancel scope of anyio, where each further wait is cancelled, too."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import anyio
import pytest
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient
from workflow_streams.publish import pump
from workflow_streams.read.feeds.lookup import feed_of
from workflow_streams.read.runs.source import WorkflowSource

from .cancelling import no_task_named
from .hosts import hosting
from .network import Network
from .test_publisher import far_stream, items_of

COUNT = 30


def results(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What the log says of items that were sent without anybody to wait for them."""
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if "item(s) were" in record.getMessage()
    ]


async def test_what_is_buffered_in_a_scope_that_is_cancelled_arrives(
    client: Client, unique: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "workflow_streams")
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        with anyio.CancelScope() as scope:
            async with stream:
                for value in range(COUNT):
                    stream.topic("t").publish(value)
                scope.cancel()
                await asyncio.Event().wait()
        assert scope.cancelled_caught
        await no_task_named("publish ")
        assert await items_of(client, workflow_id) == [(n, n) for n in range(COUNT)]
        [(level, text)] = results(caplog)
        assert level == "INFO"
        assert f"{workflow_id!r}: {COUNT} item(s) were delivered after" in text


async def test_leaving_a_cancelled_scope_does_not_wait_for_the_network(
    client: Client,
    unique: Any,
    network: Network,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The exception says what is open, and the log what has become of it."""
    monkeypatch.setattr(pump, "GRACE_SECONDS", 0.2)
    notes: list[str] = []
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)
        with anyio.CancelScope() as scope:
            try:
                async with stream:
                    await stream.topic("t").send("before")
                    network.stall()
                    stream.topic("t").publish("lost")
                    stream.topic("t").publish("lost, too")
                    scope.cancel()
            except asyncio.CancelledError as err:
                notes += err.__notes__
                raise
        assert scope.cancelled_caught
        await no_task_named("publish ")
        [note] = notes
        assert note.startswith(f"Workflow {workflow_id!r}: 2 item(s) are not delivered yet.")
        assert "up to 0.2 s more" in note
        [(level, text)] = results(caplog)
        assert level == "ERROR"
        assert "2 item(s) were not delivered (2 of them may have been): the 0.2 s" in text
        network.restore()


async def test_publisher_of_a_cancelled_scope_may_be_entered_anew_before_it_is_drained(
    client: Client, unique: Any, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "GRACE_SECONDS", 0.2)
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)
        with anyio.CancelScope() as scope:
            async with stream:
                await stream.topic("t").send("before")
                network.stall()
                stream.topic("t").publish("late")
                scope.cancel()
        async with stream:
            # Longer than the grace, which is over with the new block.
            await asyncio.sleep(0.4)
            stream.topic("t").publish("after")
            network.restore()
        assert await items_of(client, workflow_id) == [(0, "before"), (1, "late"), (2, "after")]


async def test_task_that_drains_is_kept_without_anybody_to_hold_it(
    client: Client, unique: Any, network: Network
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)
        with anyio.CancelScope() as scope:
            async with stream:
                await stream.topic("t").send("before")
                network.stall()
                stream.topic("t").publish("late")
                scope.cancel()
        del stream
        assert [task.get_name() for task in pump._pumps] == [f"publish {workflow_id}"]
        network.restore()
        await no_task_named("publish ")
        await asyncio.sleep(0)  # what a task calls when it is done runs right after it
        assert pump._pumps == set()
        assert await items_of(client, workflow_id) == [(0, "before"), (1, "late")]


@pytest.mark.parametrize("start", [0, 3])
async def test_reader_in_a_cancelled_scope_leaves_its_feed_and_may_go_on(
    client: Client, unique: Any, start: int
) -> None:
    """At 0 it reads the history apart from the feed, which another reader keeps at the tip."""
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        for value in range(3):
            await stream.topic("t").send(value)
        assert await stream.get_offset() == 3
        items = stream.subscribe(from_offset=start)
        found: list[Any] = []
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_later(0.05, scope.cancel)
            async for item in items:
                found.append(item.data)
        assert scope.cancelled_caught
        assert feed_of(WorkflowSource(client, workflow_id))._users == 0
        await stream.topic("t").send(3)
        async for item in items:
            found.append(item.data)
            if item.data == 3:
                break
        assert found == [0, 1, 2, 3][start:]
