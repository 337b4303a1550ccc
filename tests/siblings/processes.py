"""The sibling's processes: its client as publisher and subscriber, and its worker."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.npm import node
from tests.read.story import SECONDS, Follower, Line

# Of a line of output: an item may take 2 MiB, and its base64 a third more.
_LINE_BYTES = 2**22


class Publisher:
    """The sibling's client, publishing."""

    def __init__(self, process: Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input = process.stdin
        self._output = process.stdout

    def publish(self, topic: str, value: Any, *, force: bool = False) -> None:
        binary = isinstance(value, bytes)
        what = {"base64": base64.b64encode(value).decode()} if binary else {"value": value}
        self._tell(topic=topic, force=force, **what)

    async def flush(self) -> None:
        """Wait until the server has everything before."""
        self._tell(flush=True)
        async with asyncio.timeout(SECONDS):
            assert json.loads(await self._output.readline()) == {"flushed": True}

    async def leave(self) -> None:
        """Have it end in order, which flushes as well."""
        self._input.close()
        async with asyncio.timeout(SECONDS):
            assert await self._process.wait() == 0

    def _tell(self, **what: Any) -> None:
        self._input.write(json.dumps(what).encode() + b"\n")


@dataclass(frozen=True)
class Sibling:
    """Runs the sibling's client, on the server at ``address``."""

    folder: Path
    address: str

    @asynccontextmanager
    async def publishing(self, workflow_id: str) -> AsyncIterator[Publisher]:
        """Run a publisher while in the block."""
        async with self._running("publisher.mjs", workflow_id) as process:
            yield Publisher(process)

    @asynccontextmanager
    async def following(
        self, workflow_id: str, from_offset: int = 0, *topics: str
    ) -> AsyncIterator[Follower]:
        """Subscribe while in the block; lines are (offset, topic, data), and "ended"."""
        async with self._running("subscriber.mjs", workflow_id, str(from_offset), *topics) as it:
            follower = Follower(_lines(it))
            try:
                yield follower
            finally:
                await follower.stop()

    @asynccontextmanager
    async def _running(self, script: str, *arguments: str) -> AsyncIterator[Process]:
        process = await asyncio.create_subprocess_exec(
            *[node(), str(self.folder / script), self.address, *arguments],
            stdin=PIPE,
            stdout=PIPE,
            limit=_LINE_BYTES,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


async def _lines(process: Process) -> AsyncIterator[Line]:
    assert process.stdout is not None
    async for line in process.stdout:
        match json.loads(line):
            case [offset, topic, {"base64": text}]:
                yield offset, topic, base64.b64decode(text)
            case other:
                yield tuple(other)
    assert await process.wait() == 0, "the subscriber has failed"


@contextmanager
def working(folder: Path, address: str, queue: str) -> Iterator[None]:
    """Run the sibling's worker while in the block."""
    worker = subprocess.Popen(
        [node(), str(folder / "worker.mjs"), address, queue],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert worker.stdout is not None
    try:
        assert worker.stdout.readline() == b"ready\n", "the sibling's worker has failed to start"
        yield
        worker.communicate(timeout=SECONDS)
    finally:
        worker.kill()
        worker.communicate()
