"""Lets the process end although a worker of the SDK does not.

A worker's shutdown waits for ever for a workflow that it cannot evict from its cache, for example
after a task that took too long, and it ignores cancellation meanwhile. ``asyncio.run`` would wait
with it.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from temporalio.worker import Worker


def leave_behind(worker: Worker, task: asyncio.Task[None]) -> None:
    """Stop waiting for the task that runs a worker, and for the tasks that the worker has begun."""
    parts = [worker, *vars(worker).values()]
    for left in {task, *(other for other in asyncio.all_tasks() if _is_of(other, parts))}:
        # Before the event loop closes, it cancels and awaits all registered tasks.
        asyncio._unregister_task(left)  # noqa: SLF001 (no public name)
        # And the interpreter must not complain at its exit that the task is still pending.
        left._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue]


def _is_of(task: asyncio.Task[Any], parts: list[object]) -> bool:
    """Whether a task runs a method of one of these objects."""
    run = task.get_coro()
    owner = inspect.getcoroutinelocals(run).get("self") if inspect.iscoroutine(run) else None
    return owner is not None and any(owner is part for part in parts)
