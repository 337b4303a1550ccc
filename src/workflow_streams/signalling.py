"""Sends what workflow code publishes to another workflow's stream, a signal at a time.

The server does not keep the order of signals that a workflow sends to another: each has to be
taken before the next may go. So what is published while one is on its way goes along with the next.

Which signals there are must not depend on how a replay groups what comes in. So a signal is a
command of the workflow at once, in the step that publishes or by which the one before is known to
be taken; a task of its own would have its turn after other steps, or before. Runs in the workflow
sandbox.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

from . import wire
from .wire import Entry


class Signalling:
    """Batches of one publisher, on their way to one workflow.

    Attributes:
        waiting_bytes: What is not on its way yet, in encoded bytes.
        lost: Items that did not get through, and have not been told of yet.
        reason: Why not.
    """

    def __init__(self, workflow_id: str, publisher_id: str) -> None:
        """Send to the current run of a workflow."""
        self._handle = workflow.get_external_workflow_handle(workflow_id)
        self._publisher_id = publisher_id
        self._sequence = 0
        self._queue: list[Entry] = []
        self._on_its_way: list[Entry] | None = None
        self._settled = 0
        self._flushing: list[tuple[int, asyncio.Future[None]]] = []
        self.waiting_bytes = 0
        self.lost = 0
        self.reason: Exception | None = None

    @property
    def items(self) -> int:
        """How many items the server has not taken yet."""
        return len(self._queue) + len(self._on_its_way or ())

    @property
    def waiting(self) -> int:
        """How many items the server has not taken yet, and announcements."""
        going = 0 if self._on_its_way is None else len(self._on_its_way) or 1
        return len(self._queue) + going

    def announce(self) -> None:
        """Send an empty batch, which tells readers of a retry at once. To be called first."""
        self._send([])

    def publish(self, entries: list[Entry]) -> None:
        """Send items, as soon as all before them have been taken."""
        self._queue += entries
        self.waiting_bytes += wire.entries_bytes(entries)
        self._send_next()

    async def settled(self) -> None:
        """Wait until all that was published so far has been taken or is lost."""
        if self.waiting:
            check_not_evicted()
            # No condition: the SDK looks at these after all that is ready, so that what is woken
            # would have another place in a replay which takes several steps at once.
            told = asyncio.get_running_loop().create_future()
            self._flushing.append((self._settled + self.waiting, told))
            await told

    def take_lost(self) -> tuple[int, Exception | None]:
        """Return how many items were lost since the last call, and why."""
        lost = self.lost, self.reason
        self.lost, self.reason = 0, None
        return lost

    def _send_next(self) -> None:
        if self._on_its_way is None and self._queue:
            batch = next(wire.batches_of(self._queue))
            del self._queue[: len(batch)]
            self.waiting_bytes -= wire.entries_bytes(batch)
            self._send(batch)

    def _send(self, batch: list[Entry]) -> None:
        self._sequence += 1
        self._on_its_way = batch
        entries = (wire.entry_json(*entry) for entry in batch)
        payload = wire.batch_payload(entries, self._publisher_id, self._sequence)
        run_in_steps(self._handle.signal(wire.PUBLISH_SIGNAL, RawValue(payload)), self._on_answer)

    def _on_answer(self, error: Exception | None) -> None:
        before = self.waiting
        if error is not None:
            # What comes behind must not stand where this does not.
            self.lost += self.items
            self.reason = error
            self._queue, self.waiting_bytes = [], 0
        self._on_its_way = None
        self._settled += before - self.waiting
        self._send_next()
        while self._flushing and self._flushing[0][0] <= self._settled:
            _, told = self._flushing.pop(0)
            if not told.done():
                told.set_result(None)


def check_not_evicted() -> None:
    """Raise what the SDK does where a worker lets go of a workflow and cancels its tasks for that.

    Whoever waits then, in order to tidy up, keeps the worker from it.
    """
    workflow.random()


def run_in_steps(
    call: Coroutine[Any, Any, None], on_end: Callable[[Exception | None], None]
) -> None:
    """Run a coroutine up to its first wait at once, and each time on when that is over.

    A task would run it later, after what else the current step does.
    """
    context = contextvars.copy_context()

    def step(_waited: asyncio.Future[Any] | None = None) -> None:
        try:
            waited = context.run(call.send, None)
        except StopIteration:
            on_end(None)
        except Exception as err:
            on_end(err)
        else:
            if waited is None:
                asyncio.get_running_loop().call_soon(step)
            else:
                # What a task does with a future that its coroutine waits for.
                waited._asyncio_future_blocking = False
                waited.add_done_callback(step)

    step()
