"""A role's way to talk to the benchmark."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any, Self, TextIO


class Talk:
    """JSON lines out, words in."""

    def __init__(self, lines: asyncio.StreamReader, output: TextIO) -> None:
        """Hear `lines` and write to `output`; use `Talk.open`."""
        self._lines = lines
        self._output = output

    @classmethod
    async def open(cls) -> Self:
        """Take standard input and output; what others print goes to standard error."""
        # The SDK's core logs to standard output.
        output = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        lines = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(lines)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        return cls(lines, output)

    def say(self, **message: Any) -> None:
        """Send a message."""
        self._output.write(json.dumps(message) + "\n")
        self._output.flush()

    async def word(self) -> str:
        """Wait for the next word; empty when the benchmark is gone."""
        return (await self._lines.readline()).decode().strip()
