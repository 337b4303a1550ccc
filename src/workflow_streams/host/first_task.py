"""Holds back the publish signals of a run's first task until all its handlers have begun.

In a run's first task the SDK starts the handlers that a class declares before it makes the
workflow object, and hands signals to a handler that is registered in ``@workflow.init``, such as
the stream's, after those. In a replay, a patch marker in the task has it make the object first,
and then the handlers start in the order of the history. What a handler sees must not depend on
that. So in its first step, up to its first ``await`` that yields, a handler sees the stream as it
was before the task. From its second step on, it sees everything that the task has brought.

Runs in the workflow sandbox.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable

from temporalio.api.common.v1 import Payload


class FirstTask:
    """The publish signals of a run's first task, until handlers may see what they brought."""

    def __init__(
        self,
        take: Callable[[Payload | None], None],
        handlers: Callable[[], Iterable[asyncio.Task[object]]],
    ) -> None:
        """Collect until :meth:`end`.

        Args:
            take: Takes what was collected, one message at a time.
            handlers: Returns the tasks of handlers that the class declares.
        """
        self._take = take
        self._handlers = handlers
        self._collected: list[Payload | None] = []
        self._over = False
        # Handlers that had not begun when the first message came; emptied once they have.
        self._beginning: set[asyncio.Task[object]] = set()

    @property
    def over(self) -> bool:
        """Whether messages are to be taken at once."""
        return self._over

    def collect(self, message: Payload | None) -> None:
        """Keep a message. Call it from the handler of the publish signal."""
        if not self._collected:
            self._beginning = {task for task in self._handlers() if not _has_begun(task)}
            # Runs after the first steps of all these, and before their second.
            asyncio.get_running_loop().call_soon(self._beginning.clear)
        self._collected.append(message)

    def release(self) -> None:
        """Give out what was collected, if the caller may see it."""
        # Conditions are checked outside of tasks, when all that was ready has run.
        if self._collected and asyncio.current_task() not in self._beginning:
            self.end()

    def end(self) -> None:
        """Give out what was collected; nothing is collected any more."""
        self._over = True
        collected, self._collected = self._collected, []
        for message in collected:
            self._take(message)


def _has_begun(task: asyncio.Task[object]) -> bool:
    coroutine = task.get_coro()
    return (
        not inspect.iscoroutine(coroutine)
        or inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED
    )
