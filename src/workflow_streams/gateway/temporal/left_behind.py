"""Lets the process end although a worker of the SDK does not.

A worker's shutdown waits for ever for a workflow that it cannot put out of its cache, as after a
task that took too long, and takes no cancellation meanwhile. ``asyncio.run`` would wait with it.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from temporalio.worker import Worker


def leave_behind(worker: Worker, task: asyncio.Task[None]) -> None:
    """Have nobody wait any more for the task that runs a worker, nor for what that has begun."""
    parts = [worker, *vars(worker).values()]
    for left in {task, *(other for other in asyncio.all_tasks() if _is_of(other, parts))}:
        # The event loop cancels and awaits what is registered before it closes.
        asyncio._unregister_task(left)  # noqa: SLF001 (no public name)
        # Nor is it to be told of when the interpreter goes.
        left._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]


def _is_of(task: asyncio.Task[Any], parts: list[object]) -> bool:
    """Whether a task runs a method of one of these."""
    run = task.get_coro()
    owner = inspect.getcoroutinelocals(run).get("self") if inspect.iscoroutine(run) else None
    return owner is not None and any(owner is part for part in parts)
