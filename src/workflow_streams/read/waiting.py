"""Waits for a call beside something else, and sees tasks end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

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
