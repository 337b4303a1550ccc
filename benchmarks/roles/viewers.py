"""Many clients of an event stream, in one process."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from typing import Any

from ..values import read_value
from .talk import Talk

ITEM = re.compile(rb'"data":"(\d+ \d+ \d+ )x*"')
OPEN_AT_ONCE = 50
STALLED_BUFFER = 4096


class _Viewer(asyncio.Protocol):
    def __init__(self, path: str, items: int, done: asyncio.Event) -> None:
        self._path = path
        self._items = items
        self._done = done
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self.opened = asyncio.get_running_loop().create_future()
        self.numbers: list[int] = []
        self.latencies: list[float] = []
        self.last_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        head = f"GET {self._path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n"
        transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self.opened.done():
            self.opened.set_result(None)
        data = self._rest + data
        end = 0
        for match in ITEM.finditer(data):
            end = match.end()
            _, number, published = read_value(match[1].decode() + " ")
            self.numbers.append(number)
            self.latencies.append((now - published) / 1e6)
            self.last_ns = now
        self._rest = data[max(end, len(data) - 4096) :] if end else data[-8192:]
        if len(self.numbers) >= self._items:
            self._done.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError("closed before it was opened"))
        self._done.set()

    def stall(self) -> None:
        assert self._transport is not None
        self._transport.pause_reading()

    def close(self) -> None:
        assert self._transport is not None
        self._transport.abort()


async def run(
    talk: Talk,
    *,
    port: int,
    paths: list[str],
    each: int,
    items: int,
    seconds: float,
    stalled_path: str | None = None,
    numbered: int = 0,
) -> None:
    """Open connections, say so, and say what they have got when all have or the time is over.

    Args:
        talk: The benchmark.
        port: Where the server is.
        paths: What to read.
        each: Connections for each path.
        items: How many items each is to get.
        seconds: How long to wait.
        stalled_path: What one more connection asks for, and then takes nothing in.
        numbered: Each path stands for so many, with their numbers in place of ``{}``; 0 if not.
    """
    loop = asyncio.get_running_loop()
    if numbered:
        paths = [path.replace("{}", str(n)) for path in paths for n in range(numbered)]
    viewers: list[tuple[_Viewer, asyncio.Event]] = []
    gate = asyncio.Semaphore(OPEN_AT_ONCE)

    async def connect(path: str) -> None:
        done = asyncio.Event()
        async with gate:
            _, viewer = await loop.create_connection(
                lambda: _Viewer(path, items, done), "127.0.0.1", port
            )
            await viewer.opened
        viewers.append((viewer, done))

    talk.say(ready=True)
    await talk.word()
    await asyncio.gather(*(connect(path) for path in paths for _ in range(each)))
    stalled = None if stalled_path is None else await _stalled(port, stalled_path)
    talk.say(attached=True)
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(done.wait() for _, done in viewers))
    except TimeoutError:
        pass
    talk.say(**_told([viewer for viewer, _ in viewers], items))
    await talk.word()
    for viewer, _ in viewers:
        viewer.close()
    if stalled is not None:
        stalled.close()


async def _stalled(port: int, path: str) -> _Viewer:
    """Open a connection that takes nothing in after its head, and has room for little."""
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    # It has to be set before the two sides agree on how much may be under way.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER)
    connection.setblocking(False)
    await loop.sock_connect(connection, ("127.0.0.1", port))
    done = asyncio.Event()
    _, viewer = await loop.create_connection(lambda: _Viewer(path, 1, done), sock=connection)
    await viewer.opened
    viewer.stall()
    return viewer


def _told(viewers: list[_Viewer], items: int) -> dict[str, Any]:
    return {
        "complete": sum(viewer.numbers == list(range(items)) for viewer in viewers),
        "viewers": len(viewers),
        "received": sum(len(viewer.numbers) for viewer in viewers),
        "double": sum(len(v.numbers) - len(set(v.numbers)) for v in viewers),
        "latencies": [value for viewer in viewers for value in viewer.latencies],
        "last_ns": max((viewer.last_ns for viewer in viewers), default=0),
    }
