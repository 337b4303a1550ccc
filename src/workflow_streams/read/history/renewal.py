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
from typing import Protocol

from temporalio.client import WorkflowHistoryEventAsyncIterator
from temporalio.service import RPCError, RPCStatusCode

# Readers are to go on within 5 s. Sooner would cost more calls, and a second of it is the server's.
_SOON_SECONDS = 4.0

# Most pauses within a stream are shorter: a tool's call, a model's thinking, an activity's retry.
# Of one that is quiet for longer, a next item is not awaited to the second.
_LIVELY_SECONDS = 60.0


class Read(Protocol):
    """Makes a call for a page of history."""

    def __call__(self, *, rpc_timeout: timedelta | None) -> WorkflowHistoryEventAsyncIterator:
        """Prepare the call, with a deadline."""
        ...


class Renewal:
    """Renews the waiting calls of one reader, one at a time."""

    def __init__(self) -> None:
        """Begin as the reader of an idle stream."""
        self._lively_until = float("-inf")
        self._seconds = _SOON_SECONDS
        self._unlimited: asyncio.Timeout | None = None

    async def fetch(self, read: Read, *, waits: bool) -> WorkflowHistoryEventAsyncIterator | None:
        """Fetch a page; return None if the call has to be renewed.

        Args:
            read: Prepares the call.
            waits: Whether nothing may have come yet. Only such calls are renewed.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        seconds = self._seconds if waits and began < self._lively_until else None
        pages = read(rpc_timeout=None if seconds is None else timedelta(seconds=seconds))
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._unlimited = limit if waits and seconds is None else None
                await pages.fetch_next_page()
        except (RPCError, TimeoutError) as err:
            over = seconds is not None and loop.time() - began >= seconds
            if not limit.expired() and not (over and _is_late(err)):
                raise
            # It may also be a large page on a slow line, which takes its time.
            self._seconds *= 2
            return None
        finally:
            self._unlimited = None
        self._seconds = _SOON_SECONDS
        if events := pages.current_page:
            # What a waiting call brings is new, whatever this machine's clock says.
            age = 0.0 if waits else max(0.0, time.time() - events[-1].event_time.seconds)
            self._lively_until = max(self._lively_until, loop.time() + _LIVELY_SECONDS - age)
        return pages

    def hasten(self) -> None:
        """Let the call that waits now not wait much longer: there is an event that it should bring.

        Where all is well it does so at once, and nothing is renewed.
        """
        now = asyncio.get_running_loop().time()
        self._lively_until = max(self._lively_until, now + _LIVELY_SECONDS)
        if self._unlimited is not None and self._unlimited.when() is None:
            self._unlimited.reschedule(now + self._seconds)


def _is_late(error: Exception) -> bool:
    """Whether a call ended at its deadline; the SDK's own end of it counts as CANCELLED."""
    return isinstance(error, RPCError) and error.status in (
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DEADLINE_EXCEEDED,
    )
