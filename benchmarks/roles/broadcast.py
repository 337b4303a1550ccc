"""The floor of the fan-out: one server that writes the same bytes to every connection."""

from __future__ import annotations

import asyncio

from ..values import make_value
from .talk import Talk

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
CONTROL = (
    b'id: %020d\nevent: control\ndata:{"streamNextOffset":"%020d","streamCursor":"3000000",'
    b'"upToDate":true}\n\n'
)


async def run(talk: Talk, *, viewers: int, size: int) -> None:
    """Serve until ended; on "BATCHES MILLISECONDS", write so many events at that pace.

    Args:
        talk: The benchmark.
        viewers: How many connections to wait for.
        size: Characters of the value in each event.
    """
    everyone: list[asyncio.StreamWriter] = []
    there = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        everyone.append(writer)
        if len(everyone) >= viewers:
            there.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=viewers)
    talk.say(port=server.sockets[0].getsockname()[1])
    while word := await talk.word():
        batches, pause = map(int, word.split())
        await there.wait()
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number in range(batches):
            await asyncio.sleep(max(0, start + number * pause / 1000 - loop.time()))
            event = _event(number, size)
            chunk = b"%x\r\n%s\r\n" % (len(event), event)
            for writer in everyone:
                writer.write(chunk)
        await asyncio.gather(*(writer.drain() for writer in everyone))
        talk.say(done=True)


def _event(number: int, size: int) -> bytes:
    """Return an event as the gateway writes it."""
    return (
        b'id: %020d\nevent: data\ndata:[{"offset":%d,"topic":"items",'
        b'"time":"2026-01-01T00:00:00.000000Z","data":"%s"}]\n\n'
        % (number + 1, number, make_value(0, number, size).encode())
    ) + CONTROL % (number + 1, number + 1)
