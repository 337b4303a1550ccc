"""Bounds how many readers of a process read histories beside their feeds at the same time.

Each of them has the server send pages of megabytes, and holds one. So they take turns: what one
reader waits for is as little as one page of each reader before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

CALLS_AT_ONCE = 4
"""How many may wait for the server at once, per event loop."""

# A reader may come to where the history goes no further yet. Its call then waits for new events,
# and must not keep others from reading what is there.
_LONGEST_SECONDS = 5.0

_calls: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@asynccontextmanager
async def turn() -> AsyncIterator[None]:
    """Make a call within the block, when those that came first have been made.

    A block that takes longer than five seconds lets the next one begin.
    """
    loop = asyncio.get_running_loop()
    calls = _calls.get(loop)
    if calls is None:
        calls = _calls[loop] = asyncio.Semaphore(CALLS_AT_ONCE)
    await calls.acquire()
    lease = _Lease(calls)
    timer = loop.call_later(_LONGEST_SECONDS, lease.end)
    try:
        yield
    finally:
        timer.cancel()
        lease.end()


class _Lease:
    """Gives a semaphore back once, whoever is first to say so."""

    def __init__(self, of: asyncio.Semaphore) -> None:
        self._of: asyncio.Semaphore | None = of

    def end(self) -> None:
        of, self._of = self._of, None
        if of is not None:
            of.release()
