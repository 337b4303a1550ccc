"""Runs a command's action, and turns whatever ends it into a message and an exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from .exits import Exit
from .output import OutputClosedError, is_terminal, say


class ActionError(Exception):
    """An action cannot go on; the message says why, and ``status`` is the exit status."""

    def __init__(self, message: str, status: Exit = Exit.FAULT) -> None:
        """Record the exit status."""
        super().__init__(message)
        self.status = status


def run(
    action: Callable[[], Coroutine[Any, Any, int]], *, orderly_interrupt: bool = False
) -> NoReturn:
    """Run ``action()`` and exit with the status that it returns.

    Args:
        action: What to do.
        orderly_interrupt: Cancel the action on Ctrl-C, so that it can end what it has begun.
            Default: stop at once, even in the middle of writing to a pipe that is full.
    """
    if not orderly_interrupt:
        signal.signal(signal.SIGINT, _interrupt)
    logging.basicConfig(handlers=[_Log()], level=logging.WARNING)
    try:
        status = _outcome_of(action)
    except KeyboardInterrupt:
        status = Exit.INTERRUPTED
        if is_terminal(sys.stderr):
            print(file=sys.stderr)  # the prompt is not to come in the middle of a line
    end(status)


def end(status: int) -> NoReturn:
    """End the process now.

    The SDK's threads may still deliver the answer of a last call; when the interpreter is torn
    down under them, the process may hang or abort although all work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(BrokenPipeError, ValueError):
                stream.flush()
    os._exit(status)


def _outcome_of(action: Callable[[], Coroutine[Any, Any, int]]) -> int:
    from ..errors import WorkflowStreamError

    try:
        return asyncio.run(action())
    except OutputClosedError:
        return Exit.OUTPUT_CLOSED
    except asyncio.CancelledError:
        return Exit.STOPPED
    except ActionError as err:
        say(str(err))
        return err.status
    except WorkflowStreamError as err:
        say(str(err))
        return status_of(err)


def status_of(error: BaseException) -> Exit:
    """Return the exit status for one of this package's errors."""
    from ..errors import ConnectionFailedError, InvalidOffsetError, StreamNotFoundError

    match error:
        case StreamNotFoundError():
            return Exit.NOT_FOUND
        case ConnectionFailedError():
            return Exit.NO_CONNECTION
        case InvalidOffsetError():
            return Exit.USAGE
        case _:
            return Exit.FAULT


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class _Log(logging.Handler):
    """Warnings of the library and the SDK, told like the command's own messages."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())
