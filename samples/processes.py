"""The demo's processes: started, watched, shown live, and gone when their block is left."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

SAMPLES = Path(__file__).parent
ESCAPES = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z]|[78D])")
STOP_SECONDS = 10


class Process:
    """A sample in a process of its own, and everything that it has printed so far.

    It has a session of its own too, so Ctrl-C reaches the demo alone, which then stops its
    processes in order.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, output: asyncio.StreamReader, *, shown: bool
    ) -> None:
        """Watch `process`, whose output comes by `output`; use `run_sample` to get one."""
        self._process = process
        self._output = output
        self._shown = shown
        self._text = ""
        self._noted = False
        self._ended = False
        self._changed = asyncio.Condition()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def text(self) -> str:
        """What it has printed, without colours and cursor movements."""
        return ESCAPES.sub("", self._text).replace("\r", "")

    async def until(self, seen: Callable[[str], bool], seconds: float) -> bool:
        """Wait until `seen(text)`; false if the process ends, or the time is over, before that."""

        def settled() -> bool:
            return seen(self.text) or self._ended

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(settled)
        return seen(self.text)

    async def until_quiet(self, seconds: float = 0.5) -> None:
        """Wait until nothing has been printed for some time."""
        length = -1
        while length != len(self._text):
            length = len(self._text)
            await asyncio.sleep(seconds)

    async def exit_code(self, seconds: float) -> int | None:
        """Wait for the end of the process and of its output; None if it does not come in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self._ended)
                return await self._process.wait()
        return None

    def kill(self) -> None:
        """SIGKILL: the process gets no chance to clean up."""
        self._process.kill()

    async def stop(self) -> None:
        """End the process, politely first."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)
        if await self.exit_code(STOP_SECONDS) is None:
            self._process.kill()
            await self._process.wait()

    def note(self, message: str) -> None:
        """Show a message below what the process has printed; on a terminal, until it goes on.

        The process counts on the cursor being where it left it, so the note makes room for a
        line, remembers the place, and the next output starts from there.
        """
        if not sys.stdout.isatty():
            print(f"\n{message}")
            return
        columns = os.get_terminal_size(sys.stdout.fileno()).columns
        show(f"\x1bD\x1b[A\x1b7\r\n{message[: columns - 1]}")
        self._noted = True

    async def pump(self) -> None:
        """Take in the output until it ends."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while not self._ended:
            try:
                data = await self._output.read(65536)
            except OSError:  # how Linux ends the output of a pseudo-terminal
                data = b""
            text = decoder.decode(data, final=not data)
            if self._shown:
                show(("\x1b8\x1b[J" if self._noted and text else "") + text)
                self._noted = self._noted and not text
            self._text += text
            async with self._changed:
                self._ended = not data
                self._changed.notify_all()


def show(text: str) -> None:
    """Write to the terminal at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


@asynccontextmanager
async def run_sample(
    script: str, environment: Mapping[str, str], *, shown: bool = False
) -> AsyncIterator[Process]:
    """Run one of the samples until the block is left.

    With `shown` its output is shown live. If the demo runs on a terminal, such a sample gets a
    (pseudo-)terminal as well, so that it can do there what it does for a user.
    """
    terminal = shown and sys.stdout.isatty() and sys.platform != "win32"
    master, output = _pseudo_terminal() if terminal else (-1, asyncio.subprocess.PIPE)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(SAMPLES / script),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    finally:
        if terminal:
            os.close(output)
    reader = process.stdout
    if terminal:
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: protocol, os.fdopen(master, "rb", buffering=0)
        )
    assert reader is not None
    sample = Process(process, reader, shown=shown)
    pump = asyncio.create_task(sample.pump())
    try:
        yield sample
    finally:
        await sample.stop()
        await pump


def _pseudo_terminal() -> tuple[int, int]:
    """Open a pseudo-terminal as large as the real one: (our end, the sample's end)."""
    import fcntl
    import termios

    ours, theirs = os.openpty()
    size = fcntl.ioctl(sys.stdout.fileno(), termios.TIOCGWINSZ, bytes(8))
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    return ours, theirs
