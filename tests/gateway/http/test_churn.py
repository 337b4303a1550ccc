"""Thousands of clients that come and go, politely or not, leave nothing behind."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

import httpx
import psutil
import pytest

from workflow_streams.testing.fixtures import StreamServer

from .serving import GatewayProcess, metric, running_gateway

Unique = Callable[[str], str]

AT_ONCE = 40
# The first half leaves warm caches; the second is to find all that it needs in place.
HALF = 1_050
MOST_OBJECTS = HALF // 10
ROUNDS = 3
MOST_BYTES = 16_000_000  # memory that the allocator has not given back, one way or the other

Visit = tuple[bytes, bytes, bool]
"""What a client sends, what it waits for, and whether it then cuts the connection."""


def visits(name: str) -> list[Visit]:
    """All ways to come and go."""
    path = f"/v1/stream/{name}"
    rest = b" HTTP/1.1\r\nhost: localhost\r\n"

    def get(query: str) -> bytes:
        return f"GET {path}?{query}".encode() + rest + b"\r\n"

    live, tail = b'"upToDate":true', get("offset=now&live=sse")
    post = f"POST {path}".encode() + rest + b"content-type: application/json\r\n"
    return [
        (get("offset=-1"), b"[1]", False),
        (get("offset=-1&live=sse"), live, False),
        (tail, live, False),
        (tail, live, True),
        (get("offset=-1&live=sse"), b"HTTP/1.1 200", True),
        (get("offset=now&live=long-poll"), b"", True),
        (get("offset=-1")[:40], b"", True),
        (post + b"content-length: 100\r\n\r\n[1, 2", b"", True),
    ]


async def pay(port: int, visit: Visit) -> None:
    sent, awaited, cuts = visit
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        await writer.drain()
        got = b""
        while awaited not in got:
            part = await reader.read(4096)
            assert part, got
            got += part
        if cuts:
            # Closed with no time to linger, a socket says goodbye by a reset.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    finally:
        writer.close()
        await writer.wait_closed()


async def come_and_go(port: int, ways: list[Visit], clients: int) -> None:
    waiting = iter([ways[number % len(ways)] for number in range(clients)])

    async def one_after_another() -> None:
        for visit in waiting:
            await pay(port, visit)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_another())


async def settled(http: httpx.AsyncClient, gateway: GatewayProcess) -> tuple[int, int, int]:
    """Return a gateway's open files, objects and bytes when it serves none but who asks."""
    for name, rest in (("viewers{", 0), ("readers ", 0), ("http_connections ", 1)):
        while await metric(http, gateway, f"workflow_streams_{name}") > rest:
            await asyncio.sleep(0.05)
    objects = await asyncio.to_thread(gateway.objects)
    process = psutil.Process(gateway.process.pid)
    return process.num_fds(), objects, process.memory_info().rss


async def test_thousands_of_clients_that_come_and_go_leave_nothing_behind(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    with running_gateway(stream_server.address) as gateway:
        name = unique("stream")
        url = gateway.stream(name)
        await http.put(url, json=[1])
        ways = visits(name)
        await come_and_go(gateway.port, ways, HALF)
        files, objects, memory = await settled(http, gateway)
        # How many objects there are depends on what happens to go on, too. A leak grows each time.
        for _ in range(ROUNDS):
            await come_and_go(gateway.port, ways, HALF)
            after = await settled(http, gateway)
            more, objects = after[1] - objects, after[1]
            if more <= MOST_OBJECTS:
                break
        else:
            pytest.fail(f"{more} objects more in the last round, and as many in those before")
        assert after[0] <= files
        assert after[2] <= memory + MOST_BYTES
        # Half a body was no append, and the stream is served as before.
        assert (await http.get(url)).json() == [1]
