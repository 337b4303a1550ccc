"""Processes of the benchmark's own, which talk in JSON lines, and their memory."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import psutil

ROOT = Path(__file__).parents[1]
STOP_SECONDS = 5
SAMPLE_SECONDS = 0.05
LINE_LIMIT = 64 * 1024 * 1024


class ChildError(Exception):
    """A process ended, or said nothing for too long; holds the end of its output."""


class Memory:
    """The resident set of a process over time."""

    def __init__(self) -> None:
        """Begin with no sample."""
        self._samples: list[tuple[int, int]] = []

    def sample(self, resident: int) -> None:
        """Note how many bytes are resident now."""
        self._samples.append((time.monotonic_ns(), resident))

    def peak(self, began: float = 0, ended: float = math.inf) -> int:
        """Return the highest that was seen between two times of the monotonic clock, in ns."""
        return max((size for at, size in self._samples if began <= at <= ended), default=0)


class Child:
    """One role (see `benchmarks.roles`) in a process of its own."""

    def __init__(self, role: str, process: asyncio.subprocess.Process, log: Path) -> None:
        """Watch `process`; use `Child.start`."""
        self.role = role
        self._process = process
        self._log = log
        self.memory = Memory()
        self._sampler = asyncio.create_task(self._sample(), name=f"memory of {role}")

    @classmethod
    async def start(cls, role: str, /, **options: Any) -> Self:
        """Start a role with its options."""
        handle, name = tempfile.mkstemp(prefix=f"benchmark-{role}-", suffix=".log")
        path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "benchmarks.roles",
                role,
                json.dumps(options),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=handle,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
                limit=LINE_LIMIT,
                start_new_session=True,
            )
        finally:
            os.close(handle)
        return cls(role, process, Path(name))

    async def message(self, seconds: float = 60) -> dict[str, Any]:
        """Return what it says next.

        Raises:
            ChildError: It ended, or says nothing in time.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise ChildError(f"the {self.role} says nothing for {seconds:.0f} s") from None
        if not line:
            raise ChildError(f"the {self.role} ended\n{self.output()}")
        try:
            message: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            raise ChildError(f"the {self.role} says {line[:200]!r}\n{self.output()}") from None
        return message

    def say(self, word: str) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())

    def rss(self) -> int:
        """Return its memory in bytes."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def cpu_seconds(self) -> float:
        """Return how long it has kept a core busy since it was started."""
        with contextlib.suppress(psutil.Error):
            return cpu_seconds(psutil.Process(self._process.pid))
        return 0

    def output(self, characters: int = 2_000) -> str:
        """Return the end of what it logged."""
        return self._log.read_text(errors="replace")[-characters:]

    async def stop(self) -> None:
        """End it, politely first, and wait until it is gone."""
        self._sampler.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._sampler
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._log.unlink(missing_ok=True)

    async def _sample(self) -> None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            while True:
                self.memory.sample(process.memory_info().rss)
                await asyncio.sleep(SAMPLE_SECONDS)


def cpu_seconds(process: psutil.Process) -> float:
    """Return how long a process has kept a core busy."""
    times = process.cpu_times()
    return float(times.user + times.system)
