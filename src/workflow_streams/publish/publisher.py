"""The publishing side: encode at the call, buffer, send in order, report."""

from __future__ import annotations

import asyncio
import sys
import warnings
from datetime import timedelta
from enum import Enum, auto
from functools import partial
from typing import Any

from temporalio.converter import PayloadConverter

from ..arguments import check_count, seconds_of
from ..errors import BufferFullError, PublishError, StreamClosedError, UsageError
from ..log import wire
from ..log.wire import Entry
from ..temporal.entries import encoded_entry
from ..temporal.values import Values
from . import pump, unsent
from .batcher import Batcher, Outgoing
from .delivery import Cancelled, Delivery, Undeliverable
from .landing import Landing
from .receipts import Placed, Receipts
from .sink import Sink

DEFAULT_BATCH_INTERVAL = timedelta(milliseconds=100)
DEFAULT_MAX_RETRY_DURATION = timedelta(minutes=10)
DEFAULT_MAX_BUFFER_ITEMS = 500_000
DEFAULT_MAX_BUFFER_BYTES = 128 * 1024 * 1024

LEAST_RETRY_SECONDS = 1.0


class _Phase(Enum):
    """Where the publisher is with its ``async with`` block."""

    OUTSIDE = auto()
    OPEN = auto()
    LEAVING = auto()


def patience_of(max_retry_duration: timedelta) -> float:
    """Return how many seconds a batch is tried for.

    Raises:
        UsageError: It is no timedelta.
    """
    return max(LEAST_RETRY_SECONDS, seconds_of("max_retry_duration", max_retry_duration))


