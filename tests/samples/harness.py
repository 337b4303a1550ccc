"""Runs a sample in a process of its own and waits for what it prints."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

SAMPLES = Path(__file__).parents[2] / "samples"
SECONDS = 100

# The samples are to behave alike whatever the machine that runs the tests is set up for.
FOREIGN = ("TEMPORAL_", "OPENAI_", "LOCAL_MODEL_", "NO_COLOR")


class Sample:
    """A running sample; `terminal=(columns, rows)` puts it on a pseudo-terminal."""

    def __init__(
        self,
        script: str,
        *args: str,
        terminal: tuple[int, int] | None = None,
        **environment: str,
    ) -> None:
        """Start `script` with `args` and `environment`."""
        if terminal is None:
            self._output, theirs = os.pipe()
        else:
            columns, rows = terminal
            self._output, theirs = os.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        own = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)}
        self.process = subprocess.Popen(
            [sys.executable, str(SAMPLES / script), *args],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=own | environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.output = b""
        self._ended = False
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while not self._ended:
            try:
                data = os.read(self._output, 65536)
            except OSError:  # how Linux ends the output of a pseudo-terminal
                data = b""
            with self._changed:
                self.output += data
                self._ended = not data
                self._changed.notify_all()
        os.close(self._output)

    @property
    def text(self) -> str:
        """Everything printed so far."""
        return self.output.decode(errors="replace").replace("\r\n", "\n")

    def until(self, seen: Callable[[str], object], seconds: float = SECONDS) -> None:
        """Wait until `seen(text)`; fail if that does not come."""
        with self._changed:
            self._changed.wait_for(lambda: seen(self.text) or self._ended, seconds)
            assert seen(self.text), f"still waiting, after this output:\n{self.text}"

    def until_line(self, pattern: str, seconds: float = SECONDS) -> re.Match[str]:
        """Wait for a whole line that matches `pattern`."""
        line = re.compile(rf"^{pattern}$", re.MULTILINE)
        self.until(lambda text: line.search(text[: text.rfind("\n") + 1]), seconds)
        found = line.search(self.text)
        assert found is not None
        return found

    def finish(self, code: int = 0, seconds: float = SECONDS) -> list[str]:
        """Wait for the end, check the exit status, and return all lines."""
        deadline = time.monotonic() + seconds
        self._reader.join(seconds)
        assert not self._reader.is_alive(), f"did not end; its output:\n{self.text}"
        found = self.process.wait(max(1, deadline - time.monotonic()))
        assert found == code, f"ended with status {found}; its output:\n{self.text}"
        return self.text.splitlines()

    def kill(self) -> None:
        """SIGKILL it, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def interrupt(self) -> None:
        """Do what Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """End it, however it stands."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join()
