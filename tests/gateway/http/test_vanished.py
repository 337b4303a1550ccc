"""Clients that are gone without a goodbye, or read no more, are let go within a bounded time."""

from __future__ import annotations

import asyncio
import ctypes
import socket
import struct
import sys
from collections.abc import Callable, Iterator

import httpx
import psutil
import pytest

from workflow_streams.testing.fixtures import StreamServer

from .events import data_of
from .serving import GatewayProcess, metric, running_gateway
from .test_events import follow

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="packets are dropped by a filter")

Unique = Callable[[str], str]
Connect = Callable[[str], socket.socket]

_SO_ATTACH_FILTER = 26
_RETURN = 6  # an instruction of packet filters; what it returns is how much to keep
VANISHING = 8
BOUND_SECONDS = 60  # about a second of patience, twice that for the kernel's, and a busy machine
LARGE = b"x" * 6_000_000  # more than the kernels take in


def vanish(client: socket.socket) -> None:
    """Have the kernel drop what comes for this socket: it acknowledges nothing, it says nothing."""
    drop = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 0))
    program = struct.pack("HL", 1, ctypes.addressof(drop))
    client.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


@pytest.fixture(scope="module")
def gateway(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    with running_gateway(
        stream_server.address, write_seconds=1.0, keep_alive_seconds=0.5
    ) as gateway:
        yield gateway


@pytest.fixture
def connect(gateway: GatewayProcess) -> Iterator[Connect]:
    """Opens connections with room for little, and asks for a path on each."""
    clients = []

    def connect(path: str) -> socket.socket:
        client = socket.socket()
        clients.append(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(100)
        client.connect(("127.0.0.1", gateway.port))
        client.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        return client

    yield connect
    for client in clients:
        client.close()


async def until_left(
    http: httpx.AsyncClient, gateway: GatewayProcess, *, requests: int, files: int
) -> None:
    """Wait until no more requests are in progress, and files open, than these."""
    process = psutil.Process(gateway.process.pid)
    async with asyncio.timeout(BOUND_SECONDS):
        while await metric(http, gateway, "workflow_streams_http_connections ") > requests:
            await asyncio.sleep(0.05)
        while process.num_fds() > files:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("size", [1, 200_000], ids=["little", "much"])
async def test_viewers_that_vanish_leave_and_the_others_get_all(
    gateway: GatewayProcess, http: httpx.AsyncClient, connect: Connect, unique: Unique, size: int
) -> None:
    name = unique("stream")
    url = gateway.stream(name)
    left = "workflow_streams_viewers_left_total{"
    before = await metric(http, gateway, left)
    await http.put(url, json=["first"])
    async with follow(http, url) as source:
        reading = asyncio.create_task(source.rest())
        while await metric(http, gateway, "workflow_streams_viewers{") < 1:
            await asyncio.sleep(0.02)
        files = psutil.Process(gateway.process.pid).num_fds()
        for _ in range(VANISHING):
            client = connect(f"/v1/stream/{name}?offset=now&live=sse")
            assert await asyncio.to_thread(client.recv, 15) == b"HTTP/1.1 200 OK"
            vanish(client)
        written = ["first"]
        for number in range(5):
            written.append(f"{number}" * size)
            assert (await http.post(url, json=[written[-1]])).status_code == 204
        await until_left(http, gateway, requests=2, files=files)
        assert await metric(http, gateway, "workflow_streams_viewers{") == 1
        assert await metric(http, gateway, left) == before + VANISHING
        await http.post(url, json=["last"], headers={"stream-closed": "true"})
        assert data_of(await asyncio.wait_for(reading, 100)) == [*written, "last"]


@pytest.mark.parametrize("vanishing", [True, False], ids=["vanish", "read no more"])
async def test_answers_that_nobody_takes_end(
    gateway: GatewayProcess,
    http: httpx.AsyncClient,
    connect: Connect,
    unique: Unique,
    vanishing: bool,
) -> None:
    name = unique("stream")
    url = gateway.stream(name)
    await http.put(url, content=LARGE, headers={"content-type": "text/plain"})
    files = psutil.Process(gateway.process.pid).num_fds()
    for _ in range(VANISHING // 2):
        client = connect(f"/v1/stream/{name}?offset=-1")
        assert await asyncio.to_thread(client.recv, 15) == b"HTTP/1.1 200 OK"
        if vanishing:
            vanish(client)
    await until_left(http, gateway, requests=1, files=files)
    assert (await http.get(url)).content == LARGE
