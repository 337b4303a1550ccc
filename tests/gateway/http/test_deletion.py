"""What has been deleted over HTTP goes, whoever is killed meanwhile; nothing else does."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from workflow_streams import StreamGoneError, WorkflowStreamClient
from workflow_streams.embedded import EmbeddedServer
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.gateway.sessions import Gateway
from workflow_streams.hosted import deleting
from workflow_streams.hosted import deletion as hosted_deletion
from workflow_streams.hosted.deleting import Deletion
from workflow_streams.hosted.deletion import DELETION_WORKFLOW, Doomed, start_deletion
from workflow_streams.hosted.host import HostSetup
from workflow_streams.hosted.worker import host_worker

from ...configured import DELETES_AT_ONCE, ROLLS_OVER_SOON, configured_for_many
from ...parents import ROOT
from ...read.story import SECONDS
from .hosts import hosting
from .serving import HOST_QUEUE, GatewayProcess

pytestmark = pytest.mark.processes

Unique = Callable[[str], str]

TEXT = {"content-type": "text/plain"}
RUNS = 3
WORKER = "tests.gateway.http.deletion_worker"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with configured_for_many(DELETES_AT_ONCE, *ROLLS_OVER_SOON) as server:
        yield server


@pytest.fixture
async def client(server: EmbeddedServer) -> Client:
    return await server.connect()


class Served(httpx.AsyncClient):
    """A client of a gateway in this process."""

    gateway: Gateway


@asynccontextmanager
async def serving(server: EmbeddedServer, *, host_worker: bool = True) -> AsyncIterator[Served]:
    """Run a gateway in this process, with a connection of its own; yield a client of it."""
    settings = GatewaySettings(host_task_queue=HOST_QUEUE, host_worker=host_worker)
    app = create_app(server.connect, settings)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
    url = "http://127.0.0.1"
    async with (
        app.router.lifespan_context(app),
        Served(transport=transport, base_url=url, timeout=100) as http,
    ):
        http.gateway = app.state.gateway
        while (await http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        yield http


def path_of(name: str) -> str:
    return f"/v1/stream/{name}"


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
    server: EmbeddedServer, client: Client, unique: Unique
) -> None:
    name = unique("stream")
    url = path_of(name)
    async with serving(server) as http, serving(server, host_worker=False) as other:
        runs = await rolled_over(client, http, url, name)
        assert (await other.delete(url)).status_code == 204
        assert (await other.get(url)).status_code == 404
        assert (await http.get(url)).status_code == 404
        await until_gone(client, name, runs)
        assert (await http.get(url)).status_code == 404


async def test_what_killed_gateways_were_to_delete_is_deleted_by_another_and_nothing_else(
    server: EmbeddedServer, client: Client, http: httpx.AsyncClient, unique: Unique
) -> None:
    """Two streams, of which one has been made again before its gateway was killed."""
    gone, again = names = unique("gone"), unique("again")
    before = await deletions(client)
    async with serving(server) as working:
        runs = {name: await rolled_over(client, working, path_of(name), name) for name in names}
    # It does no work for hosts, so what there is to do is still to be done when it is killed.
    killed = GatewayProcess(server.address, host_worker=False)
    try:
        await asyncio.to_thread(killed.wait_ready)
        for name in names:
            assert (await http.delete(killed.stream(name))).status_code == 204
            assert (await http.get(killed.stream(name))).status_code == 404
        assert (await http.put(killed.stream(again), headers=TEXT)).status_code == 201
    finally:
        await asyncio.to_thread(killed.end, signal.SIGKILL)
    for name in names:
        assert await standing(client, name, runs[name]) == runs[name]
    async with serving(server) as working:
        url = path_of(again)
        assert (await working.post(url, headers=TEXT, content="new")).status_code == 204
        for name in names:
            await until_gone(client, name, runs[name])
        await ended(client, before, len(names))
        assert (await working.get(path_of(gone))).status_code == 404
        await nothing_left(client, gone)
        assert (await working.get(url)).text == "new"
        assert (await working.post(url, headers=TEXT, content="er")).status_code == 204
        assert (await working.get(url)).text == "newer"


async def test_a_worker_that_is_killed_in_the_middle_leaves_the_rest_to_another(
    server: EmbeddedServer, client: Client, unique: Unique
) -> None:
    name, queue = unique("stream"), unique("queue")
    async with (
        host_worker(client, task_queue=HOST_QUEUE),
        serving(server, host_worker=False) as http,
    ):
        runs = await rolled_over(client, http, path_of(name), name)
    worker = subprocess.Popen([sys.executable, "-m", WORKER, server.address, queue], cwd=ROOT)
    try:
        await start_deletion(client, Doomed(name, runs[0]), task_queue=queue)
        while await stands(client, name, runs[0]):
            assert worker.poll() is None
            await asyncio.sleep(0.05)
    finally:
        worker.kill()
        worker.wait()
    assert await standing(client, name, runs) == runs[1:]
    async with host_worker(client, task_queue=queue):
        await until_gone(client, name, runs)


async def test_a_deletion_that_broke_off_at_once_is_carried_out(
    server: EmbeddedServer, client: Client, unique: Unique
) -> None:
    """As if its gateway had been killed right after it began."""
    name = unique("stream")
    before = await deletions(client)
    async with serving(server) as http:
        runs = await rolled_over(client, http, path_of(name), name)
        # It is said of an earlier run, as when the stream rolls over right then.
        await start_deletion(client, Doomed(name, runs[1]), task_queue=HOST_QUEUE)
        await until_gone(client, name, runs)
        await ended(client, before)
        assert (await http.get(path_of(name))).status_code == 404
        await nothing_left(client, name)


async def test_the_runs_of_a_source_go_with_its_last_fork(
    server: EmbeddedServer, client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_deletion, "_LOOK_AGAIN", timedelta(seconds=0.2))
    names = unique("source"), unique("fork")
    source, fork = map(path_of, names)
    async with serving(server) as http:
        runs = await rolled_over(client, http, source, names[0])
        made = await http.put(fork, headers={"stream-forked-from": source})
        assert made.status_code == 201
        assert (await http.delete(source)).status_code == 204
        assert (await http.get(source)).status_code == 410
        assert set((await http.get(fork)).text) == {"x"}
        assert await standing(client, names[0], runs) == runs
        assert (await http.delete(fork)).status_code == 204
        assert (await http.get(fork)).status_code == 404
        await until_gone(client, names[0], runs)
        assert (await http.get(source)).status_code == 404


async def test_the_deletion_of_a_source_that_broke_off_at_once_is_carried_out(
    server: EmbeddedServer, client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if its gateway had been killed before it told the source's host."""
    monkeypatch.setattr(hosted_deletion, "_LOOK_AGAIN", timedelta(seconds=0.2))
    names = unique("source"), unique("fork")
    source, fork = map(path_of, names)
    async with serving(server) as http:
        runs = await rolled_over(client, http, source, names[0])
        assert (await http.put(fork, headers={"stream-forked-from": source})).status_code == 201
        await start_deletion(client, Doomed(names[0], runs[0]), task_queue=HOST_QUEUE)
        async with asyncio.timeout(SECONDS):
            while (await http.get(source)).status_code != 410:
                await asyncio.sleep(0.05)
        with pytest.raises(StreamGoneError):
            async for _ in WorkflowStreamClient.create(client, names[0]).subscribe():
                pass
        assert await standing(client, names[0], runs) == runs
        assert (await http.delete(fork)).status_code == 204
        await until_gone(client, names[0], runs)


