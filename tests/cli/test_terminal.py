"""Output as a pipe and as a terminal like it: quiet ends, colours, nothing that it would obey."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pyte

from workflow_streams import WorkflowStreamClient

from .command import COMMAND, SECONDS, Cli, environment
from .hosts import Streams, batch, json_item

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
LARGE = 200_000


async def large(streams: Streams) -> str:
    """Return a stream of more than any pipe holds."""
    host = await streams.start("large", stays=True)
    async with WorkflowStreamClient.create(streams.client, host.id) as stream:
        for n in range(30):
            stream.topic("large").publish(f"{n} " + "x" * LARGE)
    return host.id


async def test_a_reader_that_has_enough_ends_it_quietly(cli: Cli, streams: Streams) -> None:
    host, many = await streams.start("pipe", "a", stays=True), await large(streams)
    for name in (host.id, many):  # once with nothing more to write, once in mid-write
        async with cli.running("tail", name) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert await process.stdout.read(10)
            process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
            async with asyncio.timeout(SECONDS):
                assert await process.stderr.read() == b""
                assert await process.wait() == 141


async def test_ctrl_c_ends_it_at_once_with_130(cli: Cli, streams: Streams) -> None:
    host, many = await streams.start("int", "a", stays=True), await large(streams)
    for name in (host.id, many):  # once while it waits, once while nobody takes its output
        async with cli.running("tail", name) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert await process.stdout.read(10)
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(SECONDS):
                assert await process.stderr.read() == b""
                # To asyncio, a process has not ended before its output has been read.
                await process.stdout.read()
                assert await process.wait() == 130


async def test_output_that_cannot_be_written_is_an_error(cli: Cli, streams: Streams) -> None:
    host = await streams.start("full", "a", stays=True)
    with Path("/dev/full").open("wb") as full:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "tail", host.id),
            stdout=full,
            stderr=asyncio.subprocess.PIPE,
            env=environment(cli.address, {}),
        )
        _, err = await process.communicate()
    assert (process.returncode, err) == (
        1,
        b"workflow-streams: the output cannot be written: No space left on device\n",
    )


class Terminal:
    """A command on a terminal of 80 columns; `text` is what it has sent there."""

    def __init__(self, process: asyncio.subprocess.Process, ours: int) -> None:
        self.process = process
        self._ours = ours
        self.text = ""

    async def read(self) -> bool:
        """Take in some more; false at the end."""
        try:
            data = await asyncio.to_thread(os.read, self._ours, 65536)
        except OSError:  # how Linux ends the output of a terminal
            data = b""
        self.text += data.decode()
        return bool(data)

    async def finish(self) -> str:
        """Wait for the end; return all output."""
        async with asyncio.timeout(SECONDS):
            while await self.read():
                pass
            await self.process.wait()
        return self.text

    def screen(self) -> list[str]:
        """What stands on the terminal in the end."""
        screen = pyte.Screen(80, 24)
        pyte.Stream(screen).feed(self.text)
        return [line.rstrip() for line in screen.display if line.strip()]


@asynccontextmanager
async def terminal(
    cli: Cli, *args: str, errors_only: bool = False, **more: str
) -> AsyncIterator[Terminal]:
    """Run the command on a terminal, or with only its standard error there."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    try:
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, *args),
            stdin=theirs,
            stdout=asyncio.subprocess.DEVNULL if errors_only else theirs,
            stderr=theirs,
            env=environment(cli.address, {"TERM": "xterm-256color", **more}),
        )
    finally:
        os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        os.close(ours)


async def test_a_terminal_gets_colours_and_nothing_else_that_it_obeys(
    cli: Cli, streams: Streams
) -> None:
    nasty = json_item('"\\u001b[2J\\u001b]0;title\\u0007\\r\\u009b31m"')
    host = await streams.signalled("nasty", batch(("t\x1b[H", nasty)))
    await host.result()
    async with terminal(cli, "tail", host.id) as shown:
        text = await shown.finish()
    assert "\x1b[36m" in text
    assert COLOUR.sub("", text).replace("\r\n", "\n").isprintable() is False  # its line ends
    assert COLOUR.sub("", text).replace("\r\n", "").isprintable()
    assert shown.screen() == [
        "     0  t\\x1b[H   \\x1b[2J\\x1b]0;title\\x07\\r\\x9b31m",
        "-- end: completed, head 1",
    ]
    for plain in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        async with terminal(cli, "tail", host.id, **plain) as shown:
            text = await shown.finish()
        assert text.replace("\r\n", "").isprintable()
        assert len(shown.screen()) == 2
    async with terminal(cli, "tail", host.id, "--json") as shown:
        assert (await shown.finish()).replace("\r\n", "").isprintable()


async def test_a_long_wait_shows_what_for_and_leaves_nothing_behind(
    cli: Cli, streams: Streams
) -> None:
    host = await streams.client.start_workflow(
        "Host", id=f"{streams.queue}-slow", task_queue="nobody"
    )
    async with terminal(cli, "tail", host.id, errors_only=True) as shown:
        async with asyncio.timeout(SECONDS):
            while "items" not in shown.text:
                assert await shown.read()
        assert shown.screen()[0].startswith("waiting for a worker")
        await host.terminate()
        await shown.finish()
    assert shown.process.returncode == 12
    assert shown.screen() == []
