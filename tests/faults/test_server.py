"""The server is away at the start, or dies in mid-stream: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from workflow_streams import End, WorkflowStreamClient, errors
from workflow_streams.embedded import EmbeddedServer

from .conftest import ONE_ATTEMPT
from .hosts import Host, hosting, start_host
from .reading import reading

pytestmark = pytest.mark.processes


async def stopped_with_a_host(folder: Path) -> EmbeddedServer:
    """A server that does not run and has a Host workflow, `host`, in its file."""
    server = EmbeddedServer(db_filename=folder / "streams.db")
    await server.start()
    await start_host(await server.connect(), "host")
    await server.stop()
    return server


def lazy_client(server: EmbeddedServer) -> Any:
    return server.connect(lazy=True, retry_config=ONE_ATTEMPT)


async def test_publisher_waits_for_a_server_that_is_not_up_yet(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = await stopped_with_a_host(tmp_path)
    stream = WorkflowStreamClient.create(await lazy_client(server), "host")
    async with stream:
        for value in range(3):
            stream.topic("t").publish(value)
        flushing = asyncio.create_task(stream.flush())
        while "is retried" not in caplog.text:
            await asyncio.sleep(0.01)
        await server.start()
        await flushing
        stream.topic("t").publish(3)
    client = await server.connect()
    async with Worker(client, task_queue="host", workflows=[Host]), reading(stream) as reader:
        await client.get_workflow_handle("host").signal(Host.close)
    assert reader.items == [(0, 0), (1, 1), (2, 2), (3, 3)]
    await server.stop()


async def test_publisher_gives_up_in_time_on_a_server_that_never_comes(tmp_path: Path) -> None:
    """The SDK's own tries within a call would take longer than the second that is allowed."""
    server = await stopped_with_a_host(tmp_path)
    await server.start()
    patient = await server.connect()
    await server.stop()
    for client in (await lazy_client(server), patient):
        stream = WorkflowStreamClient(
            client.get_workflow_handle("host"),
            client=client,
            max_retry_duration=timedelta(seconds=1),
        )
        began = asyncio.get_running_loop().time()
        with pytest.raises(errors.PublishTimeoutError) as raised:
            async with stream:
                stream.topic("t").publish("lost")
        assert asyncio.get_running_loop().time() - began < 5
        assert (raised.value.undelivered, raised.value.uncertain) == (1, 1)
        assert isinstance(raised.value.__cause__, errors.ServerUnavailableError)


async def test_reader_says_that_the_server_is_down_and_reads_once_it_is_up(
    tmp_path: Path,
) -> None:
    server = await stopped_with_a_host(tmp_path)
    client: Client = await lazy_client(server)
    stream = WorkflowStreamClient.create(client, "host")
    items = aiter(stream.subscribe())
    with pytest.raises(errors.ServerUnavailableError):
        await anext(items)
    with pytest.raises(errors.ServerUnavailableError):
        await stream.get_offset()
    await server.start()
    async with Worker(await server.connect(), task_queue="host", workflows=[Host]):
        assert await stream.get_offset() == 0
    async with stream:
        stream.topic("t").publish("up")
    item = await anext(items)
    assert (item.offset, item.data) == (0, "up")
    await server.stop()


async def test_server_killed_twice_in_mid_stream(mortal: EmbeddedServer) -> None:
    client = await mortal.connect()
    async with hosting(client, "host") as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        late = WorkflowStreamClient.create(await mortal.connect(), workflow_id)
        published = 0
        done = False

        async def publish() -> None:
            nonlocal published
            async with stream:
                while not done:
                    stream.topic("t").publish(published)
                    published += 1
                    await asyncio.sleep(0.01)

        async with reading(stream) as reader, reading(late, from_offset=5) as second:
            publishing = asyncio.create_task(publish())
            for _ in range(2):
                await reader.count(len(reader.items) + 20)
                sending = asyncio.create_task(late.topic("s").send("sent"))
                await mortal.kill()
                before = published
                while published < before + 20:
                    await asyncio.sleep(0.01)
                await mortal.start()
                await sending
            await reader.count(len(reader.items) + 20)
            done = True
            await publishing
            await client.get_workflow_handle(workflow_id).signal(Host.close)
        offsets = [offset for offset, _ in reader.items]
        assert offsets == list(range(published + 2))
        assert [data for _, data in reader.items if data != "sent"] == list(range(published))
        assert second.items == reader.items[5:]
        assert [type(e) for e in reader.events if not hasattr(e, "data")] == [End]
