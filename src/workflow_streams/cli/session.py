"""Runs a command's action, and turns its result or error into a message and an exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

from .exits import Exit
from .output import OutputClosedError, OutputError, is_terminal, say

_LIBRARY = "workflow_streams"
_SILENCE_SECONDS = 30.0


class ActionError(Exception):
    """An action cannot go on; the message says why, and ``status`` is the exit status."""

    def __init__(self, message: str, status: Exit = Exit.FAULT) -> None:
        """Record the exit status."""
        super().__init__(message)
        self.status = status


def run(
    action: Callable[[], Coroutine[Any, Any, int]],
    *,
    orderly_interrupt: bool = False,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> NoReturn:
    """Run ``action()`` and exit with the status that it returns.

    Args:
        action: What to do.
        orderly_interrupt: Cancel the action on Ctrl-C, so that it can finish what it has begun.
            By default it stops at once, even in the middle of a write to a full pipe.
        loop_factory: Makes the event loop; None for asyncio's default.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # a shell's background job
    if not orderly_interrupt and not ignored:
        signal.signal(signal.SIGINT, _interrupt)
    logging.basicConfig(handlers=[_Log()], level=logging.WARNING)
    logging.getLogger(_LIBRARY).setLevel(logging.INFO)
    try:
        status = _outcome_of(action, loop_factory)
    except KeyboardInterrupt:
        status = Exit.INTERRUPTED
        if is_terminal(sys.stderr):
            print(file=sys.stderr)  # so that the prompt does not appear in the middle of a line
    except Exception:
        traceback.print_exc()  # a fault of this program
        status = Exit.FAULT
    end(status)


def cancel_on(*signals: signal.Signals) -> None:
    """Cancel the current task whenever one of these signals comes."""
    task = asyncio.current_task()
    assert task is not None
    for number in signals:
        # Windows has no such handlers; Ctrl-C cancels the main task there by itself.
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def end(status: int) -> NoReturn:
    """End the process now.

    The SDK's threads may still be delivering the answer of a last call. If the interpreter shut
    down meanwhile, the process might hang or abort although all work is done.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with suppress(OSError, ValueError):
                stream.flush()
    os._exit(status)


def _outcome_of(
    action: Callable[[], Coroutine[Any, Any, int]],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
) -> int:
    from ..errors import WorkflowStreamError

    _quieten_core()
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(action())
    except OutputClosedError:
        return Exit.OUTPUT_CLOSED
    except OutputError as err:
        say(str(err))
        return Exit.FAULT
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
    from ..errors import CodecError, ConnectionFailedError, InvalidOffsetError, StreamNotFoundError

    match error:
        case StreamNotFoundError():
            return Exit.NOT_FOUND
        case ConnectionFailedError():
            return Exit.NO_CONNECTION
        case InvalidOffsetError():
            return Exit.USAGE
        case CodecError(__cause__=ConnectionError()):
            return Exit.NO_CONNECTION
        case _:
            return Exit.FAULT


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class _Log(logging.Handler):
    """Shows what the library and the SDK log, in the same form as the command's own messages.

    Warnings and errors are shown, and from the library also lower levels, such as the end of an
    outage. A message of the same kind is not repeated for a while.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[tuple[str, object], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno < logging.WARNING and record.name != _LIBRARY:
            return
        kind = (record.name, record.msg)
        if record.created - self._told.get(kind, 0) >= _SILENCE_SECONDS:
            self._told[kind] = record.created
            say(record.getMessage())


def _quieten_core() -> None:
    """Keep the SDK's core from logging to standard output, as it does by default."""
    from temporalio.runtime import (
        LogForwardingConfig,
        LoggingConfig,
        Runtime,
        TelemetryConfig,
        TelemetryFilter,
    )

    errors = LoggingConfig(
        TelemetryFilter(core_level="ERROR", other_level="ERROR"),
        forwarding=LogForwardingConfig(logging.getLogger("temporalio")),
    )
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=errors)))
