"""A network between clients and the real server, which fails as it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from typing import Self

from temporalio.service import RPCStatusCode

HEADERS = 1
SETTINGS = 4
END_OF_STREAM_AND_HEADERS = 5
PREFACE_BYTES = 24
FRAME_HEADER_BYTES = 9

Filter = Callable[[bytes], bytes]


class Mode(Enum):
    OPEN = "everything passes"
    CUT = "connections are reset"
    STALLED = "everything waits"
    DEAF = "requests pass, answers are lost"
    DENYING = "an HTTP/2 answer with an error status instead of the server's"


class Network:
    """A TCP proxy on a port of its own. Clients connect to ``address``.

    Attributes:
        passed: Bytes of answers that were passed on.
        cuts: How often :meth:`cut_after` has come true.
        lost: Bytes of answers that were thrown away.
        denied: Calls that were answered with the status of :meth:`deny`.
    """

    def __init__(self, server: str) -> None:
        host, port = server.rsplit(":", 1)
        self._server = (host, int(port))
        self._listener: asyncio.Server | None = None
        self._mode = Mode.OPEN
        self._changed = asyncio.Event()
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._answer = b""
        self._cut_after: int | None = None
        self._latency = 0.0
        self.passed = 0
        self.cuts = 0
        self.lost = 0
        self.denied = 0

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._listener is not None
        self._listener.close()
        self.cut()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def address(self) -> str:
        assert self._listener is not None
        return f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"

    def restore(self) -> None:
        """Let everything pass; connections that have lost bytes are reset."""
        if self._mode in (Mode.DEAF, Mode.DENYING):
            self._reset()
        self._set(Mode.OPEN)

    def cut(self) -> None:
        """Reset all connections, and each new one."""
        self._set(Mode.CUT)
        self._reset()

    def cut_after(self, answered: int) -> None:
        """Reset all connections when that many more bytes of answers have passed, just once."""
        self._cut_after = self.passed + answered

    def slow_down(self, seconds: float) -> None:
        """From now on, let each answer take that much longer."""
        self._latency = seconds

    def stall(self) -> None:
        """Hold all bytes back, as a cable does that has been pulled out."""
        self._set(Mode.STALLED)

    def lose_answers(self) -> None:
        """Pass requests on, and throw the answers away."""
        self._set(Mode.DEAF)

    def deny(self, status: RPCStatusCode, message: str = "denied") -> None:
        """Answer each call with a gRPC status."""
        self._answer = b"\x88" + b"".join(
            b"\x00" + bytes([len(part[0])]) + part[0] + bytes([len(part[1])]) + part[1]
            for part in (
                (b"content-type", b"application/grpc"),
                (b"grpc-status", b"%d" % status),
                (b"grpc-message", message.encode()),
            )
        )
        self._set(Mode.DENYING)
        self._reset()

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait until ``seen()``, which depends on what has passed or been lost."""
        async with asyncio.timeout(100):
            while not seen():
                await self._changed.wait()

    def _filters(self) -> tuple[Filter, Filter]:
        """Return what the requests and the answers of a new connection go through."""
        return bytes, bytes

    def _set(self, mode: Mode) -> None:
        self._mode = mode
        self._announce()

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _reset(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._ends.add(writer)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                if self._mode is Mode.DENYING:
                    await self._deny(reader, writer)
                elif self._mode is not Mode.CUT:
                    await self._connect(reader, writer)
        finally:
            writer.transport.abort()
            self._ends.discard(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(*self._server)
        self._ends.add(ours)
        requests, answers = self._filters()
        up = asyncio.create_task(self._forward(reader, ours, requests, answers=False))
        down = asyncio.create_task(self._forward(theirs, writer, answers, answers=True))
        try:
            await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ours.transport.abort()
            writer.transport.abort()
            self._ends.discard(ours)
            up.cancel()
            down.cancel()
            await asyncio.wait([up, down])

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passing: Filter,
        *,
        answers: bool,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                while self._mode is Mode.STALLED:
                    await self._changed.wait()
                if answers and self._mode is Mode.DEAF:
                    self.lost += len(data)
                    self._announce()
                    continue
                data = passing(data)
                if answers:
                    data = self._count(data)
                if answers and self._latency:
                    asyncio.get_running_loop().call_later(self._latency, _write, writer, data)
                else:
                    writer.write(data)
                    await writer.drain()

    def _count(self, data: bytes) -> bytes:
        if self._cut_after is not None and self.passed + len(data) >= self._cut_after:
            self._cut_after = None
            self.cuts += 1
            self._reset()
        self.passed += len(data)
        self._announce()
        return data

    async def _deny(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(PREFACE_BYTES)
        writer.write(bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]))
        while True:
            header = await reader.readexactly(FRAME_HEADER_BYTES)
            await reader.readexactly(int.from_bytes(header[:3], "big"))
            if header[3] == HEADERS:
                head = len(self._answer).to_bytes(3, "big")
                writer.write(head + bytes([HEADERS, END_OF_STREAM_AND_HEADERS]) + header[5:])
                writer.write(self._answer)
                self.denied += 1
                self._announce()


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)
