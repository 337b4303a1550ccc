"""Deletes the runs of a hosted stream, as work that is carried out to its end.

The server keeps the work as a small workflow, and the workers of hosted streams do it. So it goes
on when the process that began it, or one that works at it, is killed.
"""

# No `from __future__ import annotations`: payload converters look the types up by the module's
# name, which the sandbox does not know when the package was passed through.
import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError, RPCStatusCode

from ..errors import (
    StreamClosedError,
    StreamGoneError,
    StreamNotFoundError,
    WorkflowStreamError,
)
from ..log.wire import DELETED_MEMO_KEY
from ..temporal.codec import memo_value
from ..temporal.handles import first_run_of
from ..temporal.link import ClientLink
from ..temporal.rpc import translate
from .forking.forgetting import forget_gone_forks
from .forks import deleted_for_forks
from .host import FORKS_MEMO_KEY
from .streams import Hosting, found, setup_of

logger = logging.getLogger("workflow_streams.hosted")

DELETION_WORKFLOW = "WorkflowStreamDeletion"

_END_ACTIVITY = "workflow-streams-end-runs"
_DELETE_ACTIVITY = "workflow-streams-delete-runs"

# A worker that is killed is noticed after this time. There is a heartbeat before each call to the
# server.
_HEARTBEAT = timedelta(seconds=10)
_CALL_SECONDS = 5.0
_LONGEST_TRY = timedelta(hours=1)
_RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=10)
)
# How often it is checked whether the last fork of a stream is gone.
_LOOK_AGAIN = timedelta(minutes=5)
# And after a look that found forks to be gone, since the stream may end now.
_LOOK_SOON = timedelta(seconds=0.5)
# At so many forks of a stream, each time; one after the other.
_MOST_FORKS = 1000


@dataclass(frozen=True)
class Doomed:
    """A stream that is to be deleted.

    Its runs are those that continued one another. Any other run of the same workflow id belongs to
    another stream, whenever it began.

    Attributes:
        workflow_id: Its workflow.
        run_id: One of its runs.
    """

    workflow_id: str
    run_id: str


@workflow.defn(name=DELETION_WORKFLOW, sandboxed=False)
class WorkflowStreamDeletion:
    """Deletes all runs of one stream."""

    @workflow.run
    async def run(self, doomed: Doomed) -> None:
        """Have the last run end, so that none comes after it; then delete them."""
        for kind in (_END_ACTIVITY, _DELETE_ACTIVITY):
            # The last run is deleted last, since the others are found by it.
            doomed = await workflow.execute_activity(
                kind,
                doomed,
                result_type=Doomed,
                start_to_close_timeout=_LONGEST_TRY,
                heartbeat_timeout=_HEARTBEAT,
                retry_policy=_RETRIES,
            )


@activity.defn(name=_END_ACTIVITY)
async def end_runs(doomed: Doomed) -> Doomed:
    """Return the stream with its last run, which has ended.

    Raises:
        ApplicationError: It has not, and is to be waited for.
    """
    run_id = doomed.run_id
    link = ClientLink(activity.client(), _CALL_SECONDS)
    while True:
        activity.heartbeat()
        handle = _run(doomed, run_id)
        try:
            described = await handle.describe()
            status = described.status
            if status == WorkflowExecutionStatus.CONTINUED_AS_NEW:
                closed = await _event(handle, WorkflowHistoryEventFilterType.CLOSE_EVENT)
                attributes = closed.workflow_execution_continued_as_new_event_attributes
                run_id = attributes.new_execution_run_id
            elif status != WorkflowExecutionStatus.RUNNING:
                await _tell_source(described)
                break
            elif not await _is_kept(link, described):
                await handle.terminate(reason="the stream is gone")
            else:
                forgotten = await forget_gone_forks(
                    link, doomed.workflow_id, most=_MOST_FORKS, on_look=activity.heartbeat
                )
                raise ApplicationError(
                    "The stream has forks",
                    next_retry_delay=_LOOK_SOON if forgotten else _LOOK_AGAIN,
                    category=ApplicationErrorCategory.BENIGN,
                )
        except RPCError as err:
            match translate(err, doomed.workflow_id):
                case StreamClosedError():
                    continue  # it ended between two calls, and may have continued as new
                case StreamNotFoundError():
                    break  # the namespace's retention has deleted it
                case _:
                    raise
    return replace(doomed, run_id=run_id)


