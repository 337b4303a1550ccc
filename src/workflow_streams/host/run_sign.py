"""The sign in a run's history which tells that the run is one of this package.

Runs in the workflow sandbox.

A run that began under the contrib has to go on as the contrib would have it, so the sign has to
be there from the first task on. It must not be a patch marker of that task: in a replay, such a
marker has the SDK make the workflow object before it hands out the signals, whereas live the
object is made after that. So signal handlers that are registered in ``@workflow.init`` would run in
another order. The sign is an internal flag in the completion of the first task, which changes no
order. With an SDK that lacks the private names used here, the sign is the marker after all.

The marker has a second use: it sets the search attribute by which all streams are listed. So it
is set as well: in the first task if that changes no order, else in a later one.

Everything here that rests on private names of the SDK is guarded by tests/replays/test_sdk.py.
"""

from __future__ import annotations

import asyncio
from collections import deque
from enum import Enum, auto
from typing import Any

from temporalio import workflow

from ..log import wire

FLAG = 0x57465331
"""The internal flag, in `sdk_metadata.lang_used_flags` of a run's first completed task."""

# A flag which tells that a small record follows another one, whose number is added to this. A run
# has 51,200 events at most.
_FOLLOWED = 0x57470000

_PRIVATE_NAMES = (
    "_current_completion",
    "_current_internal_flags",
    "_defn",
    "_inbound",
    "_patches_notified",
    "_primary_task",
    "_ready",
    "_signals",
    "_tasks",
)


class RunKind(Enum):
    """How a run began, by which it is clear what may be written to its history."""

    CONTRIB = auto()
    """Under the contrib: its history holds no records."""
    MARKED = auto()
    """With the marker in its first task."""
    FLAGGED = auto()
    """With the flag."""


class RunSign:
    """The current run's sign; to be made in ``@workflow.init``.

    Attributes:
        kind: How the run began.
    """

    def __init__(self) -> None:
        """Read the sign in a replay, set it at a first execution."""
        self._loop = _workflow_loop()
        self._unlisted = False
        if not _sdk_is_known(self._loop):
            marked = workflow.patched(wire.PATCH_ID)
            self.kind = RunKind.MARKED if marked else RunKind.CONTRIB
            return
        replaying = workflow.unsafe.is_replaying()
        if not replaying:
            self._loop._current_completion.successful.used_internal_flags.append(FLAG)
        elif FLAG not in self._loop._current_internal_flags:
            marked = workflow.patched(wire.PATCH_ID)
            self.kind = RunKind.MARKED if marked else RunKind.CONTRIB
            return
        self.kind = RunKind.FLAGGED
        self._unlisted = True
        self._first_length = workflow.info().get_current_history_length()

    @property
    def native(self) -> bool:
        """Whether the run's history holds records."""
        return self.kind is not RunKind.CONTRIB

    def list_first(self, own: asyncio.Task[Any]) -> None:
        """Have the run listed by its first task, if that changes no order.

        Args:
            own: The stream's own task, the only one that may have been begun in the constructor.
        """
        if self.kind is RunKind.FLAGGED:
            # Run once the workflow's constructor has, and before everything else that is ready.
            self._loop.call_soon(self._list_by_first_task, own)
            self._loop._ready.rotate(1)

    def _list_by_first_task(self, own: asyncio.Task[Any]) -> None:
        self._mark(may=_moves_nothing(self._loop, own))

    def is_followed(self, number: int, *, large: bool) -> bool:
        """Return whether a small record follows this one.

        Live, a small record follows each large one. In a replay, one follows where it did then,
        which a flag in the task's completion tells: records are commands, and the size may have
        changed, since new code may publish other items as long as it publishes.

        Args:
            number: Which of the run's records it is.
            large: Whether it had better not stay in the memo.
        """
        if self.kind is not RunKind.FLAGGED:
            return False
        flag = _FOLLOWED + number
        if workflow.unsafe.is_replaying():
            return flag in self._loop._current_internal_flags
        if large:
            self._loop._current_completion.successful.used_internal_flags.append(flag)
        return large

    @property
    def continues_as_new(self) -> bool:
        """Whether the current task has given the command to continue as new already."""
        return self.kind is RunKind.FLAGGED and any(
            command.HasField("continue_as_new_workflow_execution")
            for command in self._loop._current_completion.successful.commands
        )

    def declared_handlers(self) -> list[asyncio.Task[object]]:
        """Return the asyncio tasks of handlers that the class declares, as far as the SDK tells.

        A handler that the constructor registers gets its signals after the stream has had its own.
        """
        tasks = getattr(self._loop, "_tasks", None)
        definition = getattr(self._loop, "_defn", None)
        declared = tuple(f"signal: {name} " for name in getattr(definition, "signals", ()))
        return [
            task
            for task in (asyncio.all_tasks() if tasks is None else tasks)
            if task.get_name().startswith(("update: ", *declared))
        ]

    @property
    def has_begun(self) -> bool:
        """Whether the workflow's own function has begun.

        Before that, whether the SDK looks at conditions depends on messages that a replay may lack.
        """
        return self.kind is RunKind.FLAGGED and self._loop._primary_task is not None

    def list_later(self) -> None:
        """Have the run listed by a later task, if it is not yet. Call it when a stream is used.

        A replay uses the stream at the same places of the code, in the same order.
        """
        if (
            self._unlisted
            and workflow.info().get_current_history_length() != self._first_length
            and not workflow.unsafe.is_read_only()
        ):
            self._mark(may=True)

    def _mark(self, *, may: bool) -> None:
        """Set the marker: in a replay if the history has it here, live if it ``may`` be set."""
        if workflow.unsafe.is_replaying():
            may = wire.PATCH_ID in self._loop._patches_notified
        if may:
            self._unlisted = False
            workflow.patched(wire.PATCH_ID)


def _workflow_loop() -> Any:
    """Return the SDK's instance of the workflow, which is its event loop."""
    return asyncio.get_running_loop()


def _sdk_is_known(loop: Any) -> bool:
    """Whether the SDK has the private names that are used here."""
    return all(hasattr(loop, name) for name in _PRIVATE_NAMES) and isinstance(loop._ready, deque)


def _moves_nothing(loop: Any, own: asyncio.Task[Any]) -> bool:
    """Whether everything would run in the same order if there were a marker in this first task.

    In a replay the object would be made before the signals and updates of the task are handed
    out. That changes the turn of signals whose handlers the constructor registers or replaces, of
    all signals if an interceptor may await, and of tasks and callbacks begun in the constructor.
    """
    declared: dict[str | None, Any] = loop._defn.signals
    registered = {name for name, handler in loop._signals.items() if declared.get(name) != handler}
    if not registered <= {wire.PUBLISH_SIGNAL} or len(loop._ready) != len(loop._tasks):
        return False
    expected = ["run ", f"signal: {wire.PUBLISH_SIGNAL} "]
    if type(loop._inbound).__name__ == "_WorkflowInboundImpl":
        expected += ["update: ", *(f"signal: {name} " for name in declared)]
    begun = [task.get_name() for task in loop._tasks if task is not own]
    return all(name.startswith(tuple(expected)) for name in begun)
