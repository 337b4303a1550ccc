"""The life of the task that sends for a publisher: its start, its pauses, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

GRACE_SECONDS = 5.0
"""How long the pump of a cancelled block may go on."""

_pumps: set[asyncio.Task[None]] = set()
"""All pumps that run: an event loop does not keep its tasks alive."""


class Pump:
    """Runs one task at a time.

    What the task does is passed to :meth:`ensure` and not kept. So a publisher whose pump does not
    run is part of no reference cycle, and reports what it has not sent as soon as it is dropped.
    """

    def __init__(self, name: str) -> None:
        """Begin with nothing running; ``name`` is that of the task."""
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()
        self._grace: asyncio.TimerHandle | None = None

    @property
    def running(self) -> bool:
        """Whether the task runs."""
        return self._task is not None and not self._task.done()

    def is_current(self, task: asyncio.Task[None]) -> bool:
        """Whether ``task`` is the last one that was started."""
        return task is self._task

    def ensure(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        ended: Callable[[asyncio.Task[None]], None],
    ) -> None:
        """Wake the task, or start it if none runs.

        Args:
            work: What the task does.
            ended: Is called with the task when that has ended.
        """
        self._awake.set()
        if not self.running:
            self._task = asyncio.create_task(work(), name=self._name)
            self._task.add_done_callback(_pumps.discard)
            self._task.add_done_callback(ended)
            _pumps.add(self._task)

    def wake(self) -> None:
        """End the task's pause, so that it looks at what has changed."""
        self._awake.set()

    async def rest(self, until: float | None) -> None:
        """Pause the task until then, or until it is woken."""
        self._awake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._awake.wait()

    def renew(self) -> None:
        """Let the next task run on another event loop than the last one did."""
        self._awake = asyncio.Event()

    async def finished(self, raised: BaseException | None) -> asyncio.CancelledError | None:
        """Wait for the task to end; after a cancellation, for as long as its grace lasts.

        A second cancellation ends this wait at once; the task then goes on alone.

        Args:
            raised: The error with which the block is left.

        Returns:
            The last cancellation that came, before this call or meanwhile.
        """
        if not self.running:
            return None
        cancelled = raised if isinstance(raised, asyncio.CancelledError) else None
        if cancelled is None:
            try:
                await self._ends()
                return None
            except asyncio.CancelledError as err:
                cancelled = err
        self._begin_grace()
        try:
            await self._ends()
        except asyncio.CancelledError as err:
            # In a cancel scope of anyio each wait is cancelled, so nothing can be awaited here.
            cancelled = err
        return cancelled

    async def _ends(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    def _begin_grace(self) -> None:
        task, self._grace = self._task, None
        if task is not None and not task.done():
            over = f"the {GRACE_SECONDS:g} s that a cancelled block has for it are over"
            loop = asyncio.get_running_loop()
            self._grace = loop.call_later(GRACE_SECONDS, task.cancel, over)

    def end_grace(self) -> None:
        """Let the task run for as long as it needs: a new block wants it, or it has ended."""
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
