"""PUT: what it began is finished by the next one, once, and forks may be large."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable
from contextlib import suppress

import httpx
import pytest
from temporalio.client import Client

from tests.dense import dense
from workflow_streams import WorkflowStreamClient
from workflow_streams.errors import StreamNotFoundError
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.hosted import appends, forks
from workflow_streams.hosted.worker import host_worker
from workflow_streams.testing.fixtures import StreamServer

from ...faults.network import Filter, Network
from .serving import HOST_QUEUE, GatewayProcess
from .test_writes import JSON, TEXT, read_all, replay, token

Unique = Callable[[str], str]
BYTES = {"content-type": "application/octet-stream"}


@pytest.mark.parametrize("content", [b"", b"content"], ids=["empty", "with content"])
async def test_a_put_of_a_closed_stream_that_no_worker_had_opened_is_finished_by_the_next(
    stream_server: StreamServer, client: Client, unique: Unique, content: bytes
) -> None:
    queue, name = unique("queue"), unique("stream")
    app = create_app(
        client, GatewaySettings(host_task_queue=queue, host_worker=False, open_seconds=0.2)
    )
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        url, closed = f"/v1/stream/{name}", {**TEXT, "stream-closed": "true"}
        assert (await http.put(url, headers=closed, content=content)).status_code == 503
        async with host_worker(client, task_queue=queue):
            again = await http.put(url, headers=closed, content=content)
            while again.status_code == 503:
                again = await http.put(url, headers=closed, content=content)
            for answer in (again, await http.put(url, headers=closed, content=content)):
                assert (answer.status_code, answer.headers["stream-closed"]) == (200, "true")
            read = await http.get(url)
            assert (read.content, read.headers["stream-closed"]) == (content, "true")
            assert (await http.put(url, headers=TEXT, content=content)).status_code == 409


async def test_a_put_closes_no_stream_that_was_not_made_to_be_closed(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    assert (await http.put(url, headers=TEXT)).status_code == 201
    closed = await http.put(url, headers={**TEXT, "stream-closed": "true"})
    assert (closed.status_code, "it is open" in closed.text) == (409, True)
    assert (await http.post(url, headers=TEXT, content="x")).status_code == 204


async def test_a_stream_can_be_forked_at_each_of_its_offsets(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    source, content = new_stream(), "abcd"
    made = await http.put(source, headers=TEXT)
    offsets = [made.headers["stream-next-offset"]]
    for letter in content:
        sent = await http.post(source, headers=TEXT, content=letter)
        offsets.append(sent.headers["stream-next-offset"])
    for number, offset in enumerate(offsets):
        fork = new_stream()
        headers = {"stream-forked-from": httpx.URL(source).path, "stream-fork-offset": offset}
        assert (await http.put(fork, headers=headers)).status_code == 201
        assert (await http.get(fork)).text == content[:number]


async def test_a_fork_holds_more_than_one_request_could_bring(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    source, fork = new_stream(), new_stream()
    parts = [random.Random(i).randbytes(6_500_000) for i in range(3)]
    assert (await http.put(source, headers=BYTES)).status_code == 201
    for part in parts:
        assert (await http.post(source, headers=BYTES, content=part)).status_code == 204
    assert sum(len(p) for p in parts) * 4 / 3 > appends.MAX_BATCH_BYTES
    headers = {**BYTES, "stream-forked-from": httpx.URL(source).path}
    for status in (201, 200):
        made = await http.put(fork, headers=headers, content=b"own")
        assert made.status_code == status
        assert made.headers["stream-next-offset"].startswith(token(4))
    content, offset = b"", "-1"
    while True:
        page = await http.get(fork, params={"offset": offset})
        content += page.content
        offset = page.headers["stream-next-offset"]
        if "stream-up-to-date" in page.headers:
            break
    assert content == b"".join(parts) + b"own"


async def test_a_fork_whose_gateway_is_killed_is_finished_whatever_the_source_got_since(
    gateway: GatewayProcess,
    stream_server: StreamServer,
    http: httpx.AsyncClient,
    client: Client,
    unique: Unique,
) -> None:
    names = unique("source"), unique("fork")
    source, fork = map(gateway.stream, names)
    items = [[number, dense(400_000)] for number in range(30)]
    for start in range(0, 30, 10):
        sent = items[start : start + 10]
        if not start:
            assert (await http.put(source, headers=JSON, json=sent)).status_code == 201
        else:
            assert (await http.post(source, json=sent)).status_code == 204
    headers = {**JSON, "stream-forked-from": httpx.URL(source).path}
    stream = WorkflowStreamClient.create(client, names[1])
    async with StallingNetwork(stream_server.address, 4_000_000) as network:
        killed = GatewayProcess(network.address, host_worker=False)
        await asyncio.to_thread(killed.wait_ready)

        async def put_in_vain() -> None:
            with pytest.raises(httpx.TransportError):
                await http.put(killed.stream(names[1]), headers=headers, json=["own"])

        async with asyncio.TaskGroup() as group:
            group.create_task(put_in_vain())
            while not await offset_of(stream):
                await asyncio.sleep(0.01)
            await asyncio.to_thread(killed.end, signal.SIGKILL)
    assert 0 < await stream.get_offset() < 31  # it was in the middle
    assert (await http.post(source, json=["later"])).status_code == 204
    for _ in range(2):
        made = await http.put(fork, headers=headers, json=["own"])
        assert made.status_code == 200
        assert made.headers["stream-next-offset"].startswith(token(31))
    assert await read_all(http, fork) == [*items, "own"]
    # The source knows of it.
    assert (await http.delete(source)).status_code == 204
    assert (await http.get(source)).status_code == 410
    await replay(client, names[1])


class StallingNetwork(Network):
    """Lets so many bytes of requests pass, and then nothing."""

    def __init__(self, server: str, requests: int) -> None:
        super().__init__(server)
        self._left = requests

    def _filters(self) -> tuple[Filter, Filter]:
        return self._request, bytes

    def _request(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            self.stall()
        return data


async def offset_of(stream: WorkflowStreamClient) -> int:
    with suppress(StreamNotFoundError):
        return await stream.get_offset()
    return 0


async def test_a_fork_that_would_be_too_large_is_refused_in_words_that_are_true(
    stream_server: StreamServer,
    client: Client,
    unique: Unique,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "MAX_INHERITED_BYTES", 1900)
    app = create_app(client, GatewaySettings(host_task_queue=HOST_QUEUE))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        source, fork = (f"/v1/stream/{unique('stream')}" for _ in range(2))
        assert (await http.put(source, json=["x" * 900, "y" * 900])).status_code == 201
        headers = {"stream-forked-from": source}
        refused = await http.put(fork, headers=headers)
        assert refused.status_code == 413
        assert "Fork the stream at a lower offset" in refused.json()["detail"]
        assert (await http.get(fork)).status_code == 404
        made = await http.put(fork, headers={**headers, "stream-fork-offset": token(1)})
        assert made.status_code == 201
        assert (await http.get(fork)).json() == ["x" * 900]
