"""Follows a stream through the runs of its workflow and folds its records into moments."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import timezone
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import ContinueAsNewInitiator, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from .. import wire
from ..codec import converter_of, decoded, record_in
from ..errors import StreamCorruptedError
from ..events import End, Outcome, Rewind, RewindReason
from ..fold import Accepted, Fold
from ..intake import Intake
from ..wire import Opening, Rules, RunRef
from .history import durable_id, history_pages, is_close, until_answered
from .moments import Chunk, Moment
from .polling import poll_pages

_OUTCOMES: dict[str, Outcome] = {
    "workflow_execution_completed_event_attributes": "completed",
    "workflow_execution_failed_event_attributes": "failed",
    "workflow_execution_canceled_event_attributes": "canceled",
    "workflow_execution_terminated_event_attributes": "terminated",
    "workflow_execution_timed_out_event_attributes": "timed_out",
}
_CONTINUED = "workflow_execution_continued_as_new_event_attributes"


class Chain:
    """Reads one stream from the start of run ``run_id`` to its end.

    Attributes:
        fold: State after the last moment; None before the run's opening record.
        run_id: The run being read.
        event_id: Event of the last moment.
        seen_id: Last event read.
        rules: What the stream asks of its writers, from the last opening record.
        runs: Earlier runs, from the last opening record.
        polled: Whether the current run is hosted by a contrib and has to be polled.
    """

    def __init__(self, client: Client, workflow_id: str, run_id: str, *, offset: int = 0) -> None:
        """Prepare to read; ``offset`` is where to begin on a stream that has to be polled."""
        self._client = client
        self._workflow_id = workflow_id
        self._offset = offset
        self._converter = converter_of(client, workflow_id)
        self.run_id = run_id
        self.event_id = 0
        self.seen_id = 0
        self.fold: Fold | None = None
        self.rules: Rules | None = None
        self._intake = Intake(Fold())
        self.runs: list[RunRef] = []
        self.first_offset = 0
        self.polled = False
        self._next_run: str | None = None
        self._carried: tuple[int, int] | None = None
        self._restart: RewindReason | None = None
        self._fork: int | None = None
        self._early: list[HistoryEvent] = []

    async def pages(self) -> AsyncGenerator[list[Moment]]:
        """Yield moments in order, a page at a time; the last holds the ``End``.

        Raises:
            StreamCorruptedError: A run does not go on where the run before it ended.
            WorkflowStreamError: The history cannot be read.
        """
        while True:
            async for moments in self._run_pages():
                yield moments
            if self._next_run is None:
                return
            self._enter_next_run()

    async def _run_pages(self) -> AsyncGenerator[list[Moment]]:
        served = False
        close: HistoryEvent | None = None
        async for events in history_pages(self._client, self._workflow_id, self.run_id):
            moments: list[Moment] = []
            for event in events:
                moments += await self._read(event)
                served |= event.HasField("workflow_task_completed_event_attributes")
            if moments:
                self.event_id = moments[-1].event_id
            self.seen_id = durable_id(events) or self.seen_id
            if is_close(events[-1]):
                close = events[-1]
            # No opening record with the first task: a contrib's stream.
            self.polled = self.fold is None and served
            if close is not None and not self.polled and not self._closed:
                if self.fold is None:
                    moments += await self._open_unserved(close)
                moments += await self._close(close)
            yield moments
            if self.polled:
                break
            if self._closed:
                return
        if self.polled:
            async for moments in self._poll(close):
                yield moments

    async def _poll(self, close: HistoryEvent | None) -> AsyncGenerator[list[Moment]]:
        if self._restart is not None and self._carried is not None:
            rewind = self._rewound(0)
            self._offset = 0
            yield [Moment(self.run_id, 0, 0, 0, rewind=rewind, opened=True)]
        else:
            yield [Moment(self.run_id, self._offset, self._offset, 0, opened=True)]
        async for page in poll_pages(
            self._client, self._workflow_id, self.run_id, offset=self._offset
        ):
            self._offset, self.event_id = page.head, page.event_id
            yield [page]
        while close is None:
            async for events in history_pages(self._client, self._workflow_id, self.run_id):
                close = events[-1]
        self.fold = Fold(self._offset)
        yield await self._close(close)

    async def _open_unserved(self, close: HistoryEvent) -> list[Moment]:
        """Open a run that ended before any worker took its first task."""
        head, base = self._carried or (0, 0)
        return await self._open(close, Opening(head, base, {}, self.runs))

    def _enter_next_run(self) -> None:
        assert self._next_run is not None
        self.run_id, self._next_run = self._next_run, None
        self.event_id = self.seen_id = 0
        if self.fold is not None:
            self._carried = (self.fold.head, self.fold.base)
        if self.polled and self._restart is None:
            self._carried = None  # the next run records what this one held
        self.polled = False
        self.fold = None
        self._fork = None

    async def _read(self, event: HistoryEvent) -> list[Moment]:
        kind = event.WhichOneof("attributes")
        if kind == "workflow_execution_signaled_event_attributes":
            if (
                event.workflow_execution_signaled_event_attributes.signal_name
                != wire.PUBLISH_SIGNAL
            ):
                return []
            if self.fold is None:
                self._early.append(event)
                return []
            return await self._batch(event)
        if kind == "workflow_properties_modified_event_attributes":
            fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
            return (
                await self._record(event, fields[wire.MEMO_KEY]) if wire.MEMO_KEY in fields else []
            )
        if kind == "workflow_execution_started_event_attributes":
            self._started(event)
        elif kind == "workflow_task_failed_event_attributes":
            failed = event.workflow_task_failed_event_attributes
            cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
            if failed.cause == cause and failed.new_run_id == self.run_id:
                return self._forked(event)
        return []

    def _started(self, event: HistoryEvent) -> None:
        initiator = event.workflow_execution_started_event_attributes.initiator
        if self._restart == "reset":
            return
        if initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY:
            self._restart = "retry"
        elif initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE:
            self._restart = "cron"

    def _moment(self, event: HistoryEvent, **what: Any) -> Moment:
        assert self.fold is not None
        return Moment(self.run_id, event.event_id, self.fold.head, self.fold.base, **what)

    async def _batch(self, event: HistoryEvent) -> list[Moment]:
        payloads = event.workflow_execution_signaled_event_attributes.input.payloads
        payload = None
        if len(payloads) == 1:
            payload = await decoded(self._converter, payloads[0], self._workflow_id)
        judged = self._intake.take(payload)
        if judged is None:
            return []
        verdict = judged.verdict
        end = None
        if isinstance(verdict, Accepted) and self._closed:
            # A writer has closed the stream; its workflow ends when it comes to it.
            end = End("completed", verdict.offset + verdict.count, self.run_id)
        if not isinstance(verdict, Accepted) or self._skipping():
            return [self._moment(event, judged=judged, end=end)]
        rewind = None
        if verdict.superseded is not None:
            s = verdict.superseded
            rewind = Rewind(s.ranges, "attempt", verdict.offset, s.activity_id, s.attempt)
        time = event.event_time.ToDatetime(timezone.utc)
        chunk = Chunk(verdict.offset, judged.entries, judged.size, time)
        return [self._moment(event, rewind=rewind, chunk=chunk, judged=judged, end=end)]

    @property
    def _closed(self) -> bool:
        return self.fold is not None and self.fold.closed

    def _skipping(self) -> bool:
        """Whether this part of a reset run was read before, in the run that it was reset from."""
        return self._restart == "reset" and self._carried is not None

    async def _record(self, event: HistoryEvent, payload: Payload) -> list[Moment]:
        record = await record_in(self._converter, payload, self._workflow_id)
        if record.opening is not None:
            return await self._open(event, record.opening)
        if self.fold is None:
            return []
        chunk = None
        if record.entries:
            accepted = self.fold.own(len(record.entries))
            if not self._skipping():
                time = event.event_time.ToDatetime(timezone.utc)
                chunk = Chunk(accepted.offset, record.entries, len(payload.data), time)
        self.fold.truncate(record.base)
        return [self._moment(event, chunk=chunk)]

    async def _open(self, event: HistoryEvent, opening: Opening) -> list[Moment]:
        self.fold = fold = Fold(
            opening.head,
            opening.base,
            opening.publishers,
            opening.keep_last,
            closable=opening.rules is not None and opening.rules.closable,
            order=opening.order,
        )
        self._intake, self.rules = Intake(fold), opening.rules
        self.runs, self.first_offset = opening.runs, opening.head
        rewind = None
        if (self._restart == "reset" and self._fork is not None) or self._restart in (
            "retry",
            "cron",
        ):
            rewind = self._rewound(fold.head)
        elif self._carried is not None and self._restart is None:
            if self._carried != (fold.head, fold.base):
                head, base = self._carried
                raise StreamCorruptedError(
                    self._workflow_id,
                    f"run {self.run_id} opens at head {fold.head}, base {fold.base}, but the "
                    f"run before it ended at head {head}, base {base}. Was its state passed on "
                    "as prior_state?",
                )
            self._carried = None
        moments = [self._moment(event, rewind=rewind, opened=True)]
        early, self._early = self._early, []
        for signal in early:
            moments += await self._batch(signal)
        # Early signals count at the place of the opening record, where they take effect.
        return [replace(moment, event_id=event.event_id) for moment in moments]

    def _forked(self, event: HistoryEvent) -> list[Moment]:
        self._fork = event.event_id
        if self.fold is None or not self._skipping():
            return []
        return [self._moment(event, rewind=self._rewound(self.fold.head))]

    def _rewound(self, head: int) -> Rewind | None:
        """Return what the run's restart at ``head`` takes back; the run is live from here."""
        reason, carried = self._restart, self._carried
        self._restart = self._carried = None
        if reason is None or carried is None:
            return None
        ranges = (range(head, carried[0]),) if carried[0] > head else ()
        return Rewind(ranges, reason, head)

    async def _close(self, event: HistoryEvent) -> list[Moment]:
        kind = event.WhichOneof("attributes") or ""
        attributes: Any = getattr(event, kind)
        self._restart = None
        if kind == _CONTINUED:
            self._next_run = attributes.new_execution_run_id
            initiator = attributes.initiator
            if initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_CRON_SCHEDULE:
                self._restart = "cron"
            elif initiator == ContinueAsNewInitiator.CONTINUE_AS_NEW_INITIATOR_RETRY:
                self._restart = "retry"
            return []
        next_run = getattr(attributes, "new_execution_run_id", "")
        if not next_run and kind == "workflow_execution_terminated_event_attributes":
            next_run = await self._reset_run()
            if next_run:
                self._restart = "reset"
        if next_run:
            self._next_run = next_run
            return []
        failure = None
        if kind == "workflow_execution_failed_event_attributes":
            failure = await self._converter.decode_failure(attributes.failure)
        assert self.fold is not None
        end = End(_OUTCOMES[kind], self.fold.head, self.run_id, failure)
        return [self._moment(event, end=end)]

    async def _reset_run(self) -> str | None:
        """Return the run that this one was reset to, if that is why it was terminated."""
        client, workflow_id = self._client, self._workflow_id
        here = await until_answered(
            client.get_workflow_handle(workflow_id, run_id=self.run_id).describe, workflow_id
        )
        current = await until_answered(
            client.get_workflow_handle(workflow_id).describe, workflow_id
        )
        first = here.raw_description.workflow_execution_info.first_run_id
        same = current.raw_description.workflow_execution_info.first_run_id == first
        return current.run_id if same and current.run_id != self.run_id else None
