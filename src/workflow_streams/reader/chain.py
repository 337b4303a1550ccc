"""Follows a stream through the runs of its workflow and folds its records into moments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from datetime import timezone
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from .. import wire
from ..codec import converter_of, decoded, record_in
from ..errors import StreamCorruptedError
from ..events import End, Last, Rewind, RewindReason
from ..fold import Accepted, Fold
from ..intake import Intake
from ..wire import Entry, Opening, Rules, RunRef
from .closing import end_of, next_run_of, restart_of
from .history import close_event, history_pages, is_close, newest_event_id, settled_id
from .moments import BEFORE_ALL, Chunk, Moment, Place
from .polling import Poller, first_of, head_of
from .runs import check_continued, opened_run

_RESET = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW


class Chain:
    """Reads one stream from the start of run ``run_id`` to its end.

    Attributes:
        fold: State after the last moment; None before the run's opening record.
        run_id: The run being read.
        place: Where in the run the last moment stands.
        seen_id: Last event read that is settled.
        rules: What the stream asks of its writers, from the last opening record.
        runs: Earlier runs, from the last opening record.
        opened: The run of that record; not yet the current one where the next has been entered.
        polled: Whether the current run is hosted by a contrib and has to be polled.
    """

    def __init__(
        self,
        client: Client,
        workflow_id: str,
        run_id: str,
        *,
        offset: int | Last = 0,
        or_before: bool = False,
        path: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare to read.

        Args:
            client: Temporal client.
            workflow_id: Workflow that hosts the stream.
            run_id: Run to begin with.
            offset: Where to begin on a stream that has to be polled.
            or_before: Whether to begin with the run before if this one has not opened yet.
            path: For some runs, which one to go on with: past those that were started anew.
        """
        self._client = client
        self._workflow_id = workflow_id
        self._offset = offset
        self._converter = converter_of(client, workflow_id)
        self.run_id = run_id
        self.place: Place = BEFORE_ALL
        self.seen_id = 0
        self.fold: Fold | None = None
        self.rules: Rules | None = None
        self.runs: list[RunRef] = []
        self.opened: RunRef | None = None
        self.polled = False
        self._intake = Intake(Fold())
        self._early: list[HistoryEvent] = []
        self._opened_at = 0
        self._out: list[Moment] = []
        self._next_run: str | None = None
        self._may_go_back = or_before
        self._path = path or {}
        self._by_path = False
        self._continued_from = ""
        # How the run before ended, until this one has opened, and whether that was polled.
        self._carried: Fold | None = None
        self._carried_polled = False
        # Why the server started this run anew, until it has gone past what that takes back.
        self._restart: RewindReason | None = None
        self._forked = False

    @property
    def first_offset(self) -> int:
        """First offset of the last run that has opened."""
        return 0 if self.opened is None else self.opened.first_offset

    @property
    def holds_early(self) -> bool:
        """Whether batches wait for the run to open, and have no offsets before."""
        return bool(self._early)

    async def pages(self) -> AsyncGenerator[list[Moment]]:
        """Yield moments in order, a page at a time; the last holds the ``End``.

        Raises:
            StreamCorruptedError: A run does not go on where the run before it ended.
            CodecError: The payload codec fails, or is missing here.
            WorkflowStreamError: The history cannot be read.
        """
        while True:
            async with aclosing(self._run_pages()) as pages:
                async for moments in pages:
                    yield moments
            if self._next_run is None:
                return
            self._enter_next_run()

    async def _run_pages(self) -> AsyncGenerator[list[Moment]]:
        close: HistoryEvent | None = None
        pages = history_pages(self._client, self._workflow_id, self.run_id)
        async with aclosing(pages):
            async for events in pages:
                self._out = []
                unreadable = await self._read_all(events)
                if unreadable is None:
                    close = events[-1] if is_close(events[-1]) else None
                    if self.fold is None and await self._is_elsewhere(events):
                        if self.polled:
                            yield []
                        break
                    if close is not None and not self._closed:
                        unreadable = await self._close(close)
                self.seen_id = settled_id(events) or self.seen_id
                if self._out:
                    self.place = self._out[-1].place
                yield self._out
                if unreadable is not None:
                    raise unreadable
                if self._closed:
                    return
        if self.polled:
            async with aclosing(self._poll(close)) as polled:
                async for moments in polled:
                    yield moments

    async def _read_all(self, events: Sequence[HistoryEvent]) -> StreamCorruptedError | None:
        """Put out what events bring, up to one that cannot be read; return why that cannot."""
        for event in events:
            try:
                await self._read(event)
            except StreamCorruptedError as err:
                fold = self.fold or self._carried
                head = 0 if fold is None else fold.head
                err.add_note(f"Reading stopped at offset {head}, event {event.event_id}.")
                return err
        return None

    async def _is_elsewhere(self, events: Sequence[HistoryEvent]) -> bool:
        """Whether the stream of a run without opening record is to be read in another way.

        With a first task that has left no such record, it is a contrib's. If no task has been
        done yet, reading begins with the run before.
        """
        if any(e.HasField("workflow_task_completed_event_attributes") for e in events):
            self.polled, self._early = True, []
            return True
        if not self._may_go_back:
            return False
        newest = await newest_event_id(self._client, self._workflow_id, self.run_id)
        if newest > settled_id(events):
            return False
        self._may_go_back = False
        self._next_run = await opened_run(self._client, self._workflow_id, self._continued_from)
        self._restart = None if self._next_run is not None else self._restart
        return self._next_run is not None

    async def _poll(self, close: HistoryEvent | None) -> AsyncGenerator[list[Moment]]:
        """Read a run that a contrib hosts; only the last one needs to be read to its end.

        Continued as new, the run takes along what it holds; started anew, it takes it back.
        """
        if close is not None:
            restart = self._restart
            await self._follow(close)
            if self._next_run is not None:
                return
            self._restart = restart
        handle = self._client.get_workflow_handle(self._workflow_id, run_id=self.run_id)
        opening, poller = self._polled_from(await head_of(handle))
        yield [opening]
        if close is None:
            async with aclosing(poller.pages()) as pages:
                async for moment in pages:
                    self.place = moment.place
                    yield [moment]
            close = await close_event(self._client, self._workflow_id, self.run_id)
            await self._follow(close)
        if self._next_run is None:
            async with aclosing(poller.remaining()) as pages:
                async for moment in pages:
                    self.place = moment.place
                    yield [moment]
        self.fold = Fold(poller.offset)
        if self._next_run is None:
            self._out = []
            await self._end(close)
            yield self._out

    def _polled_from(self, head: int) -> tuple[Moment, Poller]:
        rewind = None
        start = first_of(self._offset, head)
        if self._carried is not None:
            rewind = self._rewound(0) if self._restart is not None else None
            start = 0 if rewind is not None else min(self._carried.head, head)
            self._carried = None
        self._restart, self._may_go_back = None, False
        self.runs, self.opened = [], RunRef(self.run_id, 0)
        poller = Poller(self._client, self._workflow_id, self.run_id, start)
        opening = poller.opening(rewind)
        self.place = opening.place
        return opening, poller

    async def _open_unserved(self, close: HistoryEvent) -> None:
        """Open a run that ended before any worker took its first task."""
        opening = Opening(0, 0, {}, [])
        if (before := self._carried) is not None:
            runs, publishers, order = self.runs, before.publishers, before.order
            head, base = before.head, before.base
            if self._restart is not None:
                # It has the same input as the run that it was started in place of.
                head, publishers, order = self.first_offset, {}, ""
                base = min(base, head)
            elif self.opened is not None:
                runs = [*runs, self.opened]
            opening = Opening(head, base, publishers, runs, before.keep_last, self.rules, order)
        await self._open(close, opening, [])

    def _enter_next_run(self) -> None:
        assert self._next_run is not None
        self.run_id, self._next_run = self._next_run, None
        self.place, self.seen_id = BEFORE_ALL, 0
        if self.fold is not None:
            self._carried, self._carried_polled = self.fold, self.polled
        self.fold = None
        self.polled = self._forked = False
        self._may_go_back = self._may_go_back and self._carried is None
        self._opened_at = 0
        self._early = []

    async def _read(self, event: HistoryEvent) -> None:
        kind = event.WhichOneof("attributes")
        if kind == "workflow_execution_signaled_event_attributes":
            signal = event.workflow_execution_signaled_event_attributes
            if signal.signal_name != wire.PUBLISH_SIGNAL:
                return
            if self.fold is None:
                self._early.append(event)
            else:
                await self._batch(self.fold, event)
        elif kind == "workflow_properties_modified_event_attributes":
            fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
            if wire.MEMO_KEY in fields:
                await self._record(event, fields[wire.MEMO_KEY])
        elif kind == "workflow_execution_started_event_attributes":
            started = event.workflow_execution_started_event_attributes
            self._continued_from = started.continued_execution_run_id
            # A reset run has this event from the one that was reset.
            if self._restart is None and not self._by_path:
                self._restart = restart_of(started.initiator)
        elif kind == "workflow_task_failed_event_attributes":
            failed = event.workflow_task_failed_event_attributes
            if failed.cause == _RESET and failed.new_run_id == self.run_id:
                self._fork(event)

    def _put(self, fold: Fold, event: HistoryEvent, **what: Any) -> None:
        """Put a moment out, unless this part of a reset run was read before, in the run reset.

        Who stood in such a part would not find its way back to where the runs differ.
        """
        if self._restart == "reset" and self._carried is not None:
            return
        # Early signals stand where the opening record does, which lets them take effect.
        event_id = max(event.event_id, self._opened_at)
        before = self._out[-1] if self._out else None
        nth = before.nth + 1 if before is not None and before.event_id == event_id else 0
        self._out.append(Moment(self.run_id, event_id, fold.head, fold.base, nth=nth, **what))

    async def _batch(self, fold: Fold, event: HistoryEvent) -> None:
        payloads = event.workflow_execution_signaled_event_attributes.input.payloads
        payload = None
        if len(payloads) == 1:
            payload = await decoded(self._converter, payloads[0], self._workflow_id)
        judged = self._intake.take(payload)
        if judged is None:
            return
        verdict = judged.verdict
        if not isinstance(verdict, Accepted):
            self._put(fold, event, judged=judged)
            return
        rewind = end = None
        if (s := verdict.superseded) is not None:
            rewind = Rewind(s.ranges, "attempt", verdict.offset, s.activity_id, s.attempt)
        if self._closed:
            # A writer has closed the stream; its workflow ends when it comes to it.
            end = End("completed", verdict.offset + verdict.count, self.run_id)
        time = event.event_time.ToDatetime(timezone.utc)
        chunk = Chunk(verdict.offset, judged.entries, judged.size, time)
        self._put(fold, event, rewind=rewind, chunk=chunk, judged=judged, end=end)

    @property
    def _closed(self) -> bool:
        return self.fold is not None and self.fold.closed

    async def _record(self, event: HistoryEvent, payload: Payload) -> None:
        record = await record_in(self._converter, payload, self._workflow_id)
        if record.opening is not None:
            await self._open(event, record.opening, record.entries)
        elif (fold := self.fold) is not None:
            chunk = self._own(fold, event, record.entries)
            fold.truncate(record.base)
            self._put(fold, event, chunk=chunk)

    def _own(self, fold: Fold, event: HistoryEvent, entries: list[Entry]) -> Chunk | None:
        if not entries:
            return None
        size = sum(len(topic) + len(data) for topic, data in entries)
        time = event.event_time.ToDatetime(timezone.utc)
        return Chunk(fold.own(len(entries)).offset, entries, size, time)

    async def _open(self, event: HistoryEvent, opening: Opening, taken: list[Entry]) -> None:
        fold = Fold(
            opening.head,
            opening.base,
            opening.publishers,
            opening.keep_last,
            closable=opening.rules is not None and opening.rules.closable,
            order=opening.order,
        )
        rewind = None
        if self._restart in ("retry", "cron") or self._forked:
            rewind = self._rewound(fold.head)
        elif self._restart is None:
            self._check_carried(fold)
        self.fold, self._intake, self.rules = fold, Intake(fold), opening.rules
        self.runs, self.opened = opening.runs, RunRef(self.run_id, fold.head)
        self._opened_at = event.event_id
        self._may_go_back = False
        # What a run takes over from a contrib's comes before all that is its own.
        chunk = self._own(fold, event, taken)
        self._put(fold, event, rewind=rewind, chunk=chunk, opened=True)
        early, self._early = self._early, []
        for signal in early:
            await self._batch(fold, signal)

    def _check_carried(self, fold: Fold) -> None:
        before, self._carried = self._carried, None
        if before is not None and not self._carried_polled:
            check_continued(self._workflow_id, self.run_id, before, fold)

    def _fork(self, event: HistoryEvent) -> None:
        """Take the place where a reset run begins to differ from the run that was reset."""
        self._forked = True
        if self.fold is not None and self._restart == "reset":
            rewind = self._rewound(self.fold.head)
            self._put(self.fold, event, rewind=rewind)

    def _rewound(self, head: int) -> Rewind | None:
        """Return what the run's restart at ``head`` takes back; the run is live from here."""
        reason, before = self._restart, self._carried
        self._restart = self._carried = None
        if reason is None or before is None:
            return None
        ranges = (range(head, before.head),) if before.head > head else ()
        return Rewind(ranges, reason, head)

    async def _follow(self, close: HistoryEvent) -> None:
        """Note which run comes next, if one does."""
        self._by_path = self.run_id in self._path
        if self._by_path:
            self._next_run, self._restart = self._path[self.run_id], None
            return
        found = await next_run_of(self._client, self._workflow_id, self.run_id, close)
        self._next_run, self._restart = found if found is not None else (None, None)

    async def _close(self, close: HistoryEvent) -> StreamCorruptedError | None:
        if self.fold is None:
            try:
                await self._open_unserved(close)
            except StreamCorruptedError as err:
                return err
        await self._follow(close)
        if self._next_run is None:
            await self._end(close)
        return None

    async def _end(self, close: HistoryEvent) -> None:
        assert self.fold is not None
        end = await end_of(close, self.fold.head, self.run_id, self._converter)
        self._put(self.fold, close, end=end)
