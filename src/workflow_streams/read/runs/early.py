"""Publish signals that come before their run has opened, and take effect when it does."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from ...log import wire
from ..history.pages import history_pages

EARLY_BYTES = 256 * 1024
"""So much is held of the signals of one run. With more, they are read once again when the run
opens: with no worker, nobody knows when that is, and a process may follow many such streams."""


def is_publish(event: HistoryEvent) -> bool:
    """Whether the event is a publish signal."""
    if not event.HasField("workflow_execution_signaled_event_attributes"):
        return False
    signaled = event.workflow_execution_signaled_event_attributes
    return signaled.signal_name == wire.PUBLISH_SIGNAL


class EarlySignals:
    """Those of one run, held or to be read again.

    Attributes:
        size: Bytes of those that are held.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.size = 0
        self._held: list[HistoryEvent] = []
        self._count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def add(self, event: HistoryEvent) -> None:
        """Take the next one."""
        if len(self._held) == self._count:
            self._held.append(event)
            self.size += event.ByteSize()
        self._count += 1
        if self.size > EARLY_BYTES:
            self._held, self.size = [], 0

    async def events(
        self, client: Client, workflow_id: str, run_id: str, before: int
    ) -> AsyncGenerator[HistoryEvent]:
        """Yield all of them, in order.

        Args:
            client: Temporal client.
            workflow_id: Workflow of the run.
            run_id: The run.
            before: Event id of what opens it.

        Raises:
            WorkflowStreamError: They are to be read again, and that fails.
        """
        if len(self._held) == self._count:
            for event in self._held:
                yield event
            return
        left = self._count
        async with aclosing(history_pages(client, workflow_id, run_id)) as pages:
            async for events in pages:
                for event in events:
                    if event.event_id < before and is_publish(event):
                        yield event
                        left -= 1
                        if not left:
                            return
