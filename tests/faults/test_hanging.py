"""A call that waits for events hangs at a node that has lost the shard: the next one goes on.

The network keeps the answers of the calls that hang back for good. What is promised is that nobody
waits for the server to end them, as it does after 20 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from temporalio.client import Client

from workflow_streams import Last, WorkflowStreamClient
from workflow_streams.gateway import GatewaySettings
from workflow_streams.gateway.temporal.link import TemporalLink
from workflow_streams.gateway.temporal.streams import found
from workflow_streams.hosted.appends import Append, append
from workflow_streams.log.entries import entry_of
from workflow_streams.log.fold import Accepted
from workflow_streams.log.packed import pack
from workflow_streams.log.payloads import json_payload
from workflow_streams.read.history import renewal
from workflow_streams.testing.fixtures import StreamServer

from .conftest import FEW_ATTEMPTS
from .hanging import HangingCalls
from .hosts import Host, hosting, start_host
from .network import Network
from .reading import Reader, reading


@pytest.fixture
async def hanging(stream_server: StreamServer) -> AsyncIterator[HangingCalls]:
    """A network between the test server and clients, on which calls can hang."""
    async with HangingCalls(stream_server.address) as network:
        yield network


async def connected(network: Network) -> Client:
    return await Client.connect(network.address, retry_config=FEW_ATTEMPTS)


@pytest.fixture
async def far(hanging: HangingCalls) -> Client:
    """A client behind that network."""
    return await connected(hanging)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take streams for idle as soon as an item has come."""
    monkeypatch.setattr(renewal, "_LIVELY_SECONDS", 0.0)


@asynccontextmanager
async def followed(
    client: Client, far: Client, workflow_id: str
) -> AsyncIterator[tuple[WorkflowStreamClient, Reader]]:
    """A reader by way of ``far`` that has got one item and waits for more, to the end."""
    stream = WorkflowStreamClient.create(far, workflow_id)
    async with hosting(client, workflow_id), reading(stream) as reader:
        await WorkflowStreamClient.create(client, workflow_id).topic("t").send("before")
        await reader.count(1)
        # The events of the workflow task that follows have come, too.
        await stream.get_offset()
        yield stream, reader
        await client.get_workflow_handle(workflow_id).signal(Host.close)


@asynccontextmanager
async def hung(client: Client, hanging: HangingCalls, name: str) -> AsyncIterator[None]:
    """Have the one call hang that waits; what is in the block ends before the server ends it."""
    await hanging.until(lambda: hanging.waiting == 1)
    hanging.hang()
    with ended_by_the_server(client, await start_host(client, name)) as end:
        yield
        assert hanging.lost_answers > 0
        assert not end.done(), "the call that hangs has been waited for"


@contextmanager
def ended_by_the_server(client: Client, idle_workflow: str) -> Iterator[asyncio.Task[None]]:
    """A call that waits from now on for events which do not come, until the server ends it."""
    handle = client.get_workflow_handle(idle_workflow)

    async def wait() -> None:
        pages = handle.fetch_history_events(wait_new_event=True)
        await pages.fetch_next_page()
        await pages.fetch_next_page()

    task = asyncio.create_task(wait())
    try:
        yield task
    finally:
        task.cancel()


async def test_reader_of_a_lively_stream_goes_on_by_a_new_call(
    client: Client,
    unique: Any,
    hanging: HangingCalls,
    far: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Twice: what has been renewed once is renewed again."""
    workflow_id = unique("host")
    near = WorkflowStreamClient.create(client, workflow_id)
    async with followed(client, far, workflow_id) as (_, reader):
        for time in range(2):
            async with hung(client, hanging, unique("idle")):
                for value in range(3):
                    await near.topic("t").send(f"{time}.{value}")
                await reader.count(1 + 3 * (time + 1))
    assert reader.items == list(enumerate(["before", "0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]))
    assert [type(event).__name__ for event in reader.events[7:]] == ["End"]
    # It is no failure that anybody should hear of.
    assert "is retried" not in caplog.text


@pytest.mark.usefixtures("idle")
async def test_sender_to_an_idle_stream_learns_the_verdict_by_a_new_call(
    client: Client, unique: Any, hanging: HangingCalls, far: Client
) -> None:
    async with followed(client, far, unique("host")) as (stream, reader):
        async with hung(client, hanging, unique("idle")):
            assert await stream.topic("t").send("sent") == 1
        assert await stream.topic("t").send("sent, too") == 2
    assert reader.items == [(0, "before"), (1, "sent"), (2, "sent, too")]


@pytest.mark.usefixtures("idle")
async def test_gateway_answers_a_write_and_a_read_of_an_idle_stream_by_a_new_call(
    client: Client, unique: Any, hanging: HangingCalls, far: Client
) -> None:
    workflow_id = unique("host")
    near = WorkflowStreamClient.create(client, workflow_id)
    async with followed(client, far, workflow_id) as (_, reader):
        link, settings = TemporalLink(far, task_queue=None, call_seconds=100), GatewaySettings()
        entry = entry_of("t", json_payload(b'"written"'))
        async with found(link, settings, workflow_id) as stream, stream.held():
            assert await stream.now() == 1
            async with hung(client, hanging, unique("idle")):
                appended = await append(stream, Append(pack([entry])))
                assert (appended.verdict, appended.head) == (Accepted(1, 1), 2)
            async with hung(client, hanging, unique("idle")):
                await near.topic("t").send("sent")
                async with found(link, settings, workflow_id) as again:
                    assert await again.now() == 3
    assert reader.items == [(0, "before"), (1, "written"), (2, "sent")]


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("asks", ["for the offset", "for the last item"])
async def test_who_asks_for_the_tip_of_an_idle_stream_gets_it_by_a_new_call(
    client: Client, unique: Any, hanging: HangingCalls, far: Client, asks: str
) -> None:
    workflow_id = unique("host")
    near = WorkflowStreamClient.create(client, workflow_id)
    async with (
        followed(client, far, workflow_id) as (stream, reader),
        hung(client, hanging, unique("idle")),
    ):
        await near.topic("t").send("sent")
        if asks == "for the offset":
            assert await stream.get_offset() == 2
        else:
            newest = await anext(stream.subscribe(from_offset=Last(1)))
            assert (newest.offset, newest.data) == (1, "sent")
    assert reader.items == [(0, "before"), (1, "sent")]


async def test_page_that_takes_longer_than_a_call_may_comes_all_the_same(
    client: Client, unique: Any, network: Network
) -> None:
    workflow_id = unique("host")
    near = WorkflowStreamClient.create(client, workflow_id)
    async with followed(client, await connected(network), workflow_id) as (_, reader):
        network.slow_down(renewal._SOON_SECONDS + 1)
        for value in range(3):
            await near.topic("t").send(f"{value}")
        await reader.count(4)
    assert reader.items == list(enumerate(["before", "0", "1", "2"]))
