"""Puts the batches that a process sends to a workflow at the same time into one signal.

Ten activities that stream into one workflow are ten publishers. Each signal is an event of the
workflow's history, with a workflow task of three more, and a run takes 10,000 signals. So the
publishers of a process take their turns together, and what they send then goes as one signal. Each
batch in it is judged by itself.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHandle

from ..log import wire
from ..log.compact import MOST_BATCHES, SIGNAL_BOUNDS, compact_payload
from ..log.wire import Batch
from ..read.history.waiting_budget import wake_readers
from ..read.waiting import SharedTask
from ..temporal.handles import client_of
from .message import Message
from .pacing import pace_of

Handle: TypeAlias = WorkflowHandle[Any, Any]
Signal: TypeAlias = Callable[[Payload], Awaitable[None]]

# Workflows of a client whose publishers are counted together.
_MOST_OUTBOXES = 1_000


class Outbox:
    """Sends for all publishers to one workflow: those of an event loop and a client share it.

    It holds neither the client nor a handle of it, since it is kept for as long as the client is.
    """

    def __init__(self) -> None:
        """Begin with nothing sent."""
        self._looking: SharedTask[bool] | None = None
        self._turn_at = -math.inf
        self._interval = math.inf
        self._open: dict[str, _Group] = {}

    def next_turn(self, interval: float) -> float:
        """Return from when on a publisher may take its next batch, in the event loop's time.

        Args:
            interval: The publisher's shortest time between two batches, in seconds. The shortest
                one of all publishers is that between two turns.
        """
        self._interval = min(self._interval, interval)
        return self._turn_at + self._interval

    def take_turn(self) -> None:
        """Note that publishers take their batches now."""
        self._turn_at = asyncio.get_running_loop().time()

    async def look(self, look: Callable[[], Coroutine[Any, Any, bool]]) -> bool:
        """Look at the workflow, or wait for the look that another publisher has begun.

        Raises:
            Exception: What the look raises, to all who wait for it.
        """
        looking = self._looking = self._looking or SharedTask(look())
        try:
            return await looking.result()
        finally:
            if not looking.waiting and self._looking is looking:
                self._looking = None

    async def send(
        self,
        batch: Message,
        handle: Handle,
        signal: Signal,
        *,
        to: str,
        compact: bool,
        patience: float,
    ) -> None:
        """Send a batch, together with those that others send right now; wait until it is taken.

        Args:
            batch: The batch.
            handle: The workflow.
            signal: Sends a signal to the stream.
            to: What tells that stream from others of the workflow's id; empty if nothing does.
            compact: Whether it is read in the compact form; else it goes alone.
            patience: Seconds that the publisher has for it.

        Raises:
            RunFullError: The run is nearly full, and does not roll over.
            Exception: What ``signal`` raises, to all whose batches went along.
        """
        group = self._open.get(to) if compact else None
        if group is None or not group.has_room(batch):
            group = _Group(signal, patience)
            if compact:
                self._open[to] = group
            group.add(batch)
            group.sending = SharedTask(self._leave(to, group, handle, compact=compact))
        else:
            group.add(batch)
        try:
            await group.sending.result()
        finally:
            if not group.sending.waiting:
                self._close(to, group)  # it is not sent any more, so nobody may join it

    async def _leave(self, to: str, group: _Group, handle: Handle, *, compact: bool) -> None:
        """Send a group, once all have added theirs that have their turn together."""
        await asyncio.sleep(0)  # some event loops begin a task where it is made
        self._close(to, group)
        payload = group.payload(compact=compact)
        pace = pace_of(handle)
        async with pace.sending(handle, len(payload.data), patience=group.patience):
            await group.signal(payload)
        wake_readers(client_of(handle), handle.id)

    def _close(self, to: str, group: _Group) -> None:
        if self._open.get(to) is group:
            del self._open[to]


class _Group:
    """Batches that go as one signal.

    Attributes:
        signal: Sends it.
        patience: Seconds that the first of their publishers has for it.
        sending: Sends them, for as long as one of their publishers waits for that.
    """

    sending: SharedTask[None]

    def __init__(self, signal: Signal, patience: float) -> None:
        self.signal = signal
        self.patience = patience
        self._batches: list[Message] = []
        self._size = self._items = self._longest = 0

    def has_room(self, batch: Message) -> bool:
        """Whether a batch fits in as well."""
        return (
            self._size + batch.size <= wire.MAX_BATCH_BYTES
            and self._items + len(batch.entries) <= SIGNAL_BOUNDS.items
            and len(self._batches) < MOST_BATCHES
            and self._told_with(batch) <= SIGNAL_BOUNDS.body_bytes
        )

    def _told_with(self, batch: Message) -> int:
        return max(self._longest, batch.longest) * (self._items + len(batch.entries))

    def add(self, batch: Message) -> None:
        """Add a batch."""
        self._longest = max(self._longest, batch.longest)
        self._batches.append(batch)
        self._size += batch.size
        self._items += len(batch.entries)

    def payload(self, *, compact: bool) -> Payload:
        """Return the argument of the signal."""
        if len(self._batches) == 1:
            return self._batches[0].payload(compact=compact)
        return compact_payload(
            [Batch(batch.entries, batch.publisher_id, batch.sequence) for batch in self._batches]
        )


_Key = tuple[asyncio.AbstractEventLoop, str, str | None]
_outboxes: WeakKeyDictionary[Client, OrderedDict[_Key, Outbox]] = WeakKeyDictionary()
_lock = threading.Lock()


def outbox_of(handle: Handle) -> Outbox:
    """Return the outbox that all publishers to a workflow share on an event loop and client.

    A client has its own codec and interceptors, so each has outboxes of its own. Those of the
    workflows that have been idle for longest are dropped.
    """
    key = asyncio.get_running_loop(), handle.id, handle.run_id
    with _lock:
        outboxes = _outboxes.setdefault(client_of(handle), OrderedDict())
        if key not in outboxes:
            for old in [old for old in outboxes if old[0].is_closed()]:
                del outboxes[old]
            outboxes[key] = Outbox()
        outboxes.move_to_end(key)
        while len(outboxes) > _MOST_OUTBOXES:
            outboxes.popitem(last=False)
        return outboxes[key]
