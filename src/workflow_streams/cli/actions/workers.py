"""Runs the samples' workers, and starts them again when somebody kills them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ...embedded import _supervisor
from ..output import say

_READY = "worker ready on "
_PAUSE_SECONDS = 1.0
_STOP_SECONDS = 12.0
_TAIL_LINES = 20

# Prints its process id, since the supervisor in between does not, and then runs the script.
_START = (
    "import os, runpy, sys; print('pid', os.getpid(), flush=True); sys.path[0] = sys.argv[1]; "
    "sys.argv = sys.argv[2:]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


class SampleWorker:
    """Keeps one of the samples' workers running.

    The worker ends with this process, however that ends.
    """

    def __init__(self, script: Path, title: str, environment: Mapping[str, str]) -> None:
        """Prepare; ``title`` is the name that is shown to the user."""
        self._script = script
        self._title = title
        self._environment = environment
        self._pid = 0
        self._ready = False
        self._tail: list[str] = []
        self.settled = asyncio.Event()
        """Set when the first worker is ready, or has ended before it was."""

    async def run(self, tell: Callable[[str, str], None]) -> None:
        """Run until cancelled, or until a worker ends before it was ready.

        Args:
            tell: Shows the user what is going on: a title and a text.
        """
        while True:
            self._ready = False
            await self._live(tell)
            if not self._ready:
                said = "\n".join(self._tail)
                say(f"{self._title} ended before it was ready, and is left alone:\n{said}")
                self.settled.set()
                return
            tell(self._title, f"process {self._pid} has ended; another one is started")
            # Pause, so that a worker that always ends does not keep a core busy.
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _live(self, tell: Callable[[str, str], None]) -> None:
        command = [sys.executable, "-u", "-c", _START, str(self._script.parent), str(self._script)]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", _supervisor.__file__, *command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                self._heard(line.decode(errors="replace").rstrip(), tell)
            await process.wait()
        finally:
            # When its input ends, the supervisor shuts the worker down in order.
            process.stdin.close()
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()

    def _heard(self, line: str, tell: Callable[[str, str], None]) -> None:
        self._tail = [*self._tail, line][-_TAIL_LINES:]
        if line.startswith("pid "):
            self._pid = int(line.partition(" ")[2])
        elif line.startswith(_READY):
            self._ready = True
            tell(self._title, f"process {self._pid}, on task queue {line.removeprefix(_READY)}")
            self.settled.set()
