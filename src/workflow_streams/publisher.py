"""The publishing side: encode at the call, buffer, send in order, retry, report."""

from __future__ import annotations

import asyncio
import logging
import random
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter
from temporalio.service import RPCError

from . import wire
from .batcher import Batcher, Outgoing
from .errors import (
    BufferFullError,
    EncodeError,
    ItemTooLargeError,
    PublishError,
    PublishTimeoutError,
    UsageError,
)
from .rpc import is_transient, translate

logger = logging.getLogger("workflow_streams")

DEFAULT_BATCH_INTERVAL = timedelta(milliseconds=100)
DEFAULT_MAX_RETRY_DURATION = timedelta(minutes=10)
DEFAULT_MAX_BUFFER_ITEMS = 500_000
DEFAULT_MAX_BUFFER_BYTES = 128 * 1024 * 1024

_FIRST_RETRY_SECONDS = 0.1
_LONGEST_RETRY_SECONDS = 5.0


class Publisher:
    """Sends items to one workflow, one batch at a time, under one publisher id.

    One background task, the pump, owns everything that is sent. It runs from ``start`` to
    ``stop``, or, outside of those, while a ``flush`` has something to wait for.
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
            max_retry_duration: How long a batch is retried.
            max_buffer_items: Items that may wait.
            max_buffer_bytes: Encoded bytes that may wait.
            announce: Send an empty batch on starting, so that readers learn of a retry.
        """
        for name, value in (
            ("max_batch_size", max_batch_size),
            ("max_buffer_items", max_buffer_items),
            ("max_buffer_bytes", max_buffer_bytes),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self._send = send
        self._workflow_id = workflow_id
        self._publisher_id = publisher_id
        self._converter = converter
        self._max_retry_seconds = max_retry_duration.total_seconds()
        self._announce = announce
        self._batcher = Batcher(
            interval=batch_interval.total_seconds(),
            max_batch_bytes=wire.MAX_BATCH_BYTES,
            max_batch_size=max_batch_size,
            max_items=max_buffer_items,
            max_bytes=max_buffer_bytes,
        )
        self._open = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pump: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._waiters: list[tuple[int, asyncio.Future[Placed]]] = []
        self._error: PublishError | None = None
        self.acknowledged = 0
        """Sequence of the last batch that the server took."""

    def publish(self, topic: str, value: Any, *, force_flush: bool = False) -> int:
        """Encode and buffer ``value``; return its number among this publisher's items."""
        self._check_loop()
        self._raise_error()
        entry = self._encode(topic, value)
        if not self._batcher.has_room(len(entry)):
            raise BufferFullError(
                self._workflow_id,
                f"the publisher's buffer is full ({len(self._batcher):,} items); the item was "
                "not taken. Await flush() between bursts",
            )
        number = self._batcher.add(entry)
        if force_flush:
            self._batcher.force()
        if self._open:
            self._ensure_pump()
        return number

    async def flush(self) -> None:
        """Wait until the server has taken everything published so far.

        Raises:
            PublishError: Something was not delivered, now or since the last report.
        """
        self._check_loop()
        self._raise_error()
        if not self._batcher and not self._in_flight():
            return
        await self.delivered(self._batcher.added - 1)

    async def delivered(self, number: int) -> Placed:
        """Wait until item ``number`` is taken; return its batch and place in it."""
        self._loop = loop = asyncio.get_running_loop()
        future: asyncio.Future[Placed] = loop.create_future()
        self._waiters.append((number, future))
        self._batcher.force()
        self._ensure_pump()
        return await future

    async def start(self) -> None:
        """Begin to send in the background."""
        if self._open:
            raise UsageError("This publisher is already in use by an `async with` block")
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._ensure_pump()

    async def stop(
        self,
        _type: type[BaseException] | None = None,
        raised: BaseException | None = None,
        _traceback: TracebackType | None = None,
    ) -> None:
        """Send what is buffered, then end the pump by agreement.

        An error of delivery is raised, or noted on ``raised``, the one on its way already.
        """
        self._open = False
        self._batcher.force()
        self._wake.set()
        if self._pump is not None:
            try:
                await asyncio.shield(self._pump)
            except asyncio.CancelledError:
                await self._abort()
                raise
        if self._error is not None and raised is not None:
            raised.add_note(str(self._error))
            logger.error("%s", self._error)
            self._error = None
        self._raise_error()

    async def _abort(self) -> None:
        """Give up after a second cancellation, saying what is lost."""
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump
        lost = self._batcher.clear()
        if lost:
            logger.warning(
                "Cancelled while publishing to workflow %r: %d item(s) were not delivered",
                self._workflow_id,
                lost,
            )

    def _in_flight(self) -> bool:
        return self._pump is not None and not self._pump.done() and not self._idle

    _idle = True

    def _ensure_pump(self) -> None:
        self._wake.set()
        if self._pump is None or self._pump.done():
            self._idle = False
            self._pump = asyncio.create_task(self._run(), name=f"publish {self._workflow_id}")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._announce:
                self._announce = False
                await self._deliver(self._batcher.take_empty())
            while True:
                self._wake.clear()
                due = self._batcher.due()
                if due is None:
                    if not self._open:
                        return
                    self._idle = True
                    await self._wake.wait()
                    self._idle = False
                elif due > loop.time() and self._open:
                    with suppress(TimeoutError):
                        async with asyncio.timeout_at(due):
                            await self._wake.wait()
                else:
                    await self._deliver(self._batcher.take(loop.time()))
        except _Undelivered as err:
            self._fail(err)
        finally:
            self._idle = True
            for _, future in self._waiters:
                future.cancel()
            self._waiters.clear()

    async def _deliver(self, batch: Outgoing) -> None:
        """Send ``batch`` until it is taken; under one sequence, so never twice."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._max_retry_seconds
        delay = _FIRST_RETRY_SECONDS
        payload = wire.batch_payload(batch.entries, self._publisher_id, batch.sequence)
        while True:
            try:
                await self._send(payload)
                break
            except RPCError as err:
                if not is_transient(err):
                    reason = translate(err, self._workflow_id)
                    reason.__cause__ = err
                    raise _Undelivered(batch, reason, timed_out=False) from err
                if loop.time() + delay > deadline:
                    reason = translate(err, self._workflow_id)
                    reason.__cause__ = err
                    raise _Undelivered(batch, reason, timed_out=True) from err
                logger.info("Publishing to %r is retried: %s", self._workflow_id, err)
            except Exception as err:
                # The user's codec, or an argument that the SDK refuses: not worth a retry.
                raise _Undelivered(batch, err, timed_out=False) from err
            await asyncio.sleep(delay * random.uniform(0.5, 1))
            delay = min(2 * delay, _LONGEST_RETRY_SECONDS)
        self.acknowledged = batch.sequence
        first = batch.last_index - len(batch.entries) + 1
        waiting: list[tuple[int, asyncio.Future[Placed]]] = []
        for number, future in self._waiters:
            if number > batch.last_index:
                waiting.append((number, future))
            elif not future.done():
                future.set_result((batch.sequence, number - first))
        self._waiters = waiting

    def _fail(self, undelivered: _Undelivered) -> None:
        count = len(undelivered.batch.entries) + self._batcher.clear()
        kind = PublishTimeoutError if undelivered.timed_out else PublishError
        error = kind(self._workflow_id, count, undelivered.reason)
        error.__cause__ = undelivered.reason
        waiting = [future for _, future in self._waiters if not future.done()]
        for future in waiting:
            future.set_exception(error)
        if not waiting:
            self._error = error

    def _raise_error(self) -> None:
        if self._error is not None:
            error, self._error = self._error, None
            if self._open:
                self._ensure_pump()
            raise error

    def _encode(self, topic: str, value: Any) -> str:
        try:
            payload = value if isinstance(value, Payload) else self._converter.to_payload(value)
        except Exception as err:
            raise EncodeError(topic, value, err) from err
        entry = wire.entry_json(topic, wire.encode_payload(payload))
        if len(entry) > wire.MAX_ITEM_BYTES:
            raise ItemTooLargeError(topic, len(entry), wire.MAX_ITEM_BYTES)
        return entry

    def _check_loop(self) -> None:
        if self._loop is None:
            return
        if self._loop.is_closed():
            raise UsageError("The event loop that this publisher ran on is closed")
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
        if getattr(self, "_batcher", None):
            warnings.warn(
                f"{len(self._batcher)} item(s) for workflow {self._workflow_id!r} were "
                "published but never sent: use `async with` or await flush()",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


Placed = tuple[int, int]
"""A batch's sequence and an item's index in it."""


class _Undelivered(Exception):
    def __init__(self, batch: Outgoing, reason: Exception, *, timed_out: bool) -> None:
        super().__init__(str(reason))
        self.batch = batch
        self.reason = reason
        self.timed_out = timed_out
