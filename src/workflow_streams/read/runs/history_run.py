"""Reads one run's history and folds its records into moments."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import timezone
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from ...errors import StreamCorruptedError
from ...events import End
from ...log import wire
from ...log.fold import Fold
from ...log.intake import Intake
from ...log.wire import Entry as Item
from ...log.wire import Opening, RunRef
from ...temporal.codec import converter_of, decoded, record_in
from ..history.pages import history_pages, is_close, newest_event_id, settled_id
from ..history.renewal import Renewal
from ..moments import (
    BEFORE_ALL,
    Chunk,
    Moment,
    Opened,
    Page,
    Place,
    content_size,
    effect_of,
    outcome_of_close,
)
from .early import EarlySignals
from .lookup import opened_run
from .resets import Origin
from .route import end_of
from .takeover import Entry, Left, Takeover

# About how many bytes of memory the items of a page take. The server's pages are cut to size as
# well, but what they hold may be compressed.
_PAGE_BYTES = 4 * 1024 * 1024
# Of an item beside its text.
_ENTRY_BYTES = 150


class HistoryRun:
    """Reads one run whose history holds the stream.

    Attributes:
        run_id: The run.
        fold: State after the last moment; None before the run's opening record.
        line: The stream's runs so far, in order, with this one once it has opened.
        rules: What the stream asks of its writers, from the last opening record.
        takeover: What it takes over from the run before.
        may_go_back: Whether to begin with the run before if this one has not opened yet.
        origin: Where it comes from.
        seen_id: Last event read that is settled.
        polled: Whether it turned out to be hosted by a contrib. Then it has to be polled.
        closing: Its close event, once that has been read.
        next: The run to read next; None if there is none, or it is not known yet.
    """

    def __init__(
        self,
        client: Client,
        workflow_id: str,
        entry: Entry,
        follow: Callable[[HistoryRun, HistoryEvent], Awaitable[Entry | None]],
        renewal: Renewal,
    ) -> None:
        """Prepare to read.

        Args:
            client: Temporal client.
            workflow_id: Workflow of the run.
            entry: How the reading comes to the run.
            follow: Finds the run that comes after the close event.
            renewal: Renews the calls by which it waits for events.
        """
        self.run_id = entry.run_id
        self.fold: Fold | None = None
        self.line = entry.line
        self.rules = entry.rules
        self.takeover = Takeover(workflow_id, entry)
        self.may_go_back = entry.or_before and entry.left is None
        self.origin = Origin(entry.run_id)
        self.seen_id = 0
        self.polled = False
        self.closing: HistoryEvent | None = None
        self.next: Entry | None = None
        self._client = client
        self._workflow_id = workflow_id
        self._converter = converter_of(client, workflow_id)
        self._follow = follow
        self._renewal = renewal
        self._intake = Intake(Fold(), unpacks=True)
        self._early = EarlySignals()
        self._opened_at = 0
        self._place: Place = BEFORE_ALL
        self._out: list[Moment] = []
        self._out_bytes = 0
        self._unreadable: StreamCorruptedError | None = None
        self._fetched_bytes = 0

    @property
    def left(self) -> Left | None:
        """How the stream stands at the end of what has been read."""
        return self.takeover.left if self.fold is None else Left(self.fold)

    def standing(self, publisher_id: str, sequence: int) -> tuple[str, Place] | None:
        """Return the run and place up to which a publisher's batch has been read.

        None if neither the batch nor one of a newer attempt has been read yet.
        """
        fold = self.fold
        if fold is None:
            return None
        if fold.publishers.get(publisher_id, 0) < sequence and not fold.fenced(publisher_id):
            return None
        # The last moment may still be held, until its page has been read.
        return self.run_id, self._out[-1].place if self._out else self._place

    async def pages(self) -> AsyncGenerator[Page]:
        """Yield the run's moments in order, a page at a time.

        It ends after the run's close event, when the stream has been closed, and when the run
        turns out to be read in another way.

        Raises:
            StreamCorruptedError: The run does not go on where the run before it ended.
            CodecError: The payload codec fails, or is missing here.
            WorkflowStreamError: The history cannot be read.
        """
        pages = history_pages(self._client, self._workflow_id, self.run_id, self._renewal)
        async with aclosing(pages):
            async for events in pages:
                self._begin_page(events.page_bytes)
                async with aclosing(self._read_all(events)) as full:
                    async for _ in full:
                        yield self._page()
                        self._begin_page(events.page_bytes)
                unreadable = self._unreadable
                if unreadable is None:
                    self.closing = events[-1] if is_close(events[-1]) else None
                    if self.fold is None and await self._is_elsewhere(events):
                        if self.polled:
                            yield self._page()
                        return
                    if self.closing is not None and not self._closed:
                        async with aclosing(self._close(self.closing)) as full:
                            async for _ in full:
                                yield self._page()
                                self._begin_page(events.page_bytes)
                        unreadable = self._unreadable
                if unreadable is None:
                    self.seen_id = settled_id(events) or self.seen_id
                yield self._page(unreadable=unreadable is not None)
                if unreadable is not None:
                    raise unreadable
                if self._closed:
                    return

    def _begin_page(self, fetched_bytes: int) -> None:
        self._out, self._out_bytes, self._fetched_bytes = [], 0, fetched_bytes

    @property
    def _is_full(self) -> bool:
        """Whether what is put out is to be handed on, since it takes much memory.

        Items that came compressed may become a thousand times larger.
        """
        return self._out_bytes > _PAGE_BYTES

    def _page(self, *, unreadable: bool = False) -> Page:
        if self._out:
            self._place = self._out[-1].place
        return Page(
            self._out,
            run_id=self.run_id,
            place=self._place,
            seen_id=self.seen_id,
            polled=self.polled,
            line=self.line if self.next is None else self.next.line,
            restarting=self.takeover.pending,
            holds_early=bool(self._early),
            held_bytes=self._early.size + self._intake.waiting_bytes,
            unreadable=unreadable,
            fetched_bytes=self._fetched_bytes,
        )

    async def _read_all(self, events: Sequence[HistoryEvent]) -> AsyncGenerator[None]:
        """Put out what events bring; yield whenever that makes a page.

        It ends at an event that cannot be read; :attr:`_unreadable` says why.
        """
        self._unreadable = None
        for event in events:
            try:
                await self._read(event)
            except StreamCorruptedError as err:
                left = self.left
                head = 0 if left is None else left.fold.head
                err.add_note(f"Reading stopped at offset {head}, event {event.event_id}.")
                self._unreadable = err
                return
            if self._early and self.fold is not None:
                async with aclosing(self._read_early(self.fold, event)) as full:
                    async for _ in full:
                        yield
            if self._is_full:
                yield

    async def _read_early(self, fold: Fold, opened: HistoryEvent) -> AsyncGenerator[None]:
        """Put out what came before the run was opened; yield whenever that makes a page."""
        signals = self._early.events(self._client, self._workflow_id, self.run_id, opened.event_id)
        async with aclosing(signals):
            async for signal in signals:
                await self._batch(fold, signal)
                if self._is_full:
                    yield
        # Until now, some of it had no offset.
        self._early = EarlySignals()

    async def _is_elsewhere(self, events: Sequence[HistoryEvent]) -> bool:
        """Whether the stream of a run without opening record is to be read in another way.

        With a first task that has left no such record, it is a contrib's. If no task has been
        done yet, reading begins with the run before.
        """
        if any(e.HasField("workflow_task_completed_event_attributes") for e in events):
            self.polled, self._early = True, EarlySignals()
            return True
        if not self.may_go_back:
            return False
        newest = await newest_event_id(self._client, self._workflow_id, self.run_id)
        if newest > settled_id(events):
            return False
        self.may_go_back = False
        before = await opened_run(self._client, self._workflow_id, self.origin.before)
        if before is not None:
            self.next = Entry(before)
        return before is not None

    async def _read(self, event: HistoryEvent) -> None:
        self.origin.read(event)
        if self.takeover.parts(event) and self.fold is not None:
            rewind = self.takeover.rewind(self.fold.head)
            self._put(self.fold, event, rewind=rewind, midway=True)
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
        elif event.event_id == 1:
            self.takeover.begin(self.origin.restart)

    def _put(self, fold: Fold, event: HistoryEvent, **what: Any) -> None:
        """Put a moment out, unless this part of the run was read before, in another run.

        A reader that stood in such a part would not find its way back to where the runs differ.
        """
        if self.takeover.repeats:
            return
        # Early signals stand where the opening record does, which lets them take effect.
        event_id = max(event.event_id, self._opened_at)
        before = self._out[-1] if self._out else None
        if before is None and self._place[0] == event_id:
            nth = self._place[1] + 1  # it goes on in another page
        else:
            nth = before.nth + 1 if before is not None and before.event_id == event_id else 0
        if (chunk := what.get("chunk")) is not None:
            self._out_bytes += chunk.size + _ENTRY_BYTES * len(chunk.entries)
        self._out.append(Moment(self.run_id, event_id, fold.head, fold.base, nth=nth, **what))

    async def _batch(self, fold: Fold, event: HistoryEvent) -> None:
        payloads = event.workflow_execution_signaled_event_attributes.input.payloads
        payload = None
        if len(payloads) == 1:
            payload = await decoded(self._converter, payloads[0], self._workflow_id)
        time = event.event_time.ToDatetime(timezone.utc)
        for judged in self._intake.take(payload):
            effect = effect_of(judged, self.run_id, time, closed=fold.closed)
            self._put(fold, event, **effect._asdict())

    async def _record(self, event: HistoryEvent, payload: Payload) -> None:
        record = await record_in(self._converter, payload, self._workflow_id)
        if record.opening is not None:
            await self._open(event, record.opening, record.entries)
        elif (fold := self.fold) is not None:
            chunk = self._own(fold, event, record.entries)
            fold.truncate(record.base)
            self._put(fold, event, chunk=chunk)

    def _own(self, fold: Fold, event: HistoryEvent, entries: list[Item]) -> Chunk | None:
        if not entries:
            return None
        time = event.event_time.ToDatetime(timezone.utc)
        return Chunk(fold.own(len(entries)).offset, entries, content_size(entries), time)

    async def _open(self, event: HistoryEvent, opening: Opening, taken: list[Item]) -> None:
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
        rewind = self.takeover.open(fold)
        self.fold, self._intake, self.rules = fold, Intake(fold, unpacks=True), opening.rules
        self.line = (*opening.runs, RunRef(self.run_id, fold.head))
        self._opened_at, self.may_go_back = event.event_id, False
        opened = Opened(self.line, self.rules, opening.keep_last, fold.closed_by)
        # What a run takes over from a contrib's comes before all that is its own.
        chunk = self._own(fold, event, taken)
        end = None
        if closing is not None:
            # A closed stream goes on while it has forks or time to live, without any more items.
            end = End(outcome_of_close(closing.publisher_id), fold.head, closing.run_id)
        self._put(fold, event, rewind=rewind, chunk=chunk, opened=opened, end=end)

    @property
    def _closed(self) -> bool:
        """Whether a writer has closed the stream, so that nothing more comes."""
        return self.fold is not None and self.fold.closed

    async def _close(self, close: HistoryEvent) -> AsyncGenerator[None]:
        if self.fold is None:
            opening = self.takeover.unserved(self.line, self.rules)
            try:
                await self._open(close, opening, [])
            except StreamCorruptedError as err:
                self._unreadable = err
                return
            assert self.fold is not None
            async with aclosing(self._read_early(self.fold, close)) as full:
                async for _ in full:
                    yield
        assert self.fold is not None
        self.next = await self._follow(self, close)
        if self.next is None:
            end = await end_of(close, self.fold.head, self.run_id, self._converter)
            self._put(self.fold, close, end=end)
