"""A real uvicorn around any application, and a client that sends the bytes it is told to."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.types import ASGIApp


@asynccontextmanager
async def serving(app: ASGIApp, **options: Any) -> AsyncIterator[int]:
    """Serve on a free port of the loopback, which is yielded; end with all connections closed."""
    settings = {"log_config": None, "access_log": False, "lifespan": "off", **options}
    config = uvicorn.Config(app, timeout_graceful_shutdown=1, **settings)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        task = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            while not server.started:
                assert not task.done()
                await asyncio.sleep(0.005)
            yield port
        finally:
            server.should_exit = True
            await task


@dataclass
class Answer:
    """What came back, until the server closed the connection."""

    status: int
    headers: dict[str, list[str]] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        values = self.headers.get(name, [])
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> dict[str, Any]:
        assert self.header("content-type") == "application/problem+json"
        problem: dict[str, Any] = self.json()
        assert problem["status"] == self.status
        assert problem.keys() == {"type", "title", "status", "detail", "request_id"}
        assert problem["request_id"] == self.header("x-request-id")
        return problem


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is gone afterwards, whoever closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def exchange(port: int, raw: bytes) -> Answer:
    """Send bytes and read to the end; of several answers, return the first."""
    async with connected(port) as (reader, writer):
        writer.write(raw)
        await writer.drain()
        return parse(await reader.read())


def parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    answer = Answer(int(status_line.split()[1]))
    for line in lines:
        name, _, value = line.partition(":")
        answer.headers.setdefault(name.lower(), []).append(value.strip())
    if answer.header("transfer-encoding") == "chunked":
        answer.body = _unchunked(body)
    else:
        length = answer.header("content-length")
        answer.body = body if length is None else body[: int(length)]
    return answer


def _unchunked(body: bytes) -> bytes:
    whole = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        whole += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
        if int(size, 16) == 0:
            break
    return whole


def get(path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    """Return a request's bytes; the server closes after it."""
    lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", "connection: close", *headers]
    if body or method in ("POST", "PUT"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
