"""Writes to standard output, whether it is a terminal, a pipe or a file."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from .text import shown

_STYLES = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}
TOPIC_STYLES = ("cyan", "green", "magenta", "blue", "yellow")


class OutputError(Exception):
    """Standard output cannot be written to; the message says why."""


class OutputClosedError(OutputError):
    """Nobody reads standard output any more."""


class Output:
    """Writes to standard output.

    Attributes:
        terminal: Whether it is a terminal.
        coloured: Whether to use colours: on a terminal, unless ``NO_COLOR`` is set.
        apart: Whether it goes to a file, so that none of it can appear on the terminal.
    """

    def __init__(self) -> None:
        """Find out what standard output is."""
        self._stream: TextIO | None = sys.stdout
        self.terminal = is_terminal(self._stream)
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self.coloured = self.terminal and not plain
        mode = 0 if self._stream is None else os.fstat(self._stream.fileno()).st_mode
        self.apart = stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not self.terminal)

    def style(self, text: str, *styles: str) -> str:
        """Return ``text`` in these styles, if colours are used."""
        if not self.coloured or not styles:
            return text
        return f"\x1b[{';'.join(_STYLES[style] for style in styles)}m{text}\x1b[0m"

    def write(self, text: str) -> None:
        """Write ``text``, without buffering.

        Raises:
            OutputError: It cannot be written.
        """
        if self._stream is None:
            raise OutputClosedError
        try:
            # JSON is UTF-8 everywhere; a terminal of another encoding gets escapes.
            encoding = self._stream.encoding if self.terminal else "utf-8"
            self._stream.buffer.write(text.encode(encoding, "backslashreplace"))
            self._stream.buffer.flush()
        except BrokenPipeError as err:
            raise OutputClosedError from err
        except OSError as err:
            raise OutputError(f"the output cannot be written: {err.strerror}") from err

    def line(self, text: str) -> None:
        """Write one line."""
        self.write(f"{text}\n")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within the block, notice when the reader of a pipe is gone, even without any output.

        Raises:
            OutputClosedError: The reader is gone.
        """
        number = None if self._stream is None else self._stream.fileno()
        if number is None or not stat.S_ISFIFO(os.fstat(number).st_mode):
            yield
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        gone = False

        def on_gone() -> None:
            nonlocal gone
            gone = True
            loop.remove_reader(number)
            task.cancel()

        # The writing end of a pipe becomes "readable" only when the reading end is closed. Windows
        # cannot wait for that, and notices it at the next write.
        with suppress(NotImplementedError):
            loop.add_reader(number, on_gone)
        try:
            yield
        except asyncio.CancelledError:
            if gone:
                task.uncancel()
                raise OutputClosedError from None
            raise
        finally:
            with suppress(NotImplementedError):
                loop.remove_reader(number)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether ``stream`` is a terminal; false for a closed one."""
    with suppress(ValueError):
        return stream is not None and stream.isatty()
    return False


def say(message: str) -> None:
    """Tell the user something on standard error, separately from the output."""
    if sys.stderr is not None:
        with suppress(BrokenPipeError):
            lines = "\n".join(shown(line) for line in message.splitlines())
            print(f"workflow-streams: {lines}", file=sys.stderr, flush=True)