async def test_a_deletion_that_could_not_be_begun_changes_nothing_and_may_be_repeated(
    server: EmbeddedServer, client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosted_deletion, "_LOOK_AGAIN", timedelta(seconds=0.2))
    names = unique("source"), unique("fork")
    source, fork = map(path_of, names)

    async def unavailable(*_: object, **__: object) -> None:
        raise RPCError("no", RPCStatusCode.UNAVAILABLE, b"")

    async with serving(server) as http:
        runs = await rolled_over(client, http, source, names[0], 1)
        assert (await http.put(fork, headers={"stream-forked-from": source})).status_code == 201
        with monkeypatch.context() as patched:
            patched.setattr(deleting, "start_deletion", unavailable)
            assert (await http.delete(source)).status_code == 503
        assert (await http.get(source)).status_code == 200
        assert (await http.post(source, headers=TEXT, content="y")).status_code == 204
        assert (await http.delete(source)).status_code == 204
        assert (await http.get(source)).status_code == 410
        assert (await http.delete(fork)).status_code == 204
        await until_gone(client, names[0], runs)


async def test_a_deletion_that_comes_late_leaves_the_next_stream_of_the_name_alone(
    server: EmbeddedServer, client: Client, unique: Unique
) -> None:
    """One that was looking at the stream when another one deleted it."""
    name = unique("stream")
    before = await deletions(client)
    url = path_of(name)
    async with serving(server) as http:
        runs = await rolled_over(client, http, url, name, 2)
        late = Deletion(http.gateway.hosting, name, runs[-1], runs[0], HostSetup("text/plain"))
        assert (await http.delete(url)).status_code == 204
        assert (await http.put(url, headers=TEXT, content="new")).status_code == 201
        await late.run()
        await until_gone(client, name, runs)
        await ended(client, before)
        assert (await http.post(url, headers=TEXT, content="er")).status_code == 204
        assert (await http.get(url)).text == "newer"


async def test_only_streams_made_by_put_are_deleted(
    server: EmbeddedServer, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    before = await deletions(client)
    async with hosting(client, "Talks", name) as handle:
        async with serving(server) as http:
            assert (await http.delete(path_of(name))).status_code == 405
        assert (await handle.describe()).status == WorkflowExecutionStatus.RUNNING
    assert await deletions(client) == before


async def deletions(client: Client) -> dict[str, WorkflowExecutionStatus | None]:
    """Return the deletions there have been on the gateways' task queue, and how far they are."""
    query = f'WorkflowType = "{DELETION_WORKFLOW}" AND TaskQueue = "{HOST_QUEUE}"'
    listed = client.list_workflows(query)
    return {found.id: found.status async for found in listed}


async def ended(
    client: Client, before: dict[str, WorkflowExecutionStatus | None], count: int = 1
) -> None:
    """Wait until all deletions since then have been carried out; there were at least so many."""
    while True:
        all_of_them = await deletions(client)
        status = [told for found, told in all_of_them.items() if found not in before]
        if len(status) >= count and set(status) == {WorkflowExecutionStatus.COMPLETED}:
            return
        await asyncio.sleep(0.05)


async def nothing_left(client: Client, name: str) -> None:
    """Wait until nothing is listed under the id."""
    while [found async for found in client.list_workflows(f"WorkflowId = '{name}'")]:
        await asyncio.sleep(0.05)
