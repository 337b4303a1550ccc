"""Where batches go: to a workflow, as signals, or into memory, for activities under test."""

from __future__ import annotations

from typing import Any, Protocol

from temporalio.client import WorkflowHandle
from temporalio.common import RawValue

from ..log import wire
from .host_check import HostCheck
from .message import Message
from .pacing import pace_of


class Sink(Protocol):
    """Takes the batches of one stream. A batch that is delivered twice counts once."""

    @property
    def reads_compact(self) -> bool:
        """Whether they are known to be read in the compact form."""
        ...

    async def deliver(self, batch: Message) -> None:
        """Deliver one batch.

        Raises:
            Exception: It is not certain that the batch was taken.
        """
        ...


class SignalSink:
    """Signals batches to a workflow, no faster than its runs can take them."""

    def __init__(self, handle: WorkflowHandle[Any, Any], *, patience: float) -> None:
        """Prepare; ``patience`` is how many seconds a batch is tried for."""
        self._handle = handle
        self._patience = patience
        self._host = HostCheck(handle)

    @property
    def reads_compact(self) -> bool:
        """Whether the workflow is known to read the compact form."""
        return self._host.reads_compact

    async def deliver(self, batch: Message) -> None:
        """Deliver one batch.

        Raises:
            RunFullError: The run takes no more before its workflow has continued as new.
            RPCError: The server has not taken it, or has not answered.
            StreamNotFoundError: The workflow hosts no stream.
            StreamUnfinishedError: What the stream was made with has not all been written yet.
        """
        await self._host.before()
        payload = batch.payload(compact=self._host.reads_compact)
        pace = pace_of(self._handle)
        async with pace.sending(self._handle, len(payload.data), patience=self._patience):
            await self._handle.signal(wire.PUBLISH_SIGNAL, RawValue(payload))
