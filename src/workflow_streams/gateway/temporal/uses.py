"""Tells streams with a time to live that they are being read, so that they do not expire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from ...errors import StreamClosedError, StreamNotFoundError, WorkflowStreamError
from ...hosted.host import TOUCH_SIGNAL
from ...read.feeds.feed import Feed
from ...temporal.bound import BoundWorkflow
from .link import TemporalLink
from .streams import Stream

logger = logging.getLogger("workflow_streams.gateway")

# A stream is told of reads each time a tenth of its time to live has passed, but at most once a
# second, unless a third of its time to live is even shorter.
_PART = 0.1
_SECONDS = 1.0
_LARGEST_PART = 1 / 3
_LOOK_SECONDS = 0.25
_AT_ONCE = 20
# How many streams are remembered with the time when they were told. Beyond that, those that nobody
# reads at the moment are forgotten.
_MOST_KNOWN = 10_000


def pause_of(ttl_seconds: float) -> float:
    """Return after how many seconds a stream is told again that it is being read."""
    return max(ttl_seconds * _PART, min(_SECONDS, ttl_seconds * _LARGEST_PART))


@dataclass(slots=True)
class _Use:
    """A stream that is being read or was recently; ``told`` is when it was last told so."""

    workflow: BoundWorkflow
    feed: Feed | None
    pause: float
    told: float

    @property
    def is_followed(self) -> bool:
        """Whether somebody reads it now."""
        return self.feed is not None and self.feed.is_retained and not self.feed.done


class Uses:
    """The streams with a time to live that are read over one gateway.

    A stream is told once for all of its readers: when a read begins, and repeatedly while somebody
    follows it.
    """

    def __init__(self, link: TemporalLink, failed: Callable[[], None]) -> None:
        """Prepare; ``failed`` is called whenever a stream could not be told."""
        self._link = link
        self._failed = failed
        self._uses: dict[str, _Use] = {}
        self._any = asyncio.Event()

    async def note(self, stream: Stream) -> None:
        """Note that a read of a stream begins. If telling the stream fails, the read goes on."""
        ttl = None if stream.setup is None else stream.setup.ttl_seconds
        if ttl is None or not stream.running:
            return
        use = self._uses.get(stream.workflow_id)
        if use is None:
            if len(self._uses) >= _MOST_KNOWN:
                self._uses = {k: use for k, use in self._uses.items() if use.is_followed}
            use = self._uses[stream.workflow_id] = _Use(
                stream.bound(), stream.feed, pause_of(ttl), float("-inf")
            )
            self._any.set()
        if use.workflow.first_run_id != stream.first_run_id:
            # A new stream has taken this name since, with a time to live of its own.
            use.workflow, use.told = stream.bound(), float("-inf")
        use.feed, use.pause = stream.feed, pause_of(ttl)
        if _is_due(use, time.monotonic()):
            await self._tell(use)

    async def run(self) -> None:
        """Keep streams alive while they are followed, until cancelled."""
        slots = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as telling:
            while True:
                self._any.clear()
                if not self._uses:
                    await self._any.wait()
                await asyncio.sleep(_LOOK_SECONDS)
                now = time.monotonic()
                for workflow_id, use in list(self._uses.items()):
                    if use.feed is not None and use.feed.done:
                        use.feed = None  # it may hold much; when it was told is all that counts
                    if not _is_due(use, now):
                        continue
                    if not use.is_followed:
                        del self._uses[workflow_id]
                        continue
                    use.told = now
                    telling.create_task(self._tell_in_turn(use, slots))

    async def _tell_in_turn(self, use: _Use, slots: asyncio.Semaphore) -> None:
        async with slots:
            await self._tell(use)

    async def _tell(self, use: _Use) -> None:
        # Set this before the call, so that other reads do not tell the stream as well.
        use.told = time.monotonic()
        workflow_id = use.workflow.workflow_id
        try:
            await self._link.call(use.workflow.signal(TOUCH_SIGNAL), workflow_id)
        except (StreamClosedError, StreamNotFoundError):
            pass  # the stream has ended meanwhile, which its readers are told anyway
        except WorkflowStreamError as err:
            self._failed()
            logger.warning("Stream %r could not be told that it is read: %s", workflow_id, err)


def _is_due(use: _Use, now: float) -> bool:
    return now - use.told >= use.pause
