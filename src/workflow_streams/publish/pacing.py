"""Keeps publishers from filling a run's history faster than its workflow can roll over.

A workflow task that continues as new fails if a signal has come meanwhile, and is tried again
with it. Publishers that never pause could thus hold a workflow in its run until the server ends
it, at 50 MiB of history (``limit.historySize.error``). So after every so many bytes, senders look
at the size of the run, and let the workflow catch up. All senders of a process are counted
together, since each of them may send little. The limit on the number of signals needs no such care:
the server refuses signals beyond it, and they are sent again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, ServiceClient

from ..errors import RunFullError
from ..temporal.backoff import Backoff
from ..temporal.handles import client_of
from ..temporal.rpc import may_not_look
from .failing_host import explain_failing, failing_attempt

logger = logging.getLogger("workflow_streams")

Handle: TypeAlias = WorkflowHandle[Any, Any]

_MEBIBYTE = 1024 * 1024
# The server sends a workflow task back when over 2 MiB come while it runs
# (limit.maxBufferedEventsSizeInBytes), and its worker then has to read the whole run again.
_LOOK_EVERY_BYTES = int(1.25 * _MEBIBYTE)
# Senders of other processes fill the run, too. So the first batch after a pause looks, unless it
# is so small that a run of such batches would reach the server's 10,000 signals first.
_LOOK_EVERY_SECONDS = 60.0
_LEAST_BYTES = 5 * 1024
_CATCH_UP_SECONDS = 2.0
# After so long a wait, a new workflow task is sign enough that the workflow gets on. A lone sender
# finds it with nothing left to do before that; one of many never does.
_ALONE_SECONDS = 0.5
# How much is sent before the next wait if the workflow has not caught up during the last one.
_UNWATCHED_BYTES = 8 * _MEBIBYTE
# No more is sent to a run of this size. The rest is room for what other processes send before they
# look themselves.
_FULL_BYTES = 40 * _MEBIBYTE
_FIRST_PAUSE_SECONDS = 0.01
_LONGEST_PAUSE_SECONDS = 0.1
# Workflows of a connection whose senders are counted together.
_MOST_PACES = 1_000


@dataclass(frozen=True, slots=True)
class _Run:
    """A workflow's current run.

    Attributes:
        run_id: Its id.
        task: When its pending workflow task was scheduled, in nanoseconds; 0 if none is pending.
        attempt: How often that task has been tried.
    """

    run_id: str
    task: int
    attempt: int


_NO_RUN = _Run("", 0, 0)


def check_room(workflow_id: str, size: int, coming: int = 0) -> None:
    """Refuse to send more to a run whose history holds ``size`` bytes.

    Args:
        workflow_id: The workflow.
        size: What the run's history holds.
        coming: What is on its way to it, or what a batch that comes in fragments will add.

    Raises:
        RunFullError: It is nearly full, or will be with that.
    """
    if size + coming >= _FULL_BYTES:
        raise RunFullError(workflow_id, size, coming)


class Pace:
    """Paces the senders to one workflow. All those of an event loop share it: :func:`pace_of`."""

    def __init__(self) -> None:
        """Begin with nothing sent."""
        self._unseen = 0
        self._under_way = 0
        self._unwatched = 0
        self._looked_at = -math.inf
        self._blind = False
        # Whether the last look found no room. In that case each batch looks again.
        self._full = False
        # The run whose failing task has been logged, so that this is said once.
        self._told = ""
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def sending(self, handle: Handle, size: int, *, patience: float) -> AsyncIterator[None]:
        """Wait until the run may be sent ``size`` bytes more; send them in the block.

        Args:
            handle: The workflow.
            size: What is to be sent.
            patience: Seconds that the sender has for it, this wait included.

        Raises:
            RunFullError: It is nearly full, and does not roll over.
        """
        if not await self._has_turn(patience / 2):
            # Others are waiting for the workflow already, and for longer than this one can.
            self._unseen += size
            if not self._blind:
                await self._look(handle)
        else:
            try:
                await self._care(handle, size, min(_CATCH_UP_SECONDS, patience / 4))
            finally:
                self._turn.release()
        self._under_way += size
        try:
            yield
        finally:
            self._under_way -= size

    async def _has_turn(self, seconds: float) -> bool:
        """Wait for the turn to look after the workflow; return whether it came in time."""
        try:
            async with asyncio.timeout(seconds):
                return await self._turn.acquire()
        except TimeoutError:
            return False

    def seen(self) -> None:
        """Note that a sender has just looked at the run by itself, and found room."""
        self._looked_at = asyncio.get_running_loop().time()

    async def _care(self, handle: Handle, size: int, seconds: float) -> None:
        """Look at the run if it is time for that; wait for the workflow if much has been sent."""
        self._unseen += size
        now = asyncio.get_running_loop().time()
        is_much = self._unseen >= _LOOK_EVERY_BYTES
        is_new = self._unseen >= _LEAST_BYTES and now - self._looked_at >= _LOOK_EVERY_SECONDS
        if self._blind or not (is_much or is_new or self._full):
            return
        run = await self._look(handle)
        if is_much and run.task and self._unseen > self._unwatched:
            run, caught_up = await self._wait(handle, run, seconds)
            self._unwatched = 0 if caught_up else _UNWATCHED_BYTES
        self._looked_at = now
        self._unwatched = max(0, self._unwatched - self._unseen)
        self._unseen = 0

    async def _wait(self, handle: Handle, first: _Run, seconds: float) -> tuple[_Run, bool]:
        """Wait until the workflow has got further; return what runs then, and whether it has."""
        loop = asyncio.get_running_loop()
        run, began = first, loop.time()
        backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        while run.run_id == first.run_id and run.task:
            waited = loop.time() - began
            if waited >= seconds:
                return run, False  # no worker, or a slow one: go on while there is room
            if waited >= _ALONE_SECONDS and run.task != first.task and run.attempt == 1:
                break
            await backoff.pause()
            run = await self._look(handle)
        return run, True

    async def _look(self, handle: Handle) -> _Run:
        """Ask for the current run; refuse to go on if it is full."""
        # The answer may or may not include what is on its way now, so count it as not included.
        under_way = self._under_way
        try:
            answer = await handle.describe()
        except RPCError as err:
            # The next signal will meet any other fault, and report it.
            self._blind = may_not_look(err)
            return _NO_RUN
        if answer.status != WorkflowExecutionStatus.RUNNING:
            return _NO_RUN  # the signal will meet that, too
        info = answer.raw_description.workflow_execution_info
        task = answer.raw_description.pending_workflow_task
        scheduled = task.scheduled_time.ToNanoseconds()
        attempt = failing_attempt(answer)
        if attempt and self._told != info.execution.run_id:
            self._told = info.execution.run_id
            logger.warning(explain_failing(handle.id, attempt))
        self._full = True
        check_room(handle.id, info.history_size_bytes, under_way)
        self._full = False
        return _Run(info.execution.run_id, scheduled, task.attempt)


_Key = tuple[asyncio.AbstractEventLoop, str, str, str | None]
_paces: WeakKeyDictionary[ServiceClient, OrderedDict[_Key, Pace]] = WeakKeyDictionary()
_paces_lock = threading.Lock()


def pace_of(handle: Handle) -> Pace:
    """Return the pace that all senders to a workflow share on a connection and event loop.

    It outlives the senders, so that many that send little each count together. The paces of the
    workflows that have been idle for longest are dropped.
    """
    client = client_of(handle)
    key = asyncio.get_running_loop(), client.namespace, handle.id, handle.run_id
    with _paces_lock:
        paces = _paces.setdefault(client.service_client, OrderedDict())
        if key not in paces:
            for old in [old for old in paces if old[0].is_closed()]:
                del paces[old]
            paces[key] = Pace()
        paces.move_to_end(key)
        while len(paces) > _MOST_PACES:
            paces.popitem(last=False)
        return paces[key]
