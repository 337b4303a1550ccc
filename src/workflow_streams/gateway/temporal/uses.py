"""Tells streams with a time to live that they are read, so that they do not expire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import StreamClosedError, StreamNotFoundError, WorkflowStreamError
from ...hosted.host import TOUCH_SIGNAL
from ...read.feeds.feed import Feed
from .link import TemporalLink
from .streams import Stream

logger = logging.getLogger("workflow_streams.gateway")

# A stream is told of reads once in this part of its time to live, and no more often than once a
# second if that is often enough.
_PART = 0.1
_SECONDS = 1.0
_LARGEST_PART = 1 / 3
_LOOK_SECONDS = 0.25
_AT_ONCE = 20
# Of so many streams that nobody reads at the moment it is known when they were told.
_MOST_KNOWN = 10_000


def pause_of(ttl_seconds: float) -> float:
    """Return after how many seconds a stream is told again that it is read."""
    return max(ttl_seconds * _PART, min(_SECONDS, ttl_seconds * _LARGEST_PART))


@dataclass(slots=True)
class _Use:
    """A stream that is read, or was not long ago; ``told`` is when it was told so."""

    feed: Feed
    pause: float
    told: float


class Uses:
    """The streams with a time to live that are read by way of one gateway.

    All reads of a stream share what it is told. It is told when a read begins, and again and again
    while somebody follows it.
    """

    def __init__(self, link: TemporalLink, failed: Callable[[], None]) -> None:
        """Prepare; ``failed`` is called whenever a stream could not be told."""
        self._link = link
        self._failed = failed
        self._uses: dict[str, _Use] = {}
        self._any = asyncio.Event()

    async def note(self, stream: Stream) -> None:
        """Note that a read of a stream begins; the read goes on if that does not succeed."""
        ttl = None if stream.setup is None else stream.setup.ttl_seconds
        if ttl is None or not stream.running:
            return
        use = self._uses.get(stream.workflow_id)
        if use is None:
            if len(self._uses) >= _MOST_KNOWN:
                self._uses = {k: use for k, use in self._uses.items() if use.feed.is_retained}
            use = self._uses[stream.workflow_id] = _Use(stream.feed, pause_of(ttl), float("-inf"))
            self._any.set()
        # Another stream may have this name by now, with another time to live.
        use.feed, use.pause = stream.feed, pause_of(ttl)
        if _is_due(use, time.monotonic()):
            await self._tell(use)

    async def run(self) -> None:
        """Keep those alive that are followed, until cancelled."""
        slots = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as telling:
            while True:
                self._any.clear()
                if not self._uses:
                    await self._any.wait()
                await asyncio.sleep(_LOOK_SECONDS)
                now = time.monotonic()
                for workflow_id, use in list(self._uses.items()):
                    if not _is_due(use, now):
                        continue
                    if use.feed.done or not use.feed.is_retained:
                        del self._uses[workflow_id]
                        continue
                    use.told = now
                    telling.create_task(self._tell_in_turn(use, slots))

    async def _tell_in_turn(self, use: _Use, slots: asyncio.Semaphore) -> None:
        async with slots:
            await self._tell(use)

    async def _tell(self, use: _Use) -> None:
        # Before the call, so that other reads leave it at that.
        use.told = time.monotonic()
        workflow_id = use.feed.workflow_id
        try:
            handle = self._link.client.get_workflow_handle(workflow_id)
            await self._link.call(handle.signal(TOUCH_SIGNAL), workflow_id)
        except (StreamClosedError, StreamNotFoundError):
            pass  # it has ended meanwhile; who reads it sees how
        except WorkflowStreamError as err:
            self._failed()
            logger.warning("Stream %r could not be told that it is read: %s", workflow_id, err)


def _is_due(use: _Use, now: float) -> bool:
    return now - use.told >= use.pause
