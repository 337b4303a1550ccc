"""The runs of a stream's workflow: which one to begin with, which one comes next."""

from __future__ import annotations

from contextlib import aclosing

from temporalio.api.enums.v1 import ContinueAsNewInitiator
from temporalio.client import Client, WorkflowExecutionDescription

from ...errors import StreamCorruptedError, StreamNotFoundError
from ...events import RewindReason
from ...log import wire
from ...log.fold import Fold
from ..history.pages import history_pages, until_answered

_INITIATORS: dict[ContinueAsNewInitiator.ValueType, RewindReason] = {
    ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY: "retry",
    ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE: "cron",
}


def restart_of(initiator: ContinueAsNewInitiator.ValueType) -> RewindReason | None:
    """Return why the server started a run anew; None if the workflow continued as new."""
    return _INITIATORS.get(initiator)


async def describe(
    client: Client, workflow_id: str, run_id: str | None
) -> WorkflowExecutionDescription:
    """Describe a run, or the current one; wait while the server does not answer."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    return await until_answered(handle.describe, client, workflow_id)


async def exists(client: Client, workflow_id: str, run_id: str) -> bool:
    """Whether a run is still there; the namespace's retention deletes closed ones."""
    try:
        await describe(client, workflow_id, run_id)
    except StreamNotFoundError:
        return False
    return True


async def opened_run(client: Client, workflow_id: str, run_id: str) -> str | None:
    """Return the last run up to ``run_id`` that has opened a stream in its history.

    None if there is none left, or if it is a contrib's, whose runs carry their log along.
    """
    candidate = run_id
    while candidate:
        before = ""
        try:
            pages = history_pages(client, workflow_id, candidate)
            async with aclosing(pages):
                async for events in pages:
                    for event in events:
                        if event.HasField("workflow_execution_started_event_attributes"):
                            started = event.workflow_execution_started_event_attributes
                            before = started.continued_execution_run_id
                        elif event.HasField("workflow_properties_modified_event_attributes"):
                            modified = event.workflow_properties_modified_event_attributes
                            if wire.MEMO_KEY in modified.upserted_memo.fields:
                                return candidate
                    if any(e.HasField("workflow_task_completed_event_attributes") for e in events):
                        return None
        except StreamNotFoundError:
            return None
        candidate = before
    return None


def check_continued(workflow_id: str, run_id: str, before: Fold, fold: Fold) -> None:
    """Check that a run opens where the run before it ended.

    Raises:
        StreamCorruptedError: It does not.
    """
    if (before.head, before.base) != (fold.head, fold.base):
        raise StreamCorruptedError(
            workflow_id,
            f"run {run_id} opens at head {fold.head}, base {fold.base}, but the run "
            f"before it ended at head {before.head}, base {before.base}. Was its state "
            "passed on as prior_state?",
        )
