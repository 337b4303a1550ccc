"""A gateway that is killed while it works for hosts does not hold up others' writers for long."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from temporalio.client import Client

from workflow_streams.embedded import EmbeddedServer
from workflow_streams.hosted.host import HOST_TASK_TIMEOUT

from ...configured import DELETES_AT_ONCE, ROLLS_OVER_SOON, ConfiguredServer
from .serving import GatewayProcess, running_gateway
from .test_deletion import TEXT, rolled_over

pytestmark = pytest.mark.processes

Unique = Callable[[str], str]

KILLS = 3
WRITERS = 4


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    async with ConfiguredServer(DELETES_AT_ONCE, *ROLLS_OVER_SOON) as server:
        yield server


@pytest.fixture
async def client(server: EmbeddedServer) -> Client:
    return await server.connect()


async def task_timeout(client: Client, name: str, run_id: str | None = None) -> float:
    """Return what the server notes of a run, in seconds."""
    handle = client.get_workflow_handle(name, run_id=run_id)
    started = await anext(handle.fetch_history_events(page_size=1))
    attributes = started.workflow_execution_started_event_attributes
    return attributes.workflow_task_timeout.ToTimedelta().total_seconds()


async def test_hosts_have_a_short_time_for_a_task_in_each_of_their_runs(
    server: EmbeddedServer, client: Client, http: httpx.AsyncClient, unique: Unique
) -> None:
    seconds = HOST_TASK_TIMEOUT.total_seconds()
    assert seconds < 10  # Temporal's default
    name, fork = unique("stream"), unique("fork")
    with running_gateway(server.address) as gateway:
        url = gateway.stream(name)
        runs = await rolled_over(client, http, url, name)
        for run_id in runs:
            assert await task_timeout(client, name, run_id) == seconds
        headers = {"stream-forked-from": httpx.URL(url).path}
        assert (await http.put(gateway.stream(fork), headers=headers)).status_code == 201
        assert await task_timeout(client, fork) == seconds
        # Made again in the place of one that is gone.
        assert (await http.delete(gateway.stream(fork))).status_code == 204
        assert (await http.put(gateway.stream(fork), headers=TEXT)).status_code == 201
        assert await task_timeout(client, fork) == seconds


async def test_writers_at_another_gateway_go_on_and_nothing_is_lost(
    server: EmbeddedServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    url, taken = "", 0
    over = False

    async def write(writer: int) -> list[list[int]]:
        nonlocal taken
        written: list[list[int]] = []
        while not over:
            item = [writer, len(written)]
            answer = await http.post(url, json=[item])
            assert answer.status_code == 204, answer.text
            written.append(item)
            taken += 1
        return written

    async def progress() -> None:
        """Wait until each writer may have been held up and gone on."""
        until = taken + 5 * WRITERS
        while taken < until:
            await asyncio.sleep(0.01)

    with running_gateway(server.address) as staying:
        url = staying.stream(unique("stream"))
        assert (await http.put(url, json=[])).status_code == 201
        async with asyncio.TaskGroup() as group:
            writing = [group.create_task(write(writer)) for writer in range(WRITERS)]
            for _ in range(KILLS):
                killed = GatewayProcess(server.address)
                await asyncio.to_thread(killed.wait_ready)
                await progress()  # it takes its share of the tasks
                await asyncio.to_thread(killed.end, signal.SIGKILL)
                await progress()
            over = True
        story = (await http.get(url)).json()
        assert len(story) == taken
        for writer, task in enumerate(writing):
            assert [item for item in story if item[0] == writer] == task.result()
