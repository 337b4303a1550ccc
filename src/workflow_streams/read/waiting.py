"""Waits for a call beside something else, or together with others, and sees tasks end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def unless(
    call: Callable[[], Awaitable[T]],
    *,
    over: asyncio.Future[Any] | None = None,
    seconds: float | None = None,
) -> T | None:
    """Make a call; return None if ``over`` is done first, or the time is over."""

    async def calling() -> T:
        return await call()

    task = asyncio.create_task(calling(), name="follow by a call")
    waited: set[asyncio.Future[Any]] = {task} if over is None else {task, over}
    try:
        await asyncio.wait(waited, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        await ended(task)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task, if it is not done, and see it end."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()


class SharedTask(Generic[T]):
    """A task that several wait for. It is cancelled when nobody waits for it any more.

    Attributes:
        waiting: How many do.
    """

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        """Begin the work."""
        self.waiting = 0
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(_note_end)

    async def result(self) -> T:
        """Wait for it and return its result.

        Raises:
            Exception: What the work raises, to all who wait.
        """
        self.waiting += 1
        try:
            await asyncio.wait({self._task})
            return self._task.result()
        finally:
            self.waiting -= 1
            if not self.waiting:
                self._task.cancel()


def _note_end(task: asyncio.Task[Any]) -> None:
    # Whoever waited has been told. If nobody does any more, an error tells nobody anything.
    if not task.cancelled():
        task.exception()
