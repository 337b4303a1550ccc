"""Event loops and processes that end: what was not delivered is told, nothing is left behind."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient, errors
from workflow_streams.testing.fixtures import StreamServer

from .hosts import Host, hosting
from .network import Network

# Leaves a reader and a publisher as they are, in the middle of what they do.
LEAVING = """
import asyncio, sys
from temporalio.client import Client
from workflow_streams import WorkflowStreamClient

async def read(stream):
    async for item in stream.subscribe():
        print(item.data, flush=True)

async def main():
    stream = WorkflowStreamClient.create(await Client.connect(sys.argv[1]), sys.argv[2])
    reading = asyncio.create_task(read(stream))
    async with stream:
        await stream.topic("t").send("sent")
        for value in range(3):
            stream.topic("t").publish(value)
        print("published", flush=True)
        if "wait" in sys.argv:
            await asyncio.Event().wait()

asyncio.run(main())
"""


@asynccontextmanager
async def leaving(server: StreamServer, workflow_id: str, *args: str) -> AsyncIterator[Process]:
    command = ["-W", "error", "-c", LEAVING, server.address, workflow_id, *args]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(100):
            yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def items_of(client: Client, workflow_id: str) -> list[Any]:
    await client.get_workflow_handle(workflow_id).signal(Host.close)
    stream = WorkflowStreamClient.create(client, workflow_id)
    return [item.data async for item in stream.subscribe()]


async def test_processes_end_silently_with_a_reader_that_still_reads(
    client: Client, stream_server: StreamServer, unique: Any
) -> None:
    """Several at once: the SDK's threads keep only some of those that they could from ending."""
    async with hosting(client, unique("host")) as workflow_id, AsyncExitStack() as stack:
        processes = [
            await stack.enter_async_context(leaving(stream_server, workflow_id)) for _ in range(4)
        ]
        for process in processes:
            _, complaints = await process.communicate()
            assert (process.returncode, complaints) == (0, b"")
        found = await items_of(client, workflow_id)
        assert sorted(found, key=str) == sorted(4 * ["sent", 0, 1, 2], key=str)


async def test_interrupted_process_delivers_what_it_has_published(
    client: Client, stream_server: StreamServer, unique: Any
) -> None:
    async with (
        hosting(client, unique("host")) as workflow_id,
        leaving(stream_server, workflow_id, "wait") as process,
    ):
        assert process.stdout is not None
        while (line := await process.stdout.readline()) != b"published\n":
            assert line, "ended before it had published"
        process.send_signal(signal.SIGINT)
        _, complaints = await process.communicate()
        assert process.returncode == -signal.SIGINT
        assert complaints.splitlines()[-1] == b"KeyboardInterrupt"
        assert b"never" not in complaints
        assert b"pending" not in complaints
        assert await items_of(client, workflow_id) == ["sent", 0, 1, 2]


def test_loop_that_ends_before_its_publisher_tells_what_is_lost(
    stream_server: StreamServer, unique: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = unique("host")

    async def forget_to_leave() -> WorkflowStreamClient:
        async with Network(stream_server.address) as network:
            far = await Client.connect(network.address)
            network.stall()
            stream = WorkflowStreamClient.create(far, name)
            await stream.__aenter__()
            stream.topic("t").publish(1)
            stream.topic("t").publish(2)
            await asyncio.sleep(0.05)
            return stream

    stream = asyncio.run(forget_to_leave())
    assert "2 item(s) were not delivered (2 of them may have been): publishing was cancelled" in (
        caplog.text
    )
    with pytest.raises(errors.UsageError, match="event loop that this publisher ran on is closed"):
        stream.topic("t").publish(3)


def test_publisher_may_be_used_on_one_event_loop_after_the_other(
    stream_server: StreamServer, unique: Any
) -> None:
    name = unique("host")

    def run(main: Callable[[], Any]) -> Any:
        return asyncio.run(main())

    async def begin() -> WorkflowStreamClient:
        client = await stream_server.connect()
        async with hosting(client, name):
            stream = WorkflowStreamClient.create(client, name)
            async with stream:
                assert await stream.topic("t").send("first loop") == 0
            return stream

    stream = run(begin)

    async def go_on() -> list[Any]:
        client = await stream_server.connect()
        async with stream:
            stream.topic("t").publish("second loop")
            await stream.flush()
            await asyncio.sleep(0)
            stream.topic("t").publish("still there")
        handle = client.get_workflow_handle(name)
        await handle.signal(Host.close)
        await handle.terminate()
        return [item.data async for item in stream.subscribe()]

    assert run(go_on) == ["first loop", "second loop", "still there"]


async def test_second_event_loop_at_the_same_time_is_refused(client: Client, unique: Any) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        refusals: list[str] = []
        async with WorkflowStreamClient.create(client, workflow_id) as stream:

            async def intrude() -> None:
                for intrusion in (
                    stream.flush,
                    stream.__aenter__,
                    lambda: stream.topic("t").send("intruded"),
                ):
                    with pytest.raises(errors.UsageError) as refused:
                        await intrusion()
                    refusals.append(str(refused.value))

            thread = threading.Thread(target=lambda: asyncio.run(intrude()))
            thread.start()
            await asyncio.to_thread(thread.join)
            stream.topic("t").publish("own")
        assert len(refusals) == 3
        assert await items_of(client, workflow_id) == ["own"]


async def test_readers_that_are_dropped_without_closing_leave_no_complaint(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        await stream.topic("t").send("first")
        for _ in range(3):
            async for item in stream.subscribe():
                assert item.data == "first"
                break
        waiting = [asyncio.create_task(anext(stream.subscribe(from_offset=1))) for _ in range(3)]
        await asyncio.sleep(0.02)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert all(task.cancelled() for task in waiting)
