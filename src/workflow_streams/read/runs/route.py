"""The way from run to run: what a close event says, the end of the stream or the next run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from ...errors import StreamNotFoundError
from ...events import End, Outcome, RewindReason
from ...log.wire import RunRef
from .lookup import restart_of
from .resets import Origin, Reset, reset_of

_OUTCOMES: dict[str, Outcome] = {
    "workflow_execution_completed_event_attributes": "completed",
    "workflow_execution_failed_event_attributes": "failed",
    "workflow_execution_canceled_event_attributes": "canceled",
    "workflow_execution_terminated_event_attributes": "terminated",
    "workflow_execution_timed_out_event_attributes": "timed_out",
}
_CONTINUED = "workflow_execution_continued_as_new_event_attributes"
_TERMINATED = "workflow_execution_terminated_event_attributes"


@dataclass(frozen=True, slots=True)
class Next:
    """The run to read after one that has closed.

    Attributes:
        run_id: The run; None at the end.
        restart: Why the server started it anew, if it did. A run begun by retry or cron may tell
            so itself only, in its first event.
        reset: With "reset", what that has left of what was read.
        by_path: Whether all runs in between are passed over, and what they took back with them.
    """

    run_id: str | None
    restart: RewindReason | None = None
    reset: Reset | None = None
    by_path: bool = False


class Route:
    """The way from run to run."""

    def __init__(self, client: Client, workflow_id: str, path: Mapping[str, str]) -> None:
        """Prepare; ``path`` says for some runs which one to go on with."""
        self._client = client
        self._workflow_id = workflow_id
        self._path = dict(path)

    def lead(self, run_id: str, after: str) -> None:
        """Have ``after`` come after a run, whatever that continued as."""
        self._path[run_id] = after

    async def after(self, left: Origin, line: Sequence[RunRef], close: HistoryEvent) -> Next:
        """Return what comes after a run that has closed.

        Args:
            left: The run.
            line: Runs whose items have been read and still stand; see :func:`.resets.reset_of`.
            close: Its close event.

        Raises:
            StreamNotFoundError: The workflow was deleted while it ran.
        """
        if left.run_id in self._path:
            return Next(self._path[left.run_id], by_path=True)
        kind, attributes = _attributes(close)
        next_run: str = getattr(attributes, "new_execution_run_id", "")
        if next_run:
            restart = restart_of(attributes.initiator) if kind == _CONTINUED else None
            return Next(next_run, restart)
        try:
            reset = await reset_of(self._client, self._workflow_id, left, line)
        except StreamNotFoundError:
            if kind == _TERMINATED:
                raise  # it was deleted while it ran
            return Next(None)
        if reset is None:
            return Next(None)
        self._path.update(reset.path)
        return Next(reset.run_id, "reset", reset)


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