async def _is_kept(link: ClientLink, described: WorkflowExecutionDescription) -> bool:
    """Whether a stream that runs stays for its forks, so that it can only be marked as deleted."""
    if await memo_value(described, DELETED_MEMO_KEY, bool):
        return True
    if not await memo_value(described, FORKS_MEMO_KEY, int):
        return False
    try:
        async with found(Hosting(link), described.id) as stream:
            same = stream.first_run_id == first_run_of(described)
            return same and await deleted_for_forks(stream)
    except StreamGoneError as err:
        return err.has_forks


async def _tell_source(fork: WorkflowExecutionDescription) -> None:
    """Have the stream that a fork was made of forget it, now that the fork has ended."""
    link = ClientLink(activity.client(), _CALL_SECONDS)
    try:
        setup = await setup_of(fork)
        if setup is not None and setup.forked_from is not None:
            activity.heartbeat()
            await forget_gone_forks(link, setup.forked_from, fork.id)
    except WorkflowStreamError as err:
        # The fork is to go all the same; its source finds out when its forks are looked up.
        logger.info("The source of the deleted fork %r could not be told: %s", fork.id, err)


@activity.defn(name=_DELETE_ACTIVITY)
async def delete_runs(doomed: Doomed) -> Doomed:
    """Delete the last run and all before it; return the stream, which is no more."""
    runs: list[str] = []
    run_id = doomed.run_id
    with _suppress_not_found():
        while run_id:
            activity.heartbeat()
            event = await _event(_run(doomed, run_id), WorkflowHistoryEventFilterType.ALL_EVENT)
            runs.append(run_id)
            run_id = event.workflow_execution_started_event_attributes.continued_execution_run_id
    # The last one goes last, since the others are found by it.
    for run_id in reversed(runs):
        activity.heartbeat()
        with _suppress_not_found():
            await delete_run(activity.client(), doomed.workflow_id, run_id)
    return doomed


@contextmanager
def _suppress_not_found() -> Iterator[None]:
    """Ignore that something is not there any more: it has been deleted."""
    try:
        yield
    except RPCError as err:
        if err.status != RPCStatusCode.NOT_FOUND:
            raise


async def delete_run(client: Client, workflow_id: str, run_id: str) -> None:
    """Have the server delete a run; it does so some time later, half a minute as a rule.

    Raises:
        RPCError: It is not there, or the client may not.
    """
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    request = DeleteWorkflowExecutionRequest(
        namespace=client.namespace, workflow_execution=execution
    )
    await client.workflow_service.delete_workflow_execution(request, retry=True)


async def start_deletion(client: Client, doomed: Doomed, *, task_queue: str) -> None:
    """Have a stream's runs deleted, whatever becomes of this process.

    Args:
        client: Temporal client.
        doomed: The stream.
        task_queue: Task queue of hosted streams; a worker of theirs does it.

    Raises:
        RPCError: It was not begun.
    """
    # An id that nobody can have taken before.
    await client.start_workflow(
        DELETION_WORKFLOW,
        doomed,
        id=f"workflow-streams-deletion-{uuid.uuid4()}",
        task_queue=task_queue,
    )


def _run(doomed: Doomed, run_id: str) -> WorkflowHandle[object, object]:
    return activity.client().get_workflow_handle(doomed.workflow_id, run_id=run_id)


async def _event(
    handle: WorkflowHandle[object, object], kind: WorkflowHistoryEventFilterType
) -> HistoryEvent:
    """Return a run's first event, or its close event."""
    events = handle.fetch_history_events(page_size=1, event_filter_type=kind)
    return await anext(events)
