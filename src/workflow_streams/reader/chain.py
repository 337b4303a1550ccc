"""Follows a stream through the runs of its workflow and folds its records into moments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timezone
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from .. import wire
from ..codec import converter_of, decoded, record_in
from ..errors import StreamCorruptedError
from ..events import End, Last, Rewind, RewindReason
from ..fold import Accepted, Fold
from ..intake import Intake
from ..wire import Entry, Opening, Rules, RunRef
from .closing import Route, end_of, unserved
from .early import EarlySignals
from .history import close_event, history_pages, is_close, newest_event_id, settled_id
from .moments import BEFORE_ALL, Chunk, Moment, Opened, Page, Place
from .polled.last_head import last_head
from .polled.poller import Poller, closing_of
from .renewal import Renewal
from .resets import Origin, Reset
from .runs import check_continued, opened_run


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
        behind: bool = False,
        or_before: bool = False,
        path: Mapping[str, str] | None = None,
        renewal: Renewal | None = None,
    ) -> None:
        """Prepare to read.

        Args:
            client: Temporal client.
            workflow_id: Workflow that hosts the stream.
            run_id: Run to begin with.
            offset: Where to begin on a stream that has to be polled.
            behind: Whether that one is known to hold more than what is before ``offset``.
            or_before: Whether to begin with the run before if this one has not opened yet.
            path: For some runs, which one to go on with: past those that were started anew.
            renewal: Renews the calls by which it waits for events; one of its own by default.
        """
        self._client = client
        self._workflow_id = workflow_id
        self._offset = offset
        self._behind = behind
        self._converter = converter_of(client, workflow_id)
        self.run_id = run_id
        self.place: Place = BEFORE_ALL
        self.seen_id = 0
        self.fold: Fold | None = None
        self.rules: Rules | None = None
        self.runs: list[RunRef] = []
        self.opened: RunRef | None = None
        self.polled = False
        self._renewal = renewal or Renewal()
        self._intake = Intake(Fold())
        self._early = EarlySignals()
        self._opened_at = 0
        self._out: list[Moment] = []
        self._next_run: str | None = None
        self._may_go_back = or_before
        self._route = Route(client, workflow_id, path or {})
        self._by_path = False
        self._origin = Origin(run_id)
        # How the run before ended, until this one has opened, and whether that was polled.
        self._carried: Fold | None = None
        self._carried_polled = False
        # Why the server started this run anew, until it has gone past what that takes back.
        self._restart: RewindReason | None = None
        self._reset: Reset | None = None
        # Whether this part of a run was read before, in another run of its family.
        self._repeats = False
        self._unreadable = False

    @property
    def first_offset(self) -> int:
        """First offset of the last run that has opened."""
        return 0 if self.opened is None else self.opened.first_offset

    @property
    def line(self) -> tuple[RunRef, ...]:
        """Runs whose items have been read and still stand, in order."""
        return () if self.opened is None else (*self.runs, self.opened)

    @property
    def _restarting(self) -> bool:
        """Whether it still has to tell what the run's restart takes back."""
        return self._restart is not None and self._carried is not None

    def standing(self, publisher_id: str, sequence: int) -> tuple[str, Place] | None:
        """Return run and place up to which the reading covers a batch of a publisher.

        None as long as it has not come by the batch, or one that a newer attempt sent.
        """
        fold = self.fold
        if fold is None:
            return None
        if fold.publishers.get(publisher_id, 0) < sequence and not fold.fenced(publisher_id):
            return None
        # The last moment may still be held, until its page has been read.
        last = self._out[-1] if self._out else None
        return (self.run_id, self.place) if last is None else (last.run_id, last.place)

    async def pages(self) -> AsyncGenerator[Page]:
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

    def _page(self, moments: Sequence[Moment] = ()) -> Page:
        if moments:
            self.place = moments[-1].place
        return Page(
            moments,
            run_id=self.run_id,
            place=self.place,
            seen_id=self.seen_id,
            polled=self.polled,
            line=self.line,
            restarting=self._restarting,
            holds_early=bool(self._early),
            held_bytes=self._early.size + self._intake.waiting_bytes,
            unreadable=self._unreadable,
        )

    async def _run_pages(self) -> AsyncGenerator[Page]:
        close: HistoryEvent | None = None
        pages = history_pages(self._client, self._workflow_id, self.run_id, self._renewal)
        async with aclosing(pages):
            async for events in pages:
                self._out = []
                unreadable = await self._read_all(events)
                if unreadable is None:
                    close = events[-1] if is_close(events[-1]) else None
                    if self.fold is None and await self._is_elsewhere(events):
                        if self.polled:
                            yield self._page()
                        break
                    if close is not None and not self._closed:
                        unreadable = await self._close(close)
                self._unreadable = unreadable is not None
                if unreadable is None:
                    self.seen_id = settled_id(events) or self.seen_id
                yield self._page(self._out)
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
            self.polled, self._early = True, EarlySignals()
            return True
        if not self._may_go_back:
            return False
        newest = await newest_event_id(self._client, self._workflow_id, self.run_id)
        if newest > settled_id(events):
            return False
        self._may_go_back = False
        before = self._origin.before
        self._next_run = await opened_run(self._client, self._workflow_id, before)
        if self._next_run is None:
            return False
        if self._next_run == before and self._restart is None:
            # Not to the run that it continued as, in whose place a reset may have put this one.
            self._route.lead(before, self.run_id)
        self._restart = None
        return True

    async def _poll(self, close: HistoryEvent | None) -> AsyncGenerator[Page]:
        """Read a run that a contrib hosts; only the last one needs to be read to its end.

        Continued as new, the run takes along what it holds; started anew, it takes it back.
        """
        client, workflow_id, run_id = self._client, self._workflow_id, self.run_id

        async def stream_head() -> int:
            return await last_head(client, workflow_id, run_id)

        async with closing_of(client, workflow_id, run_id, close) as closing:
            poller = Poller(client, workflow_id, run_id, closing, behind=self._behind)
            start, reached = self._polled_start()
            begun = await poller.begin(start, reached=reached)
            if begun:
                yield self._page([self._polled_opening(poller)])
                async with aclosing(poller.pages()) as pages:
                    async for moment in pages:
                        yield self._page([moment])
            # A call that has waited for the event since before may be deaf to it by now.
            waits = not closing.done()
            close = await close_event(client, workflow_id, run_id) if waits else closing.result()
        restart = self._restart
        await self._follow(close)
        if self._next_run is None:
            if not begun:
                self._restart = restart
                poller.begin_closed(start, await stream_head(), reached=reached)
                yield self._page([self._polled_opening(poller)])
            async with aclosing(poller.remaining(stream_head)) as pages:
                async for moment in pages:
                    yield self._page([moment])
        elif not begun:
            # Nothing was read here, but who was told that there is more before has had that.
            if self._carried is None and reached and isinstance(start, int):
                self.fold = Fold(start)
            return
        self.fold = Fold(poller.offset)
        if self._next_run is None:
            self._out = []
            await self._end(close)
            yield self._page(self._out)

    def _polled_start(self) -> tuple[int | Last, bool]:
        """Return where to begin in a polled run, and whether that is not past its head."""
        if self._carried is None:
            return self._offset, self._behind
        return (0 if self._restart is not None else self._carried.head), True

    def _polled_opening(self, poller: Poller) -> Moment:
        rewind = self._rewound(0) if self._carried is not None else None
        self._restart = self._carried = None
        self._may_go_back = False
        self.runs, self.opened = [], RunRef(self.run_id, 0)
        return poller.opening(rewind, Opened(self.line, self.rules))

    async def _open_unserved(self, close: HistoryEvent) -> None:
        """Open a run that ended before any worker took its first task."""
        opening = Opening(0, 0, {}, [])
        if self._carried is not None and self.opened is not None:
            restarted = self._restart is not None
            opening = unserved(
                self._carried, self.runs, self.opened, self.rules, restarted=restarted
            )
        await self._open(close, opening, [])

    def _enter_next_run(self) -> None:
        assert self._next_run is not None
        self.run_id, self._next_run = self._next_run, None
        self.place, self.seen_id = BEFORE_ALL, 0
        if self.fold is not None:
            self._carried, self._carried_polled = self.fold, self.polled
        self.fold = None
        self.polled = False
        self._origin = Origin(self.run_id)
        self._may_go_back = self._may_go_back and self._carried is None
        self._opened_at = 0
        self._early = EarlySignals()

    async def _read(self, event: HistoryEvent) -> None:
        self._origin.read(event)
        if self._repeats and self._reset is not None and self._reset.parts(event):
            self._part(event)
        kind = event.WhichOneof("attributes")
        if kind == "workflow_execution_signaled_event_attributes":
            signal = event.workflow_execution_signaled_event_attributes
            if signal.signal_name != wire.PUBLISH_SIGNAL:
                return
            if self.fold is None:
                self._early.add(event)
            else:
                await self._batch(self.fold, event)
        elif kind == "workflow_properties_modified_event_attributes":
            fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
            if wire.MEMO_KEY in fields:
                await self._record(event, fields[wire.MEMO_KEY])
        elif event.event_id == 1 and self._restart is None and not self._by_path:
            self._restart = self._origin.restart

    def _put(self, fold: Fold, event: HistoryEvent, **what: Any) -> None:
        """Put a moment out, unless this part of the run was read before, in another run.

        A reader that stood in such a part would not find its way back to where the runs differ.
        """
        if self._repeats:
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
            # Nobody gets its items, so that they are not kept either.
            self._put(fold, event, judged=replace(judged, entries=[]))
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
        closing = opening.closed
        fold = Fold(
            opening.head,
            opening.base,
            opening.publishers,
            opening.keep_last,
            closable=opening.rules is not None and opening.rules.closable,
            order=opening.order,
            written=opening.written,
            closed_by=None if closing is None else (closing.publisher_id, closing.sequence),
        )
        rewind = None
        if self._restart is None:
            self._check_carried(fold)
        elif not self._repeats:
            rewind = self._rewound(fold.head)
        self.fold, self._intake, self.rules = fold, Intake(fold), opening.rules
        self.runs, self.opened = opening.runs, RunRef(self.run_id, fold.head)
        self._opened_at = event.event_id
        self._may_go_back = False
        # What a run takes over from a contrib's comes before all that is its own.
        chunk = self._own(fold, event, taken)
        end = None
        if closing is not None:
            # A closed stream goes on while it has forks or time to live, without any more items.
            end = End("completed", fold.head, closing.run_id)
        opened = Opened(self.line, opening.rules, opening.keep_last, fold.closed_by)
        self._put(fold, event, rewind=rewind, chunk=chunk, opened=opened, end=end)
        early, self._early = self._early, EarlySignals()
        if early:
            signals = early.events(self._client, self._workflow_id, self.run_id, event.event_id)
            async with aclosing(signals):
                async for signal in signals:
                    await self._batch(fold, signal)

    def _check_carried(self, fold: Fold) -> None:
        before, self._carried = self._carried, None
        if before is not None and not self._carried_polled:
            check_continued(self._workflow_id, self.run_id, before, fold)

    def _part(self, event: HistoryEvent) -> None:
        """Take the place from which on the run differs from what was read before it."""
        self._repeats = False
        if self.fold is not None:
            rewind = self._rewound(self.fold.head)
            self._put(self.fold, event, rewind=rewind, midway=True)

    def _rewound(self, head: int) -> Rewind | None:
        """Return what the run's restart at ``head`` takes back; the run is live from here."""
        reason, before = self._restart, self._carried
        if self._reset is not None and self._reset.replaced is None:
            head = 0
        self._restart = self._reset = self._carried = None
        if reason is None or before is None:
            return None
        ranges = (range(head, before.head),) if before.head > head else ()
        return Rewind(ranges, reason, head)

    async def _follow(self, close: HistoryEvent) -> None:
        """Note which run comes next, if one does."""
        # A polled run that is passed over has not told what its own restart takes back.
        restart = self._restart if self._restarting else None
        line = () if self.polled else self.line
        following = await self._route.after(self._origin, line, close)
        self._next_run, self._restart = following.run_id, following.restart or restart
        self._by_path = following.by_path
        if (reset := following.reset) is not None:
            self._reset, self._repeats = reset, reset.forks is not None
            # The next run opens where the one did whose place it takes.
            self.runs, self.opened = reset.kept, reset.replaced or RunRef(reset.run_id, 0)
        elif restart is None:
            self._reset = None

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
