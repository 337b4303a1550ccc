"""The server's process, under a supervisor that ends it together with this process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ._supervisor import GRACE_SECONDS, KILL

_SUPERVISOR = Path(__file__).with_name("_supervisor.py")
# Both ends of the output are kept: a panic first says what is wrong, then shows where.
_HEAD_BYTES = 4096
_TAIL_BYTES = 8192


class ServerProcess:
    """A running command. Made by :meth:`launch`; must be ended by :meth:`end`."""

    def __init__(self, supervisor: asyncio.subprocess.Process) -> None:
        """Wrap a supervisor that has been started."""
        self._supervisor = supervisor
        self._head = self._tail = b""
        self._left_out = False
        assert supervisor.stdout is not None
        self._reading = asyncio.create_task(
            self._read(supervisor.stdout), name="embedded server's output"
        )

    @classmethod
    async def launch(cls, command: Sequence[str]) -> ServerProcess:
        """Start a command, without the ``TEMPORAL_*`` variables, which are meant for clients."""
        # In a session of its own, so that neither Ctrl-C nor a kill of this process's whole group
        # reaches the supervisor, which has to shut the server down in order.
        supervisor = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            str(_SUPERVISOR),
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("TEMPORAL_")},
        )
        return cls(supervisor)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._supervisor.returncode is not None

    @property
    def output(self) -> str:
        """What the process has written so far; only the beginning and the end if that is long."""
        between = b"\n...\n" if self._left_out else b""
        return (self._head + between + self._tail).decode(errors="replace").strip()

    async def wait(self) -> str:
        """Wait until the process is gone; return :attr:`output`."""
        # Shielded, so that cancelling one waiter does not cancel the reading for the others.
        await asyncio.shield(self._reading)
        await self._supervisor.wait()
        return self.output

    async def end(self, *, at_once: bool = False) -> str:
        """End the process and wait until it is gone; return its output.

        Args:
            at_once: Kill it, as a crash would.
        """
        assert self._supervisor.stdin is not None
        if at_once and not self.ended:
            self._supervisor.stdin.write(KILL)
        self._supervisor.stdin.close()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * GRACE_SECONDS):
                    await self._supervisor.wait()
        finally:
            # By status 0 the supervisor says that the server is gone. Otherwise, kill their process
            # group, to which only the two of them belong.
            if self._supervisor.returncode != 0:
                with suppress(ProcessLookupError):
                    os.killpg(self._supervisor.pid, signal.SIGKILL)
        return await self.wait()

    async def _read(self, output: asyncio.StreamReader) -> None:
        while chunk := await output.read(4096):
            room = _HEAD_BYTES - len(self._head)
            self._head += chunk[:room]
            tail = self._tail + chunk[room:]
            self._left_out = self._left_out or len(tail) > _TAIL_BYTES
            self._tail = tail[-_TAIL_BYTES:]
