"""Sends what workflow code publishes to another workflow's stream, one signal at a time.

The server does not keep the order of signals that a workflow sends to another: each has to be
taken before the next may go. So what is published while one is on its way goes along with the next.

Which signals are sent must not depend on how a replay groups the messages that come in. So a signal
becomes a command of the workflow at once: in the step that publishes, or in the step which learns
that the signal before it has been taken. A separate asyncio task would have its turn after other
steps, or before them.

For the same reason, what a workflow may send at once is bounded by what has not been answered yet,
and not by what the current workflow task has sent: an answer always comes in a later task, whereas
a replay may take several tasks as one.

Runs in the workflow sandbox.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from ...log import wire
from ...log.batches import batch_payload, batches_of
from ...log.entries import entries_bytes
from ...log.wire import Entry

MAX_IN_FLIGHT_BYTES = 960 * 1024
"""What all streams of a workflow may have in flight, which also bounds the size of an item.

A task's commands go to the server in one message of 4 MiB, of which the workflow's own stream and
answers to polls may take the rest. The server ends a workflow whose task brings more.
"""
# Around the items of a signal: ids, names, and what the server's protocol adds. It also bounds how
# many signals are in flight; at 2,000 the server would fail the workflow's task.
_SIGNAL_OVERHEAD = 1024

# How long a batch is tried again which is refused since the other workflow's run has had as many
# signals as a run may have: as long as publishers outside of workflows try by default. The pauses
# are added up, since a replay may see another time.
_MAX_RETRY_SECONDS = 600
_FIRST_PAUSE_SECONDS = 1
_LONGEST_PAUSE_SECONDS = 30
# What the SDK makes of the cause in the event SignalExternalWorkflowExecutionFailed. It stands here
# and not in temporal/messages.py, which the sandbox does not load; the tests of that cover it.
_SIGNALS_USED_UP = "SignalCountLimitExceeded"

_IN_FLIGHT = "_workflow_streams_in_flight"


class Sending(Protocol):
    """A stream of another workflow, as long as this one publishes to it."""

    @property
    def is_sending(self) -> bool:
        """Whether the server has not taken all items yet."""
        ...

    async def flush(self) -> None:
        """Wait until it has."""
        ...


class InFlight:
    """What all external streams of a workflow have in flight together: :func:`in_flight_here`.

    Attributes:
        streams: Those whose block is entered.
    """

    def __init__(self) -> None:
        """Begin with nothing in flight."""
        self.streams: list[Sending] = []
        self._bytes = 0
        self._waiting: deque[Signalling] = deque()

    def admit(self, signalling: Signalling) -> None:
        """Have it send its next batch: at once, or when there is room and its turn has come."""
        self._waiting.append(signalling)
        self._send_what_fits()

    def settle(self, size: int) -> None:
        """Give back the room of a batch that has been answered."""
        self._bytes -= size
        self._send_what_fits()

    def _send_what_fits(self) -> None:
        while self._waiting:
            size = self._waiting[0].next_bytes
            if self._bytes and self._bytes + size > MAX_IN_FLIGHT_BYTES:
                return
            self._bytes += size
            self._waiting.popleft().send()


def in_flight_here() -> InFlight:
    """Return what the current workflow's streams share.

    It is kept on the SDK's instance of the workflow, so that it lives as long as that. A global
    would not do: without a sandbox, all workflows of a worker share it.
    """
    loop = asyncio.get_running_loop()
    found = getattr(loop, _IN_FLIGHT, None)
    if found is None:
        found = InFlight()
        setattr(loop, _IN_FLIGHT, found)
    return found


class Signalling:
    """Batches of one publisher, on their way to one workflow.

    Attributes:
        waiting_bytes: What is not part of a batch yet, in encoded bytes.
        lost: How many items did not get through, as far as nobody has been told of them yet.
        reason: Why they did not.
    """

    def __init__(self, workflow_id: str, publisher_id: str) -> None:
        """Send to the current run of a workflow."""
        self._handle = workflow.get_external_workflow_handle(workflow_id)
        self._publisher_id = publisher_id
        self._in_flight = in_flight_here()
        self._sequence = 0
        self._queue: list[Entry] = []
        # The batch that has been sent and not been taken; it may have been refused for a while.
        self._on_its_way: list[Entry] | None = None
        self._announces = False
        # Whether a batch is on its way, waits to be tried again, or for room.
        self._busy = False
        self._paused = 0
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
        return len(self._queue) + going + self._announces

    @property
    def next_bytes(self) -> int:
        """What the next signal brings, with what is around its items."""
        return entries_bytes(self._next()) + _SIGNAL_OVERHEAD

    def announce(self) -> None:
        """Send an empty batch, which tells readers of a retry at once. To be called first."""
        self._announces = True
        self._send_next()

    def publish(self, entries: list[Entry]) -> None:
        """Send items, as soon as all before them have been taken."""
        self._queue += entries
        self.waiting_bytes += entries_bytes(entries)
        self._send_next()

    def send(self) -> None:
        """Send the next batch, or once more the one that was refused."""
        if self._on_its_way is None:
            batch = self._next()
            del self._queue[: len(batch)]
            self.waiting_bytes -= entries_bytes(batch)
            self._announces = False
            self._on_its_way = batch
            self._sequence += 1
        payload = batch_payload(self._on_its_way, self._publisher_id, self._sequence)
        run_in_steps(self._handle.signal(wire.PUBLISH_SIGNAL, RawValue(payload)), self._on_answer)

    async def settled(self) -> None:
        """Wait until all that was published so far has been taken or is lost."""
        if self.waiting:
            check_not_evicted()
            # A future and no condition: the SDK looks at conditions after everything that is
            # ready, so whoever waits would be woken at another place in a replay that takes
            # several steps at once.
            told = asyncio.get_running_loop().create_future()
            self._flushing.append((self._settled + self.waiting, told))
            await told

    def take_lost(self) -> tuple[int, Exception | None]:
        """Return how many items were lost since the last call, and why."""
        lost = self.lost, self.reason
        self.lost, self.reason = 0, None
        return lost

    def _next(self) -> list[Entry]:
        """What the next signal brings: the refused batch, the announcement, or a new batch."""
        if self._on_its_way is not None:
            return self._on_its_way
        return [] if self._announces else next(batches_of(self._queue))

    def _send_next(self) -> None:
        if not self._busy and (self._announces or self._queue):
            self._busy = True
            self._in_flight.admit(self)

    def _on_answer(self, error: Exception | None) -> None:
        size = self.next_bytes
        if error is not None and (pause := self._pause_after(error)):
            if not self._paused:
                workflow.logger.warning(
                    "Publishing to workflow %r is retried, as its run has had all signals that a "
                    "run may have, and has not continued as new yet",
                    self._handle.id,
                )
            self._paused += pause
            asyncio.get_running_loop().call_later(pause, self._in_flight.admit, self)
            self._in_flight.settle(size)
            return
        before = self.waiting
        if error is not None:
            # Later items must not be in the stream without these.
            self.lost += self.items
            self.reason = error
            self._queue, self.waiting_bytes = [], 0
        self._on_its_way = None
        self._busy = False
        self._paused = 0
        self._settled += before - self.waiting
        self._in_flight.settle(size)
        self._send_next()
        while self._flushing and self._flushing[0][0] <= self._settled:
            _, told = self._flushing.pop(0)
            if not told.done():
                told.set_result(None)

    def _pause_after(self, error: Exception) -> int:
        """Return after how many seconds the batch is to be tried again; 0 if it is not to be."""
        if not signals_used_up(error):
            return 0
        # 1 s, 1, 2, 4 and so on: each is as long as all before it together.
        pause = min(max(self._paused, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        return min(pause, _MAX_RETRY_SECONDS - self._paused)


def signals_used_up(error: Exception) -> bool:
    """Whether a signal is refused because the other workflow's run has had its 10,000."""
    return isinstance(error, ApplicationError) and error.type == _SIGNALS_USED_UP


def check_not_evicted() -> None:
    """Raise the SDK's error if the worker is evicting the workflow, and cancels its tasks for that.

    Code that waited then, in order to tidy up, would keep the worker from doing so.
    """
    workflow.random()


def run_in_steps(
    call: Coroutine[Any, Any, None], on_end: Callable[[Exception | None], None]
) -> None:
    """Run a coroutine at once up to its first wait, and on to the next one when a wait is over.

    An asyncio task would begin it later, after everything else that the current step does.
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
                waited._asyncio_future_blocking = False  # noqa: SLF001
                waited.add_done_callback(step)

    step()
