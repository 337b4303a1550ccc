"""What a run's close event says: the end of the stream, or the run that comes next."""

from __future__ import annotations

from typing import Any

from temporalio.api.enums.v1 import ContinueAsNewInitiator
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from ..events import End, Outcome, RewindReason
from .runs import reset_run

_OUTCOMES: dict[str, Outcome] = {
    "workflow_execution_completed_event_attributes": "completed",
    "workflow_execution_failed_event_attributes": "failed",
    "workflow_execution_canceled_event_attributes": "canceled",
    "workflow_execution_terminated_event_attributes": "terminated",
    "workflow_execution_timed_out_event_attributes": "timed_out",
}
_CONTINUED = "workflow_execution_continued_as_new_event_attributes"
_TERMINATED = "workflow_execution_terminated_event_attributes"
_INITIATORS: dict[ContinueAsNewInitiator.ValueType, RewindReason] = {
    ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY: "retry",
    ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE: "cron",
}


def restart_of(initiator: ContinueAsNewInitiator.ValueType) -> RewindReason | None:
    """Return why the server started a run anew; None if the workflow continued as new."""
    return _INITIATORS.get(initiator)


async def next_run_of(
    client: Client, workflow_id: str, run_id: str, close: HistoryEvent
) -> tuple[str, RewindReason | None] | None:
    """Return the run after one that has closed, and why it was started anew, if it was.

    A run begun by retry or cron tells so itself, in its first event. None at the end.
    """
    kind, attributes = _attributes(close)
    next_run: str = getattr(attributes, "new_execution_run_id", "")
    if next_run:
        return next_run, restart_of(attributes.initiator) if kind == _CONTINUED else None
    if kind == _TERMINATED and (reset_to := await reset_run(client, workflow_id, run_id)):
        return reset_to, "reset"
    return None


async def end_of(close: HistoryEvent, offset: int, run_id: str, converter: DataConverter) -> End:
    """Return the end that a close event stands for, with the stream's head at ``offset``."""
    kind, attributes = _attributes(close)
    failure = None
    if kind == "workflow_execution_failed_event_attributes":
        failure = await _decoded(attributes.failure, converter)
    return End(_OUTCOMES[kind], offset, run_id, failure)


async def _decoded(failure: Failure, converter: DataConverter) -> BaseException:
    try:
        return await converter.decode_failure(failure)
    except Exception as err:
        # The end is certain, even if the payload codec fails on its details.
        undecoded = ApplicationError(failure.message, type=failure.application_failure_info.type)
        undecoded.__cause__ = err
        return undecoded


def _attributes(close: HistoryEvent) -> tuple[str, Any]:
    kind = close.WhichOneof("attributes") or ""
    return kind, getattr(close, kind)
