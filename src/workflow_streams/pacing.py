"""Keeps publishers from filling a run's history faster than its workflow can roll over.

A workflow task that continues as new fails if a signal has come meanwhile, and is tried again
with it. Publishers that never pause could thus hold a workflow in its run until the server ends
it, at 50 MiB of history (``limit.historySize.error``). So who sends much looks now and then how
much there is, and lets the workflow catch up. The limit on the number of signals needs no such
care: over it the server refuses signals, and these are sent again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from .errors import RunFullError

_MEBIBYTE = 1024 * 1024
# The server sends a workflow task back when over 2 MiB come while it runs
# (limit.maxBufferedEventsSizeInBytes), and its worker then has to read the whole run again.
_LOOK_EVERY_BYTES = int(1.25 * _MEBIBYTE)
_CATCH_UP_SECONDS = 2.0
# Alone, it soon finds the workflow with nothing left to do; among many that send, never.
_ALONE_SECONDS = 0.5
# What may be sent before it is waited for again, if it has not caught up in that time.
_UNWATCHED_BYTES = 8 * _MEBIBYTE
# Others may send on until they look themselves.
_FULL_BYTES = 40 * _MEBIBYTE
_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class _Run:
    """A workflow's current run.

    Attributes:
        run_id: Which.
        size: Bytes of its history.
        task: When its pending workflow task was scheduled, in nanoseconds; 0 if it has none.
        attempt: How often that has been tried.
    """

    run_id: str
    size: int
    task: int
    attempt: int


def check_room(workflow_id: str, size: int) -> None:
    """Refuse to send more to a run whose history holds ``size`` bytes.

    Raises:
        RunFullError: It is nearly full.
    """
    if size >= _FULL_BYTES:
        raise RunFullError(workflow_id, size)


class Pace:
    """One sender's care for the run that it sends to."""

    def __init__(self, handle: WorkflowHandle[Any, Any], *, patience: float) -> None:
        """Begin with nothing sent.

        Args:
            handle: The workflow.
            patience: Seconds that the sender has for each batch, this care included.
        """
        self._handle = handle
        self._catch_up_seconds = min(_CATCH_UP_SECONDS, patience / 4)
        self._unseen = 0
        self._unwatched = 0
        self._blind = False

    async def before(self, size: int) -> None:
        """Wait until the run may be sent ``size`` bytes more.

        Raises:
            RunFullError: It is nearly full, and does not roll over.
        """
        self._unseen += size
        if self._unseen < _LOOK_EVERY_BYTES or self._blind:
            return
        run = await self._look()
        if run.task and self._unseen > self._unwatched:
            run, caught_up = await self._wait(run, self._catch_up_seconds)
            self._unwatched = 0 if caught_up else _UNWATCHED_BYTES
        check_room(self._handle.id, run.size)
        self._unwatched = max(0, self._unwatched - self._unseen)
        self._unseen = 0

    async def _wait(self, first: _Run, seconds: float) -> tuple[_Run, bool]:
        """Wait until the workflow has got further; return what runs then, and whether it has."""
        loop = asyncio.get_running_loop()
        run, pause, began = first, _FIRST_PAUSE_SECONDS, loop.time()
        while run.run_id == first.run_id and run.task:
            waited = loop.time() - began
            if waited >= seconds:
                return run, False  # no worker, or a slow one: while there is room, go on
            if waited >= _ALONE_SECONDS and run.task != first.task and run.attempt == 1:
                break
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            run = await self._look()
        return run, True

    async def _look(self) -> _Run:
        try:
            answer = await self._handle.describe()
        except RPCError as err:
            # Whoever may only send goes on without; other faults the next signal will meet, too.
            self._blind = err.status in (
                RPCStatusCode.PERMISSION_DENIED,
                RPCStatusCode.UNIMPLEMENTED,
            )
            return _Run("", 0, 0, 0)
        info = answer.raw_description.workflow_execution_info
        task = answer.raw_description.pending_workflow_task
        scheduled = task.scheduled_time.ToNanoseconds()
        return _Run(info.execution.run_id, info.history_size_bytes, scheduled, task.attempt)
