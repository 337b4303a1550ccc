"""The publishing side: encode at the call, buffer, send in order, report."""

from __future__ import annotations

import asyncio
import logging
import sys
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from ..arguments import check_count, seconds_of
from ..errors import BufferFullError, PublishError, UsageError
from ..log import wire
from ..temporal.entries import entry_of
from ..temporal.values import Values
from . import unsent
from .batcher import Batcher, Outgoing
from .delivery import Cancelled, Delivery, Undeliverable

logger = logging.getLogger("workflow_streams")

DEFAULT_BATCH_INTERVAL = timedelta(milliseconds=100)
DEFAULT_MAX_RETRY_DURATION = timedelta(minutes=10)
DEFAULT_MAX_BUFFER_ITEMS = 500_000
DEFAULT_MAX_BUFFER_BYTES = 128 * 1024 * 1024

LEAST_RETRY_SECONDS = 1.0
GRACE_SECONDS = 5.0

Placed = tuple[int, int]
"""A batch's sequence and an item's index in it."""


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
        send: Callable[[Payload], Awaitable[None]],
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
            send: Delivers one encoded batch as a publish signal.
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
        self._send = send
        self.workflow_id = workflow_id
        self._publisher_id = publisher_id
        self._values = Values(converter)
        self._patience = patience_of(max_retry_duration)
        self._announce = announce
        self._batcher = Batcher(
            interval=seconds_of("batch_interval", batch_interval),
            max_batch_bytes=wire.MAX_BATCH_BYTES,
            max_batch_size=max_batch_size,
            max_items=max_buffer_items,
            max_bytes=max_buffer_bytes,
        )
        self._open = False
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pump: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._delivery: Delivery | None = None
        self._settled = 0
        self._waiters: dict[asyncio.Future[Placed], int] = {}
        self._grace: asyncio.TimerHandle | None = None
        self._abandoned = 0
        self._untold: PublishError | None = None
        self._told: PublishError | None = None
        self.acknowledged = 0
        """Sequence of the last batch that the server took."""
        unsent.remember(self)

    def publish(self, topic: str, value: Any, *, force_flush: bool = False) -> int:
        """Encode and buffer ``value``; return its number among this publisher's items."""
        self._check_loop()
        self._raise_untold()
        entry = entry_of(self._values, topic, value)
        if not self._batcher.has_room(len(entry)):
            raise BufferFullError(
                self.workflow_id,
                f"the publisher's buffer is full ({len(self._batcher):,} items); the item was "
                "not taken. Await flush() between bursts",
            )
        due = self._batcher.due()
        number = self._batcher.add(entry)
        if force_flush:
            self._batcher.force()
        if self._open and self._batcher.due() != due:
            self._ensure_pump()
        unsent.watch(self)
        return number

    async def flush(self) -> None:
        """Wait until the server has taken everything published so far.

        Raises:
            PublishError: Something was not delivered, now or since the last report.
        """
        self._check_loop()
        self._raise_untold()
        if self.undelivered:
            await self.delivered(self._batcher.added - 1)

    async def delivered(self, number: int) -> Placed:
        """Wait until item ``number``, not yet taken, is taken; return its batch and place in it."""
        self._loop = asyncio.get_running_loop()
        taken: asyncio.Future[Placed] = self._loop.create_future()
        self._waiters[taken] = number
        self._batcher.force()
        self._ensure_pump()
        try:
            return await taken
        except PublishError as error:
            self._told = error
            if self._untold is error:
                self._untold = None
            raise
        except asyncio.CancelledError:
            # An error may have come just before the cancellation; it has to reach somebody else.
            late = taken.exception() if taken.done() and not taken.cancelled() else None
            if isinstance(late, PublishError) and late is not self._told:
                self._keep(late)
            raise
        finally:
            self._waiters.pop(taken, None)
            self._wake.set()
            unsent.watch(self)

    async def start(self) -> None:
        """Begin to send in the background."""
        if self._open:
            raise UsageError("This publisher is already in use by an `async with` block")
        if self._pump is None or self._pump.done():
            self._loop, self._wake = asyncio.get_running_loop(), asyncio.Event()
        self._check_loop()
        self._open, self._stopping, self._abandoned = True, False, 0
        self._end_grace()
        self._ensure_pump()

    async def stop(self, raised: BaseException | None = None) -> None:
        """Send what is buffered, then end the pump by agreement.

        After a cancellation, ``raised`` or during this call, that may take 5 seconds, and then
        the rest is given up. After a second cancellation this returns at once, and the pump has
        what is left of those seconds by itself.

        Args:
            raised: The error on its way. What was not delivered is noted on it, else raised.
        """
        self._check_loop()
        self._open, self._stopping = False, True
        self._batcher.force()
        self._wake.set()
        cancelled = await self._finish(raised)
        leaving = cancelled or raised
        if leaving is None:
            self._raise_untold()
        elif self._untold is not None:
            leaving.add_note(str(self._untold))
            self._untold = None
        elif self._draining and self.undelivered:
            self._abandoned = self.undelivered
            leaving.add_note(
                f"Workflow {self.workflow_id!r}: {self._abandoned} item(s) are not delivered "
                f"yet. That is tried for up to {GRACE_SECONDS:g} s more; the log tells the result"
            )
        if cancelled is not None and cancelled is not raised:
            raise cancelled

    async def _finish(self, raised: BaseException | None) -> asyncio.CancelledError | None:
        """Wait for the pump; return the last cancellation that came before or meanwhile."""
        if not self._draining:
            self._stopping = False
            return None
        cancelled = raised if isinstance(raised, asyncio.CancelledError) else None
        if cancelled is None:
            try:
                await self._pump_ends()
                return None
            except asyncio.CancelledError as err:
                cancelled = err
        self._begin_grace()
        try:
            await self._pump_ends()
        except asyncio.CancelledError as err:
            # In a cancel scope of anyio each wait is cancelled, so nothing can be awaited here.
            cancelled = err
        return cancelled

    async def _pump_ends(self) -> None:
        if self._pump is not None:
            await asyncio.wait([self._pump])

    def _begin_grace(self) -> None:
        pump, self._grace = self._pump, None
        if pump is not None and not pump.done():
            over = f"the {GRACE_SECONDS:g} s that a cancelled block has for it are over"
            loop = asyncio.get_running_loop()
            self._grace = loop.call_later(GRACE_SECONDS, pump.cancel, over)

    def _end_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    @property
    def _draining(self) -> bool:
        return self._pump is not None and not self._pump.done()

    @property
    def undelivered(self) -> int:
        """How many items the server has not taken."""
        return self._batcher.added - self._settled

    @property
    def stranded(self) -> int:
        """How many items wait in the buffer with nobody to send them."""
        return 0 if self._wanted or self._draining else self.undelivered

    @property
    def _wanted(self) -> bool:
        return self._open or self._stopping or any(not taken.done() for taken in self._waiters)

    def _ensure_pump(self) -> None:
        self._wake.set()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._run(), name=f"publish {self.workflow_id}")
            self._pump.add_done_callback(self._pump_ended)
            _pumps.add(self._pump)

    async def _run(self) -> None:
        try:
            await self._send_what_is_due()
        except Undeliverable as err:
            self._give_up(err.reason, err.kind)
        except Exception as err:
            self._give_up(err)
        except BaseException as err:
            self._give_up(Cancelled(*err.args) if isinstance(err, asyncio.CancelledError) else err)
            raise

    def _pump_ended(self, pump: asyncio.Task[None]) -> None:
        _pumps.discard(pump)
        # A pump that is cancelled before its first step could not do this itself.
        if pump.cancelled():
            self._give_up(Cancelled())
        if pump is self._pump:
            self._end_grace()
            self._stopping = False
            if self._abandoned and self._untold is None:
                logger.info(
                    "Workflow %r: %d item(s) were delivered after a cancelled block had been left",
                    self.workflow_id,
                    self._abandoned,
                )
            self._abandoned = 0

    async def _send_what_is_due(self) -> None:
        loop = asyncio.get_running_loop()
        if self._announce:
            self._announce = False
            self._delivery = self._prepare(self._batcher.take_empty())
        while self._wanted:
            if self._delivery is None:
                due = self._batcher.due()
                if due is None and not self._open:
                    return
                if due is None or (due > loop.time() and self._open):
                    await self._rest(due)
                    continue
                self._delivery = self._prepare(self._batcher.take(loop.time()))
            if await self._delivery.attempt(self._send):
                self._settle(self._delivery.batch)
                self._delivery = None
            else:
                until = loop.time() + self._delivery.delay
                while self._wanted and loop.time() < until:
                    await self._rest(until)

    async def _rest(self, until: float | None) -> None:
        """Wait until then, or until something has changed."""
        self._wake.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._wake.wait()

    def _prepare(self, batch: Outgoing) -> Delivery:
        return Delivery(
            batch,
            workflow_id=self.workflow_id,
            publisher_id=self._publisher_id,
            patience=self._patience,
        )

    def _settle(self, batch: Outgoing) -> None:
        self.acknowledged = batch.sequence
        self._settled = batch.last_index + 1
        first = self._settled - len(batch.entries)
        for taken, number in self._waiters.items():
            if number < self._settled and not taken.done():
                taken.set_result((batch.sequence, number - first))

    def _give_up(self, reason: BaseException, kind: type[PublishError] = PublishError) -> None:
        """Drop what has not been taken, and make sure that somebody is told."""
        waiting = [taken for taken in self._waiters if not taken.done()]
        if not self.undelivered and not waiting:
            # At most an announcement is lost, and the first batch announces the retry as well.
            self._delivery = None
            return
        uncertain = 0
        if self._delivery is not None and self._delivery.unanswered:
            uncertain = len(self._delivery.batch.entries)
        error = kind(self.workflow_id, self.undelivered, reason, uncertain=uncertain)
        error.__cause__ = reason
        self._delivery = None
        self._batcher.clear()
        self._settled = self._batcher.added
        for taken in waiting:
            taken.set_exception(error)
        if not waiting:
            self._keep(error)

    def _keep(self, error: PublishError) -> None:
        """Log an error that nobody waits for, to be raised at the next occasion."""
        self._untold = error
        logger.error("%s", error)

    def _raise_untold(self) -> None:
        if self._untold is not None:
            error, self._untold = self._untold, None
            raise error

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


_pumps: set[asyncio.Task[None]] = set()
"""All pumps that run: an event loop does not keep its tasks alive."""
