"""Standard output, as a pipe and as a terminal like it."""

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
    """Standard output cannot be written; the message says why."""


class OutputClosedError(OutputError):
    """Nobody reads standard output any more."""


class Output:
    """Writes to standard output.

    Attributes:
        terminal: Whether it is a terminal.
        coloured: Whether to use colours: on a terminal, unless ``NO_COLOR`` is set.
        apart: Whether it goes to a file, so that nothing of it can come up on a terminal.
    """

    def __init__(self) -> None:
        """Look at what standard output is."""
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
        """Write ``text``, at once.

        Raises:
            OutputError: That is not possible.
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
        """Notice within the block that a pipe's reader has gone, also when there is no output.

        Raises:
            OutputClosedError: It has.
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

        # The end that is written to becomes readable only when the other one is closed. Windows
        # cannot wait for that, and notices at the next write.
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
    """Whether ``stream`` is a terminal; a closed one is none."""
    with suppress(ValueError):
        return stream is not None and stream.isatty()
    return False


def say(message: str) -> None:
    """Tell the user something on standard error, apart from the output."""
    if sys.stderr is not None:
        with suppress(BrokenPipeError):
            lines = "\n".join(shown(line) for line in message.splitlines())
            print(f"workflow-streams: {lines}", file=sys.stderr, flush=True)
