"""How the sample processes start and stop: exit codes, Ctrl-C, workers that shut down in order."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from temporalio.worker import Worker

from workflow_streams import End
from workflow_streams.errors import ServerUnavailableError


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """Run a sample's `main` and exit with the status it returns, or 130 if interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A pipe is block-buffered by default, and a live view would come in lumps.
            stream.reconfigure(encoding="utf-8", line_buffering=True)
    try:
        status = asyncio.run(main())
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = 130
        if sys.stdout.isatty():
            print()  # the prompt is not to come in the middle of a line
    except ServerUnavailableError as error:
        print(error, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the Temporal SDK may still be delivering the answer of the last call. If the
    # interpreter is torn down under them, the process hangs or aborts now and then, although
    # all its work is done.
    os._exit(status)


async def serve(worker: Worker, ready: str) -> int:
    """Run `worker` until Ctrl-C or SIGTERM, and print `ready` once it takes tasks."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows; there Ctrl-C cancels `main`
            loop.add_signal_handler(number, stop.set)
    async with worker:
        print(ready)
        await stop.wait()
    return 0


def report_failure(end: End) -> int:
    """Tell the user how a workflow ended that did not complete; return the exit status for it.

    Temporal wraps the error of an activity into one of the workflow, so the causes are told
    too: the innermost is the one that says what went wrong.
    """
    reasons: list[str] = []
    error: BaseException | None = end.failure
    while error is not None:
        reasons.append(str(error))
        error = error.__cause__
    print(f"workflow {end.outcome}: {': '.join(reasons) or 'no reason given'}", file=sys.stderr)
    return 1
