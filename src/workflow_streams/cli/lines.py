"""Reads standard input line by line."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

_CHUNK_BYTES = 1024 * 1024


class Lines:
    """Cuts bytes into lines. Pure."""

    def __init__(self, limit: int) -> None:
        """Expect lines of up to ``limit`` bytes."""
        self._limit = limit
        self._rest = b""

    @property
    def overlong(self) -> bool:
        """Whether the incomplete line is already over the limit."""
        return len(self._rest) > self._limit

    def feed(self, chunk: bytes) -> list[bytes]:
        r"""Return the lines that are complete with this chunk, without their ``\n`` or ``\r\n``.

        An empty chunk is the end of the input: then what is left is a line as well.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if not chunk and self._rest:
            lines, self._rest = [self._rest], b""
        return [line.removesuffix(b"\r") for line in lines]


async def chunks(number: int) -> AsyncGenerator[bytes]:
    """Yield what comes in on file descriptor ``number``; at the end of the input, yield ``b""``."""
    while True:
        chunk = await _read(number)
        yield chunk
        if not chunk:
            return


async def _read(number: int) -> bytes:
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        try:
            chunk = os.read(number, _CHUNK_BYTES)
        except OSError as err:
            tell(arrived.set_exception, err)
        else:
            tell(arrived.set_result, chunk)

    def tell(settle: Callable[[Any], None], result: object) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody is waiting
            loop.call_soon_threadsafe(lambda: None if arrived.done() else settle(result))

    # A daemon thread: a read cannot be cancelled, and must not keep the process from ending.
    threading.Thread(target=read, daemon=True).start()
    return await arrived
