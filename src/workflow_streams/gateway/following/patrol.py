"""Looks after the live connections: silence, life time, clients that take nothing, shutdown.

One task looks at all of them a few times a second. A timer for each event of each viewer would
cost more than the event.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from ..telemetry.metrics import LeaveReason

Call = LeaveReason | Literal["keep-alive"]
"""What a connection is called upon to do: to leave, for a reason, or to break the silence."""

_PERIOD_SECONDS = 0.25


@dataclass(eq=False, slots=True)
class Watch:
    """A live connection, as the patrol sees it. Times are those of the event loop.

    Attributes:
        task: Sends to the client; cancelled to call upon it.
        until: When the connection is to end.
        reason: Why it ends then.
        busy_since: Since when a write has been waiting for the client; None if none is.
        quiet_since: When something was sent last.
        call: What it is called upon to do; see :meth:`take`.
        over: Whether it has ended, so that nobody is to call any more.
    """

    task: asyncio.Task[object]
    until: float
    reason: LeaveReason
    quiet_since: float
    busy_since: float | None = None
    call: Call | None = None
    over: bool = False

    def take(self) -> Call:
        """Take the call because of which the task was cancelled.

        Raises:
            CancelledError: There is none: somebody else cancelled it.
        """
        call, self.call = self.call, None
        if call is None:
            raise asyncio.CancelledError
        self.task.uncancel()
        return call


class Patrol:
    """Calls upon connections when it is time to."""

    def __init__(self, *, keep_alive_seconds: float, write_seconds: float) -> None:
        """Set the times.

        Args:
            keep_alive_seconds: Longest silence.
            write_seconds: Longest time that one write may take.
        """
        self._keep_alive_seconds = keep_alive_seconds
        self._write_seconds = write_seconds
        self._watched: set[Watch] = set()
        self._closing = False

    def add(self, watch: Watch) -> None:
        """Begin to look after a connection."""
        self._watched.add(watch)
        if self._closing:
            _call(watch, "shutdown")

    def remove(self, watch: Watch) -> None:
        """Undo :meth:`add`."""
        self._watched.discard(watch)

    def call(self, watch: Watch, call: Call) -> None:
        """Call upon one connection now."""
        _call(watch, call)

    def close(self) -> None:
        """Send everybody away."""
        self._closing = True
        for watch in list(self._watched):
            _call(watch, "shutdown")

    async def run(self) -> None:
        """Walk the rounds until cancelled."""
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
    # A call that has not been taken yet stands; to leave is more than to break the silence.
    if not watch.over and watch.call in (None, "keep-alive"):
        already = watch.call is not None
        watch.call = call
        if not already:
            watch.task.cancel()
