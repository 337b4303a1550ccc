"""Temporal out of reach, and clients that stop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

import httpx

from workflow_streams.embedded import EmbeddedServer
from workflow_streams.embedded.ports import free_port
from workflow_streams.testing.fixtures import StreamServer

from .events import Event, data_of
from .serving import GatewayProcess, metric, running_gateway
from .test_events import follow

Unique = Callable[[str], str]


async def until_ready(http: httpx.AsyncClient, gateway: GatewayProcess) -> None:
    while (await http.get(f"{gateway.url}/readyz")).status_code != 200:
        await asyncio.sleep(0.05)


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
                assert (await http.get(f"{gateway.url}/readyz")).status_code == 503
                assert (await http.get(url)).status_code == 503
                waiting = asyncio.create_task(collect(events, 2))
                silence = len(source.raw)
                while source.raw.count(b": keep-alive", silence) < 3:
                    await asyncio.sleep(0.05)
                await server.start()
                await until_ready(http, gateway)
                while (await http.post(url, json=["after"])).status_code == 503:
                    await asyncio.sleep(0.1)
                seen += await asyncio.wait_for(waiting, 30)
                await events.aclose()
            assert data_of(seen) == ["before", "after"]
            assert (await http.get(url)).json() == ["before", "after"]
    finally:
        await server.stop()


async def collect(events: object, count: int) -> list[Event]:
    return [await anext(events) for _ in range(count)]  # type: ignore[call-overload]


async def test_a_client_that_takes_nothing_in_is_let_go_and_costs_nobody_else_anything(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    with running_gateway(stream_server.address, write_seconds=1.0) as gateway:
        name = unique("stream")
        url = gateway.stream(name)
        await http.put(url, headers={"content-type": "text/plain"})
        stalled = socket.socket()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", gateway.port))
        stalled.sendall(
            f"GET /v1/stream/{name}?offset=-1&live=sse HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
        )
        assert stalled.recv(15) == b"HTTP/1.1 200 OK"
        written = ""
        async with follow(http, url) as source:
            reading = asyncio.create_task(read_text(source.events(), 40 * 200_000))
            for number in range(40):
                chunk = f"{number:06d}" + "x" * 199_994
                written += chunk
                posted = await http.post(url, headers={"content-type": "text/plain"}, content=chunk)
                assert posted.status_code == 204
            assert await asyncio.wait_for(reading, 30) == written
        while (
            await metric(http, gateway, "workflow_streams_viewers_left_total", 'reason="slow"') < 1
        ):
            await asyncio.sleep(0.1)
        # The gateway has closed it: what is left is what the kernels held.
        stalled.settimeout(20)
        with contextlib.suppress(ConnectionResetError):
            while await asyncio.to_thread(stalled.recv, 1 << 20):
                pass
        stalled.close()
        assert gateway.process.poll() is None


async def read_text(events: object, size: int) -> str:
    text = ""
    async for event in events:  # type: ignore[attr-defined]
        if event.kind == "data":
            text += event.text
        if len(text) >= size:
            break
    return text
