"""Looks after live connections: silences, lifetimes, clients that read nothing, shutdown.

One task looks at all connections a few times a second. A timer for each event of each viewer would
cost more than sending the event.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from ..telemetry.metrics import LeaveReason

Call = LeaveReason | Literal["keep-alive"]
"""What a connection is told to do: to end, for a reason, or to break the silence."""

_PERIOD_SECONDS = 0.25


@dataclass(eq=False, slots=True)
class Watch:
    """A live connection, as the patrol sees it. Times are those of the event loop.

    Attributes:
        task: The task that sends to the client. It is cancelled to make it look at ``call``.
        until: When the connection has to end.
        reason: Why it ends then.
        busy_since: Since when a write has been waiting for the client; None if none is waiting.
        quiet_since: When something was last sent.
        call: What the connection is told to do; see :meth:`take`.
        over: Whether the connection has ended, so that it must not be called any more.
    """

    task: asyncio.Task[object]
    until: float
    reason: LeaveReason
    quiet_since: float
    busy_since: float | None = None
    call: Call | None = None
    over: bool = False

    def take(self) -> Call:
        """Return the call for which the task was cancelled, and undo the cancellation.

        Raises:
            CancelledError: There is no call, so the task was cancelled for another reason.
        """
        call, self.call = self.call, None
        if call is None:
            raise asyncio.CancelledError
        self.task.uncancel()
        return call


class Patrol:
    """Tells connections what to do when the time has come."""

    def __init__(self, *, keep_alive_seconds: float, write_seconds: float) -> None:
        """Set the times.

        Args:
            keep_alive_seconds: The longest silence.
            write_seconds: The longest time that one write may take.
        """
        self._keep_alive_seconds = keep_alive_seconds
        self._write_seconds = write_seconds
        self._watched: set[Watch] = set()
        self._closing = False

    def add(self, watch: Watch) -> None:
        """Start to look after a connection."""
        self._watched.add(watch)
        if self._closing:
            _call(watch, "shutdown")

    def remove(self, watch: Watch) -> None:
        """Undo :meth:`add`."""
        self._watched.discard(watch)

    def call(self, watch: Watch, call: Call) -> None:
        """Tell one connection what to do, now."""
        _call(watch, call)

    def close(self) -> None:
        """End all connections."""
        self._closing = True
        for watch in list(self._watched):
            _call(watch, "shutdown")

    async def run(self) -> None:
        """Look at all connections again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            now = loop.time()
            for watch in list(self._watched):
                due = self._due(watch, now)
                if due is not None:
                    _call(watch, due)

    def _due(self, watch: Watch, now: float) -> Call | None:
        if watch.busy_since is not None:
            return "slow" if now - watch.busy_since > self._write_seconds else None
        if now >= watch.until:
            return watch.reason
        if now - watch.quiet_since >= self._keep_alive_seconds:
            return "keep-alive"
        return None


def _call(watch: Watch, call: Call) -> None:
    # A call to end that has not been taken yet stays. One to break the silence is replaced.
    if not watch.over and watch.call in (None, "keep-alive"):
        already = watch.call is not None
        watch.call = call
        if not already:
            watch.task.cancel()
