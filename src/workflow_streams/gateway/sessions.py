"""What the handlers of one application share."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager

from starlette.requests import Request

from ..hosted import TOUCH_SIGNAL
from .readiness import Readiness
from .reading.patrol import Patrol
from .reading.shared_frames import SharedFrames
from .settings import GatewaySettings
from .streams import Stream, found
from .temporal import TemporalLink

_PATIENCE_SECONDS = 2.0
# A stream is told of reads no more often than this part of its time to live.
_TOUCH_PART = 0.1


class Gateway:
    """The state of a gateway application.

    Attributes:
        frames: Events that viewers share.
        patrol: Looks after the event streams.
        readiness: Whether Temporal answers.
        closing: Done when the process is about to end and viewers are to go elsewhere.
    """

    def __init__(self, link: TemporalLink, settings: GatewaySettings) -> None:
        """Share ``link`` among the handlers."""
        self.link = link
        self.settings = settings
        self.frames = SharedFrames()
        self.patrol = Patrol(
            keep_alive_seconds=settings.keep_alive_seconds, write_seconds=settings.write_seconds
        )
        self.readiness = Readiness(lambda: link.is_ready(_PATIENCE_SECONDS))
        self._closing: asyncio.Future[None] | None = None
        self._touched: dict[str, float] = {}

    @property
    def closing(self) -> asyncio.Future[None]:
        """Done when viewers are to leave; made on the loop that serves."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_future()
        return self._closing

    def close_viewers(self) -> None:
        """Send each viewer away with a place to resume at; for the start of a shutdown."""
        if not self.closing.done():
            self.closing.set_result(None)
        self.patrol.close()

    def readers(self) -> int:
        """How many histories this process follows for the gateway's client."""
        return self.link.readers()

    def found(self, workflow_id: str) -> AbstractAsyncContextManager[Stream]:
        """Look a stream up for the time of the block; see :func:`.streams.found`."""
        return found(self.link, self.settings, workflow_id)

    async def touch(self, stream: Stream) -> None:
        """Note that a stream is read, if that keeps it alive."""
        ttl = None if stream.setup is None else stream.setup.ttl_seconds
        if ttl is None or not stream.running:
            return
        now = time.monotonic()
        last = self._touched.get(stream.workflow_id)
        if last is not None and now - last < ttl * _TOUCH_PART:
            return
        handle = self.link.client.get_workflow_handle(stream.workflow_id)
        await self.link.call(handle.signal(TOUCH_SIGNAL), stream.workflow_id)
        if len(self._touched) > 10_000:
            self._touched.clear()
        self._touched[stream.workflow_id] = now


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
