"""What has been deleted over HTTP goes, whoever is killed meanwhile; nothing else does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from workflow_streams import hosted_deletion
from workflow_streams.embedded import EmbeddedServer
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.gateway.writing.deleting import Deletion
from workflow_streams.hosted import HostSetup, host_worker
from workflow_streams.hosted_deletion import DELETION_WORKFLOW, Doomed, start_deletion

from ...reader.test_ends import DeletingServer
from .hosts import hosting
from .serving import HOST_QUEUE, GatewayProcess, running_gateway

Unique = Callable[[str], str]

TEXT = {"content-type": "text/plain"}
RUNS = 4


class RollingServer(DeletingServer):
    """Deletes runs at once, and has workflows continue as new soon."""

    def _command(self, binary: str, port: int, ui_port: int) -> list[str]:
        setting = "limit.historyCount.suggestContinueAsNew=20"
        return [*super()._command(binary, port, ui_port), "--dynamic-config-value", setting]


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedServer]:
    async with RollingServer() as server:
        yield server


@pytest.fixture
async def client(server: EmbeddedServer) -> Client:
    return await server.connect()


async def rolled_over(
    client: Client, http: httpx.AsyncClient, url: str, name: str, runs: int = RUNS
) -> list[str]:
    """Make a stream and write until it has had so many runs; return them."""
    assert (await http.put(url, headers=TEXT)).status_code == 201
    known: list[str] = []
    handle = client.get_workflow_handle(name)
    while len(known) < runs:
        assert (await http.post(url, headers=TEXT, content="x")).status_code == 204
        run_id = (await handle.describe()).run_id
        if run_id not in known:
            known.append(run_id)
    return known


async def stands(client: Client, name: str, run_id: str) -> bool:
    try:
        await client.get_workflow_handle(name, run_id=run_id).describe()
    except RPCError as err:
        assert err.status == RPCStatusCode.NOT_FOUND
        return False
    return True


async def standing(client: Client, name: str, runs: list[str]) -> list[str]:
    return [run_id for run_id in runs if await stands(client, name, run_id)]


async def until_gone(client: Client, name: str, runs: list[str]) -> None:
    while await standing(client, name, runs):
        await asyncio.sleep(0.05)


async def test_all_runs_of_a_deleted_stream_go_though_its_gateway_has_not_read_them(
    server: EmbeddedServer, client: Client, http: httpx.AsyncClient, unique: Unique
) -> None:
    name = unique("stream")
    with running_gateway(server.address) as gateway:
        runs = await rolled_over(client, http, gateway.stream(name), name)
        with running_gateway(server.address, host_worker=False) as other:
            assert (await http.delete(other.stream(name))).status_code == 204
            assert (await http.get(other.stream(name))).status_code == 404
        assert (await http.get(gateway.stream(name))).status_code == 404
        await until_gone(client, name, runs)
        assert (await http.get(gateway.stream(name))).status_code == 404


@pytest.mark.parametrize("again", [False, True], ids=["gone", "made again"])
async def test_what_a_killed_gateway_was_to_delete_is_deleted_by_another_and_nothing_else(
    server: EmbeddedServer, client: Client, http: httpx.AsyncClient, unique: Unique, again: bool
) -> None:
    name = unique("stream")
    with running_gateway(server.address) as gateway:
        runs = await rolled_over(client, http, gateway.stream(name), name)
    # It does no work for hosts, so what there is to do is still to be done when it is killed.
    killed = GatewayProcess(server.address, host_worker=False)
    await asyncio.to_thread(killed.wait_ready)
    url = killed.stream(name)
    assert (await http.delete(url)).status_code == 204
    assert (await http.get(url)).status_code == 404
    if again:
        assert (await http.put(url, headers=TEXT)).status_code == 201
    await asyncio.to_thread(killed.end, signal.SIGKILL)
    assert await standing(client, name, runs) == runs
    with running_gateway(server.address) as gateway:
        url = gateway.stream(name)
        if again:
            assert (await http.post(url, headers=TEXT, content="new")).status_code == 204
        await until_gone(client, name, runs)
        await ended(client)
        if again:
            assert (await http.get(url)).text == "new"
            assert (await http.post(url, headers=TEXT, content="er")).status_code == 204
            assert (await http.get(url)).text == "newer"
        else:
            assert (await http.get(url)).status_code == 404
            await nothing_left(client, name)


async def test_a_worker_that_is_killed_in_the_middle_leaves_the_rest_to_another(
    server: EmbeddedServer, client: Client, http: httpx.AsyncClient, unique: Unique
) -> None:
    name = unique("stream")
    first = GatewayProcess(server.address)
    await asyncio.to_thread(first.wait_ready)
    runs = await rolled_over(client, http, first.stream(name), name, 3 * RUNS)
    async with asyncio.TaskGroup() as group:
        deleting = group.create_task(http.delete(first.stream(name)))
        while await stands(client, name, runs[0]):
            await asyncio.sleep(0)
        await asyncio.to_thread(first.end, signal.SIGKILL)
        with suppress(httpx.TransportError):
            assert (await deleting).status_code == 204
    with running_gateway(server.address) as second:
        await until_gone(client, name, runs)
        await ended(client)
        assert (await http.get(second.stream(name))).status_code == 404


async def test_a_deletion_that_broke_off_at_once_is_carried_out(
    server: EmbeddedServer, client: Client, http: httpx.AsyncClient, unique: Unique
) -> None:
    """As if its gateway had been killed right after it began."""
    name = unique("stream")
    with running_gateway(server.address) as gateway:
        runs = await rolled_over(client, http, gateway.stream(name), name)
        # It is said of an earlier run, as when the stream rolls over right then.
        await start_deletion(client, Doomed(name, runs[1]), task_queue=HOST_QUEUE)
        await until_gone(client, name, runs)
        await ended(client)
        assert (await http.get(gateway.stream(name))).status_code == 404
        await nothing_left(client, name)


async def test_the_runs_of_a_source_go_with_its_last_fork(
    server: EmbeddedServer,
    client: Client,
    http: httpx.AsyncClient,
    unique: Unique,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hosted_deletion, "_LOOK_AGAIN", timedelta(seconds=0.2))
    names = unique("source"), unique("fork")
    with running_gateway(server.address, host_worker=False) as gateway:
        source, fork = map(gateway.stream, names)
        async with host_worker(client, task_queue=HOST_QUEUE):
            runs = await rolled_over(client, http, source, names[0])
            headers = {"stream-forked-from": httpx.URL(source).path}
            assert (await http.put(fork, headers=headers)).status_code == 201
            assert (await http.delete(source)).status_code == 204
            assert (await http.get(source)).status_code == 410
            assert set((await http.get(fork)).text) == {"x"}
            assert await standing(client, names[0], runs) == runs
            assert (await http.delete(fork)).status_code == 204
            assert (await http.get(fork)).status_code == 404
            await until_gone(client, names[0], runs)
            assert (await http.get(source)).status_code == 404


async def test_a_deletion_that_comes_late_leaves_the_next_stream_of_the_name_alone(
    server: EmbeddedServer, client: Client, unique: Unique
) -> None:
    """One that was looking at the stream when another one deleted it."""
    name = unique("stream")
    app = create_app(client, GatewaySettings(host_task_queue=HOST_QUEUE))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        url = f"/v1/stream/{name}"
        runs = await rolled_over(client, http, url, name, 2)
        late = Deletion(app.state.gateway, name, runs[-1], runs[0], HostSetup("text/plain"))
        assert (await http.delete(url)).status_code == 204
        assert (await http.put(url, headers=TEXT, content="new")).status_code == 201
        await late.run()
        await until_gone(client, name, runs)
        await ended(client)
        assert (await http.post(url, headers=TEXT, content="er")).status_code == 204
        assert (await http.get(url)).text == "newer"


async def test_only_streams_made_by_put_are_deleted(
    server: EmbeddedServer, client: Client, http: httpx.AsyncClient, unique: Unique
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name) as handle:
        with running_gateway(server.address) as gateway:
            assert (await http.delete(gateway.stream(name))).status_code == 405
        assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
    listed = client.list_workflows(f'WorkflowType = "{DELETION_WORKFLOW}"')
    assert [found async for found in listed] == []


async def ended(client: Client) -> None:
    """Wait until all deletions have been carried out."""
    query = f'WorkflowType = "{DELETION_WORKFLOW}"'
    while True:
        found = [found async for found in client.list_workflows(query)]
        if found and {f.status for f in found} == {WorkflowExecutionStatus.COMPLETED}:
            return
        await asyncio.sleep(0.05)


async def nothing_left(client: Client, name: str) -> None:
    """Wait until nothing is listed under the id."""
    while [found async for found in client.list_workflows(f"WorkflowId = '{name}'")]:
        await asyncio.sleep(0.05)
