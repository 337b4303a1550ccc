"""Python processes that tests start, talk to, stop and kill."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 100


class Child:
    """A running module of this package, by its name."""

    def __init__(self, process: Process) -> None:
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        self._input = process.stdin
        self._output = process.stdout

    async def said(self, line: str) -> None:
        """Wait for a line that it prints."""
        async with asyncio.timeout(SECONDS):
            while (found := await self._output.readline()).strip() != line.encode():
                assert found, f"ended without saying {line!r}"

    def tell(self, line: str) -> None:
        self._input.write(line.encode() + b"\n")

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL it, and wait until it is gone."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.communicate()

    async def ended(self) -> int:
        async with asyncio.timeout(SECONDS):
            await self._process.communicate()
            return await self._process.wait()


@asynccontextmanager
async def running(module: str, *args: str) -> AsyncIterator[Child]:
    """Run a module of this package; kill it in the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.faults.{module}", *args, stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    child = Child(process)
    try:
        yield child
    finally:
        await child.kill()
