"""Items that are published where nothing sends them: the log tells, soon and at the end."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from typing import Any

import pytest
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient
from workflow_streams.embedded.ports import free_port
from workflow_streams.publish import unsent

from .hosts import Host, hosting

NOBODY = """
import asyncio, sys
from temporalio.client import Client
from workflow_streams import WorkflowStreamClient

async def main():
    global stream
    client = await Client.connect(sys.argv[1], lazy=True)
    stream = WorkflowStreamClient.create(client, "order-1")
    for value in range(3):
        stream.topic("t").publish(value)

asyncio.run(main())
"""


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsent, "UNSENT_SECONDS", 0.05)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What the log has told of unsent items, as it comes."""
    found: list[str] = []

    class Told(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "nothing sends them" in record.getMessage():
                found.append(f"{record.levelname} {record.getMessage()}")

    handler = Told()
    unsent.logger.addHandler(handler)
    yield found
    unsent.logger.removeHandler(handler)


async def until_told(told: list[str], times: int) -> None:
    while len(told) < times:
        await asyncio.sleep(0.001)


async def test_items_of_a_client_that_is_neither_entered_nor_flushed_are_told_once(
    client: Client, unique: Any, soon: None, told: list[str]
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        stream.topic("t").publish("one")
        stream.topic("t").publish("two", force_flush=True)
        await until_told(told, 1)
        assert told[0].startswith("WARNING 2 item(s) for workflow '" + workflow_id)
        stream.topic("t").publish("three")
        await asyncio.sleep(0.1)
        assert len(told) == 1
        # They are still there, to be sent.
        await stream.flush()
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert [item.data async for item in stream.subscribe()] == ["one", "two", "three"]


async def test_items_published_after_the_block_are_told(
    client: Client, unique: Any, soon: None, told: list[str]
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        async with stream:
            stream.topic("t").publish("in the block")
        stream.topic("t").publish("behind it")
        await until_told(told, 1)
        await stream.flush()


async def test_items_left_by_a_cancelled_flush_are_told(
    unique: Any, soon: None, told: list[str]
) -> None:
    far = await Client.connect(f"127.0.0.1:{free_port()}", lazy=True)
    stream = WorkflowStreamClient.create(far, unique("nobody"))
    stream.topic("t").publish("kept")
    flushing = asyncio.create_task(stream.flush())
    await asyncio.sleep(0.01)
    flushing.cancel()
    await asyncio.wait([flushing])
    await until_told(told, 1)
    with pytest.warns(ResourceWarning, match="never sent"):
        del stream, flushing
        gc.collect()


async def test_nothing_is_told_where_somebody_sends(
    client: Client, unique: Any, soon: None, told: list[str]
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        stream.topic("t").publish("flushed")
        await stream.flush()
        async with stream:
            stream.topic("t").publish("in a block")
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.1)
        assert told == []


async def test_dropped_client_logs_what_is_lost_with_it(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    stream = WorkflowStreamClient.create(client, "any")
    stream.topic("t").publish(1)
    with pytest.warns(ResourceWarning):
        del stream
    [record] = [r for r in caplog.records if "never sent" in r.getMessage()]
    assert record.levelname == "ERROR"
    assert "1 item(s) for workflow 'any'" in record.getMessage()


@pytest.mark.processes
async def test_process_that_ends_says_what_it_has_never_sent() -> None:
    """With Python's own settings: no logging is set up, and no warning of this kind is shown."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", NOBODY, f"127.0.0.1:{free_port()}", stdout=PIPE, stderr=PIPE
    )
    _, complaints = await process.communicate()
    assert process.returncode == 0
    lost = "3 item(s) for workflow 'order-1' were published but never sent: "
    assert complaints.decode() == f"{lost}use `async with` or await flush()\n"
