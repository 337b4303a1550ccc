"""Runs the installed command as users do: in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sysconfig
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = str(Path(sysconfig.get_path("scripts")) / "workflow-streams")
SECONDS = 100

# The command is to behave alike whatever the machine that runs the tests is set up for.
FOREIGN = ("TEMPORAL_", "OPENAI_", "LOCAL_MODEL_", "WORKFLOW_STREAMS_", "NO_COLOR", "FORCE_COLOR")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Its lines of JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(address: str | None, more: dict[str, str]) -> dict[str, str]:
    """Return the environment of a user who has set nothing but the server's address."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
    own |= {"TEMPORAL_CONFIG_FILE": os.devnull, "COLUMNS": "80"}
    return own | ({} if address is None else {"TEMPORAL_ADDRESS": address}) | more


class Cli:
    """The command, at a server."""

    def __init__(self, address: str | None) -> None:
        self.address = address

    async def __call__(self, *args: str, stdin: str | bytes | None = None, **more: str) -> Done:
        """Run it to its end."""
        given = stdin.encode() if isinstance(stdin, str) else stdin
        async with self.running(*args, **more) as process:
            async with asyncio.timeout(SECONDS):
                out, err = await process.communicate(given)
        assert process.returncode is not None
        return Done(process.returncode, out.decode(), err.decode())

    @asynccontextmanager
    async def running(self, *args: str, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run it within the block, all its standard streams being pipes."""
        process = await asyncio.create_subprocess_exec(
            COMMAND,
            *args,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment(self.address, more),
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so, such as that the visibility store knows what was written."""
    async with asyncio.timeout(SECONDS):
        while not await met():
            await asyncio.sleep(0.05)
