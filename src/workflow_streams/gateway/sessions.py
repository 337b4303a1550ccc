"""What the request handlers of one application share, and how it starts and ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.requests import Request

from ..errors import UsageError
from ..hosted.streams import Hosting
from .following.patrol import Patrol
from .layers.outgoing import UnreadAnswers
from .leaving import watch_server
from .reading.rendering import Renderer
from .reading.shared_answers import SharedAnswers
from .reading.shared_frames import SharedFrames
from .reading.turns import Turns
from .refusals.problems import UnavailableError
from .settings import GatewaySettings
from .telemetry.metrics import Metrics
from .telemetry.readiness import Readiness
from .temporal.link import TemporalLink
from .temporal.streams import Stream, found, hosting_of
from .temporal.uses import Uses
from .writing.room import WriteRoom

logger = logging.getLogger("workflow_streams.gateway")

_PATIENCE_SECONDS = 2.0


class Gateway:
    """The state of a gateway application.

    It is created with the application, and runs while the application's lifespan does. That may
    happen several times, one after the other, each time on another event loop.

    Attributes:
        settings: The gateway's settings.
        frames: Events that viewers share.
        answers: Answers that are being made for whoever asks for them.
        unread: Counts what answers and event streams hold for their clients.
        writes: Counts what the bodies of writes have become.
        patrol: Looks after the event streams; a new one for each run.
        renderer: Makes large answers and events; a new one for each run.
        catch_ups: Turns at reading what is there already; new ones for each run.
        copies: Turns at copying what a fork begins with; new ones for each run.
        readiness: Whether Temporal answers.
    """

    def __init__(self, link: TemporalLink, settings: GatewaySettings, metrics: Metrics) -> None:
        """Share ``link`` among the handlers."""
        self.settings = settings
        self.frames = SharedFrames()
        self.unread = UnreadAnswers(settings.limits.max_unread_bytes)
        self.answers = SharedAnswers(self.unread)
        self.writes = WriteRoom(settings.limits.max_total_write_bytes)
        self.renderer = Renderer(self.frames)
        self.catch_ups, self.copies = self._new_turns(), self._new_turns()
        self.readiness = Readiness(lambda: link.is_ready(_PATIENCE_SECONDS))
        self.patrol = self._new_patrol()
        self._link = link
        self._metrics = metrics
        self._closing: asyncio.Future[None] | None = None
        self._uses = self._new_uses()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the gateway within the block, on this event loop.

        Raises:
            UsageError: It is running already.
        """
        if self._closing is not None:
            raise UsageError(
                "The lifespan of this gateway application is running already; make another one "
                "by create_app to serve it twice at once"
            )
        self._closing = asyncio.get_running_loop().create_future()
        self.patrol, self._uses = self._new_patrol(), self._new_uses()
        self.renderer = Renderer(self.frames)
        self.catch_ups, self.copies = self._new_turns(), self._new_turns()
        working = {
            _working(self._link.run(), "gateway"),
            _working(self.patrol.run(), "patrol"),
            _working(self._uses.run(), "keep streams alive"),
            _working(watch_server(self.close_viewers), "watch the server"),
        }
        try:
            yield
        finally:
            self.close_viewers()
            for task in working:
                task.cancel()
            try:
                _, left = await asyncio.wait(working, timeout=self.settings.shutdown_seconds)
                for task in left:
                    logger.warning(
                        "The worker for streams made by PUT does not end, and is left behind: "
                        "it waits for a workflow whose task took too long"
                    )
                    self._link.leave_behind(task)
                await self.readiness.aclose()
            finally:
                self._link.disconnect()
                self._closing = None

    def _new_uses(self) -> Uses:
        return Uses(self._link, self._metrics.failed_touches.inc)

    def _new_turns(self) -> Turns:
        limits = self.settings.limits
        return Turns(
            limits.max_catch_ups, limits.max_catch_ups_per_client, limits.catch_up_wait_seconds
        )

    def _new_patrol(self) -> Patrol:
        return Patrol(
            keep_alive_seconds=self.settings.keep_alive_seconds,
            write_seconds=self.settings.write_seconds,
        )

    @property
    def link(self) -> TemporalLink:
        """The connection to Temporal.

        Raises:
            UnavailableError: The gateway is not running.
        """
        self._check_runs()
        return self._link

    @property
    def hosting(self) -> Hosting:
        """Where the gateway hosts streams that are made by PUT.

        Raises:
            UnavailableError: The gateway is not running.
        """
        return hosting_of(self.link, self.settings)

    @property
    def closing(self) -> asyncio.Future[None]:
        """Done when the process is about to end and viewers have to reconnect elsewhere.

        Raises:
            UnavailableError: The gateway is not running.
        """
        return self._check_runs()

    def _check_runs(self) -> asyncio.Future[None]:
        if self._closing is None:
            raise UnavailableError(
                "The gateway is not running. An application in which it is mounted has to run its "
                "lifespan: gateway.router.lifespan_context(gateway)."
            )
        return self._closing

    @property
    def is_leaving(self) -> bool:
        """Whether the process is about to end, or the gateway is not running."""
        return self._closing is None or self._closing.done()

    def close_viewers(self) -> None:
        """Send each viewer away, with a place to resume at; called when a shutdown begins."""
        if self._closing is not None and not self._closing.done():
            self._closing.set_result(None)
            self.patrol.close()
            self.catch_ups.close()
            self.copies.close()

    def readers(self) -> int:
        """How many histories this process follows over the gateway's client."""
        return self._link.readers()

    def found(self, workflow_id: str) -> AbstractAsyncContextManager[Stream]:
        """Look a stream up for the time of the block; see :func:`.temporal.streams.found`."""
        return found(self.link, self.settings, workflow_id)

    async def touch(self, stream: Stream) -> None:
        """Note that a read of a stream begins, since reads may keep the stream alive.

        See :class:`.temporal.uses.Uses`.
        """
        await self._uses.note(stream)


def _working(work: Coroutine[None, None, None], name: str) -> asyncio.Task[None]:
    task = asyncio.create_task(work, name=name)
    task.add_done_callback(_report)
    return task


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("The gateway's task %r has stopped", task.get_name(), exc_info=error)


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that serves this request."""
    gateway: Gateway = request.app.state.gateway
    return gateway
