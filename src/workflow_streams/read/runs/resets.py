"""An operator's reset: which run has taken the place of those read before, and from where on.

A reset copies the events of a run, its base, up to a chosen one, and begins a new run with them:
its next event, the fork, names that run. The base need not be the run that was current. So the
runs of a workflow are a tree, and what counts is the way from the current run back to the root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import pairwise

from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from ...errors import StreamNotFoundError
from ...events import RewindReason
from ...log.wire import RunRef
from ...temporal.handles import first_run_of
from ..history.pages import history_pages, until_answered
from .lookup import describe, restart_of

_RESET = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW

Fork = tuple[int, str]
"""Event id, and the run that begins to differ from its base there."""


class Origin:
    """Where a run comes from, as far as its events have been read.

    Attributes:
        run_id: The run.
        first: First run of its chain.
        family: The run that wrote its first event. A run, its resets and theirs have the same.
        before: The run that it came after; empty if it is the first.
        restart: Why the server started it anew in place of the run before, if it did.
        forks: All forks in its history: its own, if it is a reset run, and those of its bases.
    """

    def __init__(self, run_id: str) -> None:
        """Begin before the run's first event."""
        self.run_id = self.family = run_id
        self.first = self.before = ""
        self.restart: RewindReason | None = None
        self.forks: set[Fork] = set()

    def read(self, event: HistoryEvent) -> None:
        """Take in the run's next event."""
        if event.HasField("workflow_execution_started_event_attributes"):
            started = event.workflow_execution_started_event_attributes
            self.first = started.first_execution_run_id
            self.family = started.original_execution_run_id or self.run_id
            self.before = started.continued_execution_run_id
            self.restart = restart_of(started.initiator)
        elif (fork := _fork_at(event)) is not None:
            self.forks.add(fork)


@dataclass(frozen=True, slots=True)
class Reset:
    """Where a stream goes on when the runs read last do not count any more.

    Attributes:
        run_id: Run to read next.
        path: Which run comes after which, from there to the current one.
        kept: Runs read before that still count, in order.
        replaced: First of those read that does not; None if it is not known which do.
        forks: Its forks, if the next run is of the same family; None if nothing is in common.
    """

    run_id: str
    path: Mapping[str, str]
    kept: list[RunRef]
    replaced: RunRef | None
    forks: frozenset[Fork] | None

    def parts(self, event: HistoryEvent) -> bool:
        """Whether the next run differs from ``replaced`` at this event, if not before it.

        Two runs of a family have the same events up to the first fork that only one of them has.
        """
        if self.forks is None:
            return True
        if (fork := _fork_at(event)) is not None:
            return fork not in self.forks
        return any(event.event_id == event_id for event_id, _ in self.forks)


async def reset_of(
    client: Client, workflow_id: str, left: Origin, line: Sequence[RunRef]
) -> Reset | None:
    """Return where to go on after a run that has ended; None if it is the last one.

    Args:
        client: Temporal client.
        workflow_id: Workflow of the run.
        left: The run, read to its end.
        line: The runs whose items have been read and still stood, ``left`` the last; empty if
            that is not known.

    Raises:
        StreamNotFoundError: The workflow has been deleted.
    """
    newest = await _newest_run(client, workflow_id, left)
    if newest is None:
        return None
    known = {run.run_id: index for index, run in enumerate(line)}
    # From the newest run back to one that was read before.
    newer: list[Origin] = []
    run_id, restarted = newest, False
    while run_id and run_id not in known:
        origin = await _origin_of(client, workflow_id, run_id)
        if origin is None:
            break
        # A run that was started anew stands in the place of the one before it.
        if not restarted:
            newer.append(origin)
        run_id, restarted = origin.before, origin.restart is not None
    if not newer:
        return None
    newer.reverse()
    path = {run.run_id: after.run_id for run, after in pairwise(newer)}
    unknown = Reset(newer[0].run_id, path, [], None, None)
    count = known[run_id] + (not restarted) if run_id in known else 0
    if (run_id and run_id not in known) or count >= len(line):
        return unknown
    kept, replaced = list(line[:count]), line[count]
    origin = left
    if replaced.run_id != left.run_id:
        origin = await _origin_of(client, workflow_id, replaced.run_id, whole=True)
    if origin is not None and origin.family == newer[0].family:
        return Reset(newer[0].run_id, path, kept, replaced, frozenset(origin.forks))
    # Without a run before them that is known, the two may have begun at different offsets.
    return Reset(newer[0].run_id, path, kept, replaced, None) if kept else unknown


async def _newest_run(client: Client, workflow_id: str, left: Origin) -> str | None:
    """Return the last run of the chain that has a run which has ended; None if it is that."""
    described = await describe(client, workflow_id, None)
    if described.run_id == left.run_id:
        return None
    if first_run_of(described) == left.first:
        return described.run_id
    # The workflow id is another chain's by now. On a run, the server notes its last reset.
    described = await describe(client, workflow_id, left.run_id)
    return described.raw_description.workflow_extended_info.reset_run_id or None


async def _origin_of(
    client: Client, workflow_id: str, run_id: str, *, whole: bool = False
) -> Origin | None:
    """Read where a run comes from; with ``whole``, read all of a run that has closed.

    None if the namespace's retention has deleted it.
    """
    origin = Origin(run_id)
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)

    async def first_event() -> HistoryEvent:
        return await anext(handle.fetch_history_events(page_size=1))

    try:
        if not whole:
            origin.read(await until_answered(first_event, client, workflow_id))
            return origin
        async with aclosing(history_pages(client, workflow_id, run_id)) as pages:
            async for events in pages:
                for event in events:
                    origin.read(event)
    except StreamNotFoundError:
        return None
    return origin


def _fork_at(event: HistoryEvent) -> Fork | None:
    if event.HasField("workflow_task_failed_event_attributes"):
        failed = event.workflow_task_failed_event_attributes
        if failed.cause == _RESET:
            return event.event_id, failed.new_run_id
    return None
