"""Where batches go: to a workflow, as signals, or into memory, for activities under test."""

from __future__ import annotations

from typing import Any, Protocol

from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHandle
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode

from ..errors import StreamClosedError, StreamGoneError
from ..log import wire
from ..temporal.bound import BoundWorkflow
from ..temporal.handles import client_of
from .host_check import HostCheck, forget_host
from .landed import last_landed
from .message import Message
from .outbox import Outbox, outbox_of


class Sink(Protocol):
    """Takes the batches of one stream. A batch that is delivered twice counts once."""

    @property
    def reads_compact(self) -> bool:
        """Whether they are known to be read in the compact form."""
        ...

    def next_turn(self, interval: float) -> float:
        """Return from when on a batch may be taken that nobody waits for, in the loop's time.

        Args:
            interval: The publisher's shortest time between two batches, in seconds.
        """
        ...

    def take_turn(self) -> None:
        """Note that such a batch is taken now."""
        ...

    async def deliver(self, batch: Message) -> None:
        """Deliver one batch.

        Raises:
            Exception: It is not certain that the batch was taken.
        """
        ...

    async def last_landed(self, publisher_id: str, sequence: int) -> int | None:
        """Return which of a publisher's batches up to ``sequence`` is the last in the stream.

        Those after it came when the stream had been closed. None if that cannot be told any more.
        All of them have been delivered.

        Raises:
            ServerUnavailableError: It could not be found out in time.
        """
        ...


class SignalSink:
    """Signals batches to a workflow, no faster than its runs can take them.

    Once it has signalled to a hosted stream, it does not signal to another one that has been made
    in its place, until the loss has been told.
    """

    def __init__(self, handle: WorkflowHandle[Any, Any], *, patience: float) -> None:
        """Prepare; ``patience`` is how many seconds a batch is tried for."""
        self._handle = handle
        self._patience = patience
        self._host = HostCheck(handle)
        self._stream: BoundWorkflow | None = None
        # The one before that.
        self._left: BoundWorkflow | None = None

    @property
    def _outbox(self) -> Outbox:
        return outbox_of(self._handle)

    def next_turn(self, interval: float) -> float:
        """See :meth:`Sink.next_turn`."""
        return self._outbox.next_turn(interval)

    def take_turn(self) -> None:
        """See :meth:`Sink.take_turn`."""
        self._outbox.take_turn()

    @property
    def reads_compact(self) -> bool:
        """Whether the workflow is known to read the compact form."""
        self._host.recall()
        return self._host.reads_compact

    async def deliver(self, batch: Message) -> None:
        """Deliver one batch.

        Raises:
            RunFullError: The run takes no more before its workflow has continued as new.
            RPCError: The server has not taken it, or has not answered.
            StreamNotFoundError: The workflow hosts no stream.
            StreamGoneError: The stream has been deleted or has expired.
            StreamClosedError: The stream has been closed.
            StreamUnfinishedError: What the stream was made with has not all been written yet.
        """
        try:
            await self._host.before(self._outbox.look)
            await self._send(batch)
        except (StreamClosedError, StreamGoneError, RPCError) as err:
            if not isinstance(err, RPCError) or err.status == RPCStatusCode.NOT_FOUND:
                # Whoever is told so may publish to what is made in its place.
                self._look_anew()
                self._leave()
            raise

    async def _send(self, batch: Message) -> None:
        stream = self._stream or self._host.hosted
        if stream is None or self._handle.run_id is not None:
            await self._send_to(None, batch)
            return
        try:
            await self._send_to(stream, batch)
        except StreamGoneError:
            if self._stream is not None:
                raise
            # What this process knew of the name was old; nothing has been sent to that stream.
            self._look_anew()
            await self._host.before(self._outbox.look)
            stream = self._host.hosted
            await self._send_to(stream, batch)
        self._stream = stream

    async def _send_to(self, stream: BoundWorkflow | None, batch: Message) -> None:
        """Send a batch to a hosted stream, or to whatever has the workflow id."""

        async def signal(payload: Payload) -> None:
            if stream is None:
                await self._handle.signal(wire.PUBLISH_SIGNAL, RawValue(payload))
            else:
                await stream.signal(wire.PUBLISH_SIGNAL, [RawValue(payload)])

        await self._outbox.send(
            batch,
            self._handle,
            signal,
            to="" if stream is None else stream.first_run_id,
            compact=self._host.reads_compact,
            patience=self._patience,
        )

    def _look_anew(self) -> None:
        forget_host(client_of(self._handle), self._handle.id)
        self._host = HostCheck(self._handle)

    async def last_landed(self, publisher_id: str, sequence: int) -> int | None:
        """See :meth:`Sink.last_landed`; only hosted streams can be closed."""
        stream = self._stream or self._left
        if stream is None:
            return sequence
        landed = await last_landed(stream, publisher_id, sequence)
        if landed != sequence:
            self._look_anew()
            self._leave()
        self._left = None
        return landed

    def _leave(self) -> None:
        """Publish no more to the stream so far; what it has taken has still to be looked up."""
        self._left, self._stream = self._stream or self._left, None
