"""How long a call may wait for new events before it is renewed.

The server ends a call that waits when nothing has come for 20 s. When the history's shard moves to
another node, as each does when a cluster is updated, a call that waits at the node before hears
nothing of what comes meanwhile, and only the next call finds the new node. So where an event is
likely, calls get an earlier deadline. The server answers a second before it, with an empty page
whose token goes on; a node that is dead does not, and then the same token is asked for again.
"""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from enum import Enum, auto
from types import TracebackType
from typing import Protocol

from temporalio.client import WorkflowHistoryEventAsyncIterator
from temporalio.service import RPCError, RPCStatusCode

from ...temporal.rpc import has_no_room_to_wait
from .waiting_budget import Waiter

# Readers are to go on within 5 s. Sooner would cost more calls, and a second of it is the server's.
_SOON_SECONDS = 4.0

# Within the second that the server keeps for its answer, it does not wait: a call with no more time
# than that is answered at once. No other call tells of news for so little: it takes about half of
# what a description costs the server, and brings the events.
_LOOK_SECONDS = 1.0

# Most pauses within a stream are shorter: a tool's call, a model's thinking, an activity's retry.
# Of one that is quiet for longer, a next item is not awaited to the second.
_LIVELY_SECONDS = 60.0


class Read(Protocol):
    """Makes a call for a page of history."""

    def __call__(self, *, rpc_timeout: timedelta | None) -> WorkflowHistoryEventAsyncIterator:
        """Prepare the call, with a deadline."""
        ...


class Missed(Enum):
    """Why a call has brought nothing, not even an empty page."""

    LATE = auto()
    """It was not answered in time."""
    GAVE_WAY = auto()
    """Its part of the budget has gone to another stream."""
    REFUSED = auto()
    """The server has no room for it, or no time: what has come is to be read in another way."""


class Renewal:
    """Renews the waiting calls of one reader, one at a time, within the budget for them."""

    def __init__(self, waiter: Waiter) -> None:
        """Begin as the reader of an idle stream."""
        self._waiter = waiter
        self._lively_until = float("-inf")
        self._patience = 1
        self._unlimited: asyncio.Timeout | None = None

    async def fetch(self, read: Read, *, waits: bool) -> WorkflowHistoryEventAsyncIterator | Missed:
        """Fetch a page; see :class:`Missed` for what may come instead.

        Args:
            read: Prepares the call.
            waits: Whether nothing may have come yet. Only such calls are renewed, and only they
                need a part of the budget.
        """
        waiter, loop = self._waiter, asyncio.get_running_loop()
        looks = waits and not await waiter.turn()
        began = loop.time()
        seconds = None
        if waits and (looks or began < self._lively_until):
            seconds = (_LOOK_SECONDS if looks else _SOON_SECONDS) * self._patience
        pages = read(rpc_timeout=None if seconds is None else timedelta(seconds=seconds))
        limit = asyncio.timeout(None)
        try:
            async with limit:
                waiter.lets(limit if waits and not looks else None)
                self._unlimited = limit if waits and seconds is None else None
                await pages.fetch_next_page()
        except (RPCError, TimeoutError) as err:
            if has_no_room_to_wait(err):
                # Others that wait make room for it, as they do for a call that does not wait.
                waiter.refused()
                if waits:
                    return Missed.REFUSED
            if limit.expired() and not (looks or waiter.holds):
                return Missed.GAVE_WAY
            over = seconds is not None and loop.time() - began >= seconds
            if not limit.expired() and not (over and _is_late(err)):
                raise
            # It may also be a large page on a slow line, which takes its time.
            self._patience *= 2
            return Missed.REFUSED if looks else Missed.LATE
        finally:
            waiter.lets(None)
            self._unlimited = None
        self._patience = 1
        if events := pages.current_page:
            # What a waiting call brings is new, whatever this machine's clock says.
            age = 0.0 if waits else max(0.0, time.time() - events[-1].event_time.seconds)
            self._lively_until = max(self._lively_until, loop.time() + _LIVELY_SECONDS - age)
            waiter.was_lively(age)
        return pages

    def hasten(self) -> None:
        """Let the call that waits now not wait much longer: there is an event that it should bring.

        Where all is well it does so at once, and nothing is renewed.
        """
        now = asyncio.get_running_loop().time()
        self._lively_until = max(self._lively_until, now + _LIVELY_SECONDS)
        if self._unlimited is not None and self._unlimited.when() is None:
            self._unlimited.reschedule(now + _SOON_SECONDS * self._patience)
        self._waiter.wake()

    def wake(self) -> None:
        """Look for events at once if no call waits for them."""
        self._waiter.wake()

    def __enter__(self) -> None:
        """Begin to read a run."""

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """Give back the part of the budget."""
        self._waiter.leave()


def _is_late(error: Exception) -> bool:
    """Whether a call ended at its deadline; the SDK's own end of it counts as CANCELLED."""
    return isinstance(error, RPCError) and error.status in (
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DEADLINE_EXCEEDED,
    )
