"""Temporal out of reach, and clients that stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from workflow_streams.embedded import EmbeddedServer
from workflow_streams.embedded.ports import free_port
from workflow_streams.gateway import GatewaySettings
from workflow_streams.gateway.server import listen
from workflow_streams.testing.fixtures import StreamServer

from .events import Event, data_of
from .serving import GatewayProcess, metric, running_gateway
from .test_events import follow

Unique = Callable[[str], str]


async def until_ready(http: httpx.AsyncClient, gateway: GatewayProcess) -> None:
    while (await http.get(f"{gateway.url}/readyz")).status_code != 200:
        await asyncio.sleep(0.05)


@pytest.mark.processes
async def test_without_temporal_the_gateway_is_up_but_not_ready_until_temporal_is_there(
    http: httpx.AsyncClient,
) -> None:
    port = free_port()
    gateway = GatewayProcess(f"127.0.0.1:{port}")
    try:
        assert (await http.get(f"{gateway.url}/healthz")).status_code == 200
        assert (await http.get(f"{gateway.url}/readyz")).status_code == 503
        url = gateway.stream("early")
        for method in ("GET", "HEAD", "PUT"):
            refused = await http.request(method, url)
            assert refused.status_code == 503, method
            assert "retry-after" in refused.headers
        async with EmbeddedServer(port=port):
            await until_ready(http, gateway)
            assert (await http.put(url, json=[1])).status_code == 201
            assert (await http.get(url)).json() == [1]
    finally:
        gateway.end()


@pytest.mark.processes
async def test_viewers_stay_while_temporal_restarts_and_then_go_on(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    server = EmbeddedServer(db_filename=tmp_path / "streams.db")
    await server.start()
    settings = {"keep_alive_seconds": 0.2, "temporal_seconds": 1.0}
    try:
        with running_gateway(server.address, **settings) as gateway:
            url = gateway.stream("through")
            await http.put(url, json=["before"])
            async with follow(http, url) as source:
                events = source.events()
                seen = [await anext(events), await anext(events)]
                await server.kill()
                assert (await http.get(url)).status_code == 503
                while (await http.get(f"{gateway.url}/readyz")).status_code != 503:
                    await asyncio.sleep(0.05)
                waiting = asyncio.create_task(collect(events, 2))
                silence = len(source.raw)
                while source.raw.count(b": keep-alive", silence) < 3:
                    await asyncio.sleep(0.05)
                await server.start()
                await until_ready(http, gateway)
                while (await http.post(url, json=["after"])).status_code == 503:
                    await asyncio.sleep(0.1)
                seen += await asyncio.wait_for(waiting, 100)
                await events.aclose()
            assert data_of(seen) == ["before", "after"]
            assert (await http.get(url)).json() == ["before", "after"]
    finally:
        await server.stop()


async def collect(events: object, count: int) -> list[Event]:
    return [await anext(events) for _ in range(count)]  # type: ignore[call-overload]


@contextlib.contextmanager
def stalled_client(gateway: GatewayProcess, name: str) -> Iterator[socket.socket]:
    """A client that asks for everything and then takes next to nothing of the answer in."""
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", gateway.port))
        stalled.sendall(
            f"GET /v1/stream/{name}?offset=-1&live=sse HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
        )
        assert stalled.recv(15) == b"HTTP/1.1 200 OK"
        yield stalled


async def left(http: httpx.AsyncClient, gateway: GatewayProcess) -> str:
    """Wait until a viewer has left, and return why; there may be one only."""
    name = "workflow_streams_viewers_left_total"
    while await metric(http, gateway, name) < 1:
        await asyncio.sleep(0.1)
    lines = (await http.get(f"{gateway.url}/metrics")).text.splitlines()
    (line,) = [line for line in lines if line.startswith(name)]
    return line.partition('reason="')[2].partition('"')[0]


TEXT = {"content-type": "text/plain"}
# A write waits for those before it: without news, it is the keep-alive that notices.
STALLING = {"keep_alive_seconds": 0.5, "write_seconds": 2.0}


async def test_a_client_that_takes_nothing_in_is_let_go_and_costs_nobody_else_anything(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    with running_gateway(stream_server.address, **STALLING) as gateway:
        name = unique("stream")
        url = gateway.stream(name)
        written = "x" * 1_000_000
        await http.put(url, headers=TEXT, content=written)
        with stalled_client(gateway, name) as stalled:
            async with follow(http, url) as source:
                events = source.events()
                reading = asyncio.create_task(read_text(events, 9_000_000))
                for number in range(40):
                    chunk = f"{number:06d}" + "x" * 199_994
                    written += chunk
                    posted = await http.post(url, headers=TEXT, content=chunk)
                    assert posted.status_code == 204
                assert await reading == written
                assert await left(http, gateway) == "slow"
                await events.aclose()
            # The gateway has closed it: what is left is what the kernels held.
            stalled.settimeout(100)
            with contextlib.suppress(ConnectionResetError):
                while await asyncio.to_thread(stalled.recv, 1 << 20):
                    pass
        assert gateway.process.poll() is None


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        (STALLING, TEXT),
        (STALLING, {**TEXT, "stream-closed": "true"}),
        ({"sse_seconds": 1.0, "write_seconds": 2.0}, TEXT),
    ],
    ids=["keep-alive", "end", "closing"],
)
async def test_a_client_that_takes_nothing_in_is_let_go_whatever_waits_for_it(
    stream_server: StreamServer,
    http: httpx.AsyncClient,
    unique: Unique,
    settings: dict[str, float],
    headers: dict[str, str],
) -> None:
    with running_gateway(stream_server.address, **settings) as gateway:
        name = unique("stream")
        await http.put(gateway.stream(name), headers=headers, content="x" * 1_000_000)
        with stalled_client(gateway, name):
            assert await left(http, gateway) == "slow"
        assert gateway.log == ""


@pytest.mark.skipif(not hasattr(socket, "TCP_NOTSENT_LOWAT"), reason="not on this system")
def test_the_system_holds_little_of_what_a_client_does_not_take_in() -> None:
    with listen("127.0.0.1", 0, GatewaySettings()) as listening, socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(listening.getsockname())
        sending, _ = listening.accept()
        with sending:
            sending.settimeout(0.5)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 10_000_000:
                    sent += sending.send(bytes(100_000))
            assert 100_000 <= sent < 500_000


async def read_text(events: object, size: int) -> str:
    text = ""
    async for event in events:  # type: ignore[attr-defined]
        if event.kind == "data":
            text += event.text
        if len(text) >= size:
            break
    return text