class Publisher:
    """Sends items to one workflow, one batch at a time, under one publisher id.

    One background task, the pump, owns everything that is sent. It runs from ``start`` to
    ``stop``, or, outside of those, while somebody waits for an item to be taken. When ``stop``
    is left early, by a second cancellation, the pump goes on alone until its time is over.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        workflow_id: str,
        publisher_id: str,
        converter: PayloadConverter,
        batch_interval: timedelta = DEFAULT_BATCH_INTERVAL,
        max_batch_size: int | None = None,
        max_retry_duration: timedelta = DEFAULT_MAX_RETRY_DURATION,
        max_buffer_items: int = DEFAULT_MAX_BUFFER_ITEMS,
        max_buffer_bytes: int = DEFAULT_MAX_BUFFER_BYTES,
        announce: bool = False,
    ) -> None:
        """Set up; nothing is sent before ``start`` or ``flush``.

        Args:
            sink: Where its batches go.
            workflow_id: For error messages.
            publisher_id: Who publishes, for deduplication.
            converter: Turns values into payloads.
            batch_interval: Shortest time between two batches, unless something is forced.
            max_batch_size: Items at which a batch is sent without waiting.
            max_retry_duration: How long a batch is tried, from its first attempt.
            max_buffer_items: Items that may wait.
            max_buffer_bytes: Encoded bytes that may wait.
            announce: Send an empty batch on starting, so that readers learn of a retry.
        """
        for name, value in (
            ("max_batch_size", max_batch_size),
            ("max_buffer_items", max_buffer_items),
            ("max_buffer_bytes", max_buffer_bytes),
        ):
            check_count(name, value)
        self.workflow_id = workflow_id
        self._values = Values(converter)
        self._deliver = partial(
            Delivery,
            sink=sink,
            workflow_id=workflow_id,
            publisher_id=publisher_id,
            patience=patience_of(max_retry_duration),
        )
        self._sink = sink
        self._announce = announce
        self._settled = 0
        self._interval = seconds_of("batch_interval", batch_interval)
        # When it takes its next batch, unless that is forced.
        self._turn: float | None = None
        self._batcher = Batcher(
            interval=self._interval,
            max_batch_bytes=wire.MAX_BATCH_BYTES,
            max_batch_size=max_batch_size,
            max_items=max_buffer_items,
            max_bytes=max_buffer_bytes,
        )
        self._phase = _Phase.OUTSIDE
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pump = pump.Pump(f"publish {workflow_id}")
        self._delivery: Delivery | None = None
        self._receipts = Receipts(workflow_id)
        self.landing = Landing(sink, workflow_id, publisher_id)
        """What the server has taken, and may not be in the stream."""
        self.acknowledged = 0
        """Sequence of the last batch that the server took."""
        unsent.remember(self)

    def publish(self, topic: str, value: Any, *, force_flush: bool = False) -> int:
        """Encode and buffer ``value``; return its number among this publisher's items."""
        self._check_loop()
        self._receipts.raise_untold()
        number = self._add(encoded_entry(self._values, topic, value), force_flush=force_flush)
        if number is None:
            raise BufferFullError(
                self.workflow_id,
                f"the publisher's buffer is full ({len(self._batcher):,} items); the item was "
                "not taken. Use publish_wait(), or await flush() between bursts",
            )
        return number

    async def publish_wait(self, topic: str, value: Any, *, force_flush: bool = False) -> int:
        """Do what :meth:`publish` does, once there is room in the buffer."""
        self._check_loop()
        self._receipts.raise_untold()
        entry = encoded_entry(self._values, topic, value)
        while (number := self._add(entry, force_flush=force_flush)) is None:
            # The oldest item that waits goes with the next batch.
            await self.delivered(self._batcher.added - len(self._batcher))
        return number

    def _add(self, entry: Entry, *, force_flush: bool) -> int | None:
        """Buffer an entry and return its number; None if there is no room for it."""
        due = self._batcher.due()
        number = self._batcher.add(entry)
        if number is None:
            return None
        if force_flush:
            self._batcher.force()
        if self._open and self._batcher.due() != due:
            self._ensure_pump()
        unsent.watch(self)
        return number

    async def flush(self) -> None:
        """Wait until the server has taken everything published so far, and the stream has it.

        Raises:
            PublishError: Something was not delivered, now or since the last report.
        """
        self._check_loop()
        self._receipts.raise_untold()
        if self.undelivered:
            await self.delivered(self._batcher.added - 1)
        await self.landing.check()

    async def delivered(self, number: int) -> Placed:
        """Wait until the server takes item ``number``; return its batch and its place in that.

        It must be an item that has not been taken yet.

        Raises:
            PublishError: It was given up.
        """
        self._loop = asyncio.get_running_loop()
        taken = self._receipts.expect(number)
        self._batcher.force()
        self._ensure_pump()
        try:
            return await self._receipts.received(taken)
        finally:
            self._pump.wake()
            unsent.watch(self)

    async def start(self) -> None:
        """Begin to send in the background."""
        if self._open:
            raise UsageError("This publisher is already in use by an `async with` block")
        if not self._pump.running:
            self._loop = asyncio.get_running_loop()
            self._pump.renew()
        self._check_loop()
        self._phase = _Phase.OPEN
        self._receipts.left_open = 0
        self._pump.end_grace()
        self._ensure_pump()

    async def stop(self, raised: BaseException | None = None) -> None:
        """Send what is buffered, then let the pump end.

        After a cancellation (``raised``, or one during this call) that may take 5 seconds; then the
        rest is given up. After a second one this returns at once, and the pump goes on alone for
        what is left of those seconds.

        Args:
            raised: The exception that leaves the block, if any. What was not delivered is noted on
                it; without one, it is raised.

        Raises:
            PublishError: Something was not delivered.
        """
        self._check_loop()
        self._phase = _Phase.LEAVING if self._pump.running else _Phase.OUTSIDE
        self._batcher.force()
        self._pump.wake()
        cancelled = await self._pump.finished(raised)
        leaving = cancelled or raised
        if leaving is None:
            self._receipts.raise_untold()
            await self.landing.check()
            return
        if cancelled is None and isinstance(raised, Exception):
            await self._note_lost(raised)
        if not self._receipts.note_untold(leaving) and self._pump.running and self.undelivered:
            self._receipts.left_open = self.undelivered
            leaving.add_note(
                f"Workflow {self.workflow_id!r}: {self.undelivered} item(s) are not delivered "
                f"yet. That is tried for up to {pump.GRACE_SECONDS:g} s more; the log tells the "
                "result"
            )
        if cancelled is not None and cancelled is not raised:
            raise cancelled

    @property
    def undelivered(self) -> int:
        """How many items the server has not taken."""
        return self._batcher.added - self._settled

    @property
    def stranded(self) -> int:
        """How many items wait in the buffer with nobody to send them."""
        return 0 if self._wanted or self._pump.running else self.undelivered

    @property
    def _open(self) -> bool:
        return self._phase is _Phase.OPEN

    @property
    def _wanted(self) -> bool:
        """Whether the pump has to go on: for a block, or for somebody who waits for an item."""
        return self._phase is not _Phase.OUTSIDE or self._receipts.awaited

    def _ensure_pump(self) -> None:
        self._pump.ensure(self._run, self._pump_ended)

    async def _run(self) -> None:
        try:
            await self._send_what_is_due()
        except Undeliverable as err:
            closed = isinstance(err.reason, StreamClosedError)
            lost, uncertain = await self.landing.lost() if closed else (0, 0)
            self._give_up(err.reason, err.kind, lost=lost, uncertain=uncertain)
        except Exception as err:
            self._give_up(err)
        except BaseException as err:
            self._give_up(Cancelled(*err.args) if isinstance(err, asyncio.CancelledError) else err)
            raise

    def _pump_ended(self, task: asyncio.Task[None]) -> None:
        # A pump that is cancelled before its first step could not do this itself.
        if task.cancelled():
            self._give_up(Cancelled())
        if self._pump.is_current(task):
            self._pump.end_grace()
            if self._phase is _Phase.LEAVING:
                self._phase = _Phase.OUTSIDE
            self._receipts.sending_ended()

    async def _send_what_is_due(self) -> None:
        loop = asyncio.get_running_loop()
        if self._announce:
            self._announce = False
            self._delivery = self._deliver(self._batcher.take_empty())
        while self._wanted:
            if self._delivery is None:
                due = self._next_turn()
                if due is None and not self._open:
                    return
                if due is None or (due > loop.time() and self._open):
                    await self._pump.rest(due)
                    continue
                self._delivery = self._deliver(self._take())
            if self.landing.is_full and not await self._has_landed():
                continue
            if await self._delivery.attempt():
                self._settle(self._delivery.batch)
                self._delivery = None
            else:
                until = loop.time() + self._delivery.delay
                while self._wanted and loop.time() < until:
                    await self._pump.rest(until)

    def _next_turn(self) -> float | None:
        """Return from when on a batch may be taken; None if there is nothing to send.

        Publishers take turns together. Once one knows when its next turn is, it does not wait
        longer, whatever the others do until then.
        """
        due = self._batcher.due()
        if due is None or self._batcher.is_forced:
            return due
        if self._turn is None:
            self._turn = max(due, self._sink.next_turn(self._interval))
        return self._turn

    def _take(self) -> Outgoing:
        if not self._batcher.is_forced:
            self._sink.take_turn()
        self._turn = None
        self._measure()
        return self._batcher.take(asyncio.get_running_loop().time())

    async def _has_landed(self) -> bool:
        """Whether the stream is still open; otherwise what has not been taken is given up."""
        lost, uncertain = await self.landing.lost()
        if lost:
            self._give_up(self.landing.closed(), lost=lost, uncertain=uncertain)
        return not lost

    async def _note_lost(self, leaving: Exception) -> None:
        """Note on an exception how much came when the stream had been closed."""
        try:
            await self.landing.check()
        except PublishError as err:
            leaving.add_note(str(err))

    def _measure(self) -> None:
        """Measure what waits as its host reads it, as far as that is known."""
        self._batcher.measure_compact(compact=self._sink.reads_compact)

    def _settle(self, batch: Outgoing) -> None:
        self._measure()
        self.landing.add(batch)
        self.acknowledged = batch.sequence
        self._settled = batch.last_index + 1
        self._receipts.settle(batch)

    def _give_up(
        self,
        reason: BaseException,
        kind: type[PublishError] = PublishError,
        *,
        lost: int = 0,
        uncertain: int = 0,
    ) -> None:
        """Drop what has not been taken, and make sure that somebody is told.

        Args:
            reason: Why it is dropped.
            kind: The error that tells of it.
            lost: How many items were taken before, and lost all the same.
            uncertain: How many of those may not be lost.
        """
        delivery, self._delivery = self._delivery, None
        if not self.undelivered and not self._receipts.awaited and not lost:
            # At most an announcement is lost, and the first batch announces the retry as well.
            return
        if delivery is not None and delivery.unanswered:
            uncertain += len(delivery.batch.entries)
        error = kind(self.workflow_id, self.undelivered + lost, reason, uncertain=uncertain)
        error.__cause__ = reason
        self._batcher.clear()
        self._turn = None
        self._settled = self._batcher.added
        self._receipts.fail(error)

    def _check_loop(self) -> None:
        if self._loop is None:
            return
        if self._loop.is_closed():
            raise UsageError(
                "The event loop that this publisher ran on is closed; "
                f"{self.undelivered} item(s) were not delivered"
            )
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is not self._loop:
            raise UsageError(
                "A publisher belongs to the event loop that it was started on; from another "
                "thread use loop.call_soon_threadsafe(topic.publish, value)"
            )

    def __del__(self) -> None:
        """Tell of items that were published and never sent."""
        # A constructor that raised leaves no buffer.
        if getattr(self, "_batcher", None) is None or not self.undelivered:
            return
        if not sys.is_finalizing():
            unsent.tell_lost(self)
        warnings.warn(unsent.never_sent(self), ResourceWarning, stacklevel=2, source=self)
