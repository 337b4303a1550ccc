"""Follows one of the streams that share a connection, and says what there is to tell of it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import replace

from ...errors import StreamGoneError, StreamNotFoundError, WorkflowStreamError
from ...temporal.backoff import Backoff
from ..formats.frames import ENVELOPES
from ..formats.offsets import parse_start
from ..reading.beginning import Beginning
from ..reading.turns import Turn
from ..refusals import RefusedError
from ..refusals.problems import NotStartedError, refusal_of
from ..refusals.responses import problem_fields
from ..requests.reads import ReadQuery
from ..security import Grant
from ..sessions import Gateway
from ..settings import GatewaySettings
from ..telemetry.metrics import Metrics
from ..temporal.streams import Stream
from .bounds import SharedBounds
from .event_ids import OVER, StreamOffsets
from .one_stream import OneStream

logger = logging.getLogger("workflow_streams.gateway")

_BEGIN_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 15.0


class Follower:
    """Follows one stream, and holds one thing at a time until the connection has sent it.

    Attributes:
        index: Which of the connection's streams this is.
    """

    def __init__(
        self,
        gateway: Gateway,
        metrics: Metrics,
        workflow_id: str,
        grant: Grant,
        offsets: StreamOffsets,
        index: int,
        settings: GatewaySettings,
        bounds: SharedBounds,
        request_id: str,
    ) -> None:
        """Prepare; nothing is looked up before :meth:`run`.

        Args:
            gateway: The gateway that serves it.
            metrics: Counts what is sent.
            workflow_id: The stream.
            grant: What the client may see of it.
            offsets: Where the client stands in all of its streams.
            index: Which of them this is.
            settings: The gateway's settings, with this stream's part of ``event_bytes``.
            bounds: What all followers of the connection share.
            request_id: The id of the client's request.
        """
        self.index = index
        self._gateway = gateway
        self._metrics = metrics
        self._workflow_id = workflow_id
        self._grant = grant
        self._offsets = offsets
        self._settings = settings
        self._bounds = bounds
        self._request_id = request_id
        self._has_news = False
        self._problem: Exception | None = None
        self._taken = asyncio.Event()
        self._one: OneStream | None = None
        self._shape = ENVELOPES
        self._told_problem = ""
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._least_pause = 0.0

    async def run(self, ready: asyncio.Queue[Follower]) -> None:
        """Follow the stream to its end. After a problem, tell the client, pause and try again.

        Args:
            ready: The follower puts itself here whenever it has something to :meth:`take`.
        """
        try:
            while not await self._follow(ready):
                await self._pause()
        except Exception as err:  # a fault, which take() raises where the connection is served
            await self._hand(ready, err)

    async def _pause(self) -> None:
        await asyncio.sleep(max(self._backoff.next(), self._least_pause))

    async def take(self) -> bytes:
        """Return the events that tell what is new, and let the follower go on to the next.

        If this is cancelled, nothing is lost: the next call goes on.
        """
        if self._problem is not None:
            told = self._problem_told(self._problem)
        else:
            assert self._one is not None
            events, last = await self._one.take()
            told = self._offsets.told(events, self.index, self._shape, over=last)
        self._has_news, self._problem = False, None
        self._taken.set()
        return told

    def _problem_told(self, problem: Exception) -> bytes:
        if not isinstance(problem, RefusedError):
            raise problem
        self._told_problem = problem.slug
        if not problem.passes:
            self._offsets[self.index] = OVER
        elif problem.resume_at and not self._offsets[self.index][:1].isdigit():
            self._offsets[self.index] = problem.resume_at
        fields = {"problem": problem_fields(problem, self._request_id)}
        return self._offsets.notice(fields, self.index)

    def still_there(self) -> bytes:
        """Return news other than items; empty if there is none."""
        # What waits to be taken brings such news itself.
        if self._one is None or self._has_news:
            return b""
        return self._offsets.told(self._one.still_there(), self.index, self._shape)

    def lag(self) -> int:
        """How many items the client is behind the head of this stream."""
        return 0 if self._one is None else self._one.lag()

    async def _follow(self, ready: asyncio.Queue[Follower]) -> bool:
        """Follow until the end or a problem; return whether nothing more will come.

        After a problem that may pass, more may come.
        """
        try:
            self._one = await self._open()
            # The first round does not wait for room: what the stream began with is in memory
            # already, and has to be counted at once.
            while not await self._follow_on(self._one, ready):
                await self._bounds.room.wait()
            return True
        except WorkflowStreamError as err:
            problem, cause = refusal_of(err), f"{type(err).__name__}: {err}"
        finally:
            if self._one is not None:
                one, self._one = self._one, None
                await one.aclose()
        if problem.slug != self._told_problem:
            logger.info(
                "Stream %r, one of several, breaks off: %s",
                self._workflow_id,
                cause,
                extra={"request_id": self._request_id},
            )
            await self._hand(ready, problem)
        self._least_pause = problem.retry_seconds
        return not problem.passes

    async def _follow_on(self, one: OneStream, ready: asyncio.Queue[Follower]) -> bool:
        """Wait until something comes and has been sent; return whether it was the last."""
        part = await one.arrive()
        self._backoff.reset()
        self._told_problem = ""
        with self._bounds.holding(part):
            await self._hand(ready)
        return part is not None and part.end is not None

    async def _open(self) -> OneStream:
        """Look the stream up, and begin to read where the client stands."""
        asked = self._offsets[self.index]
        offset = parse_start(asked)
        query = ReadQuery(offset, "sse", cursor=None, topics=frozenset(), asked=asked)
        async with AsyncExitStack() as while_opening:
            async with self._bounds.lookups:
                try:
                    found = self._gateway.found(self._workflow_id)
                    stream = await while_opening.enter_async_context(found)
                except StreamGoneError:
                    raise
                except StreamNotFoundError as err:
                    raise NotStartedError(cause_for_log=str(err)) from err
            stream = replace(stream, settings=self._settings)
            await self._gateway.touch(stream)
            beginning = await self._begin(stream, query)
        self._shape = stream.shape
        return OneStream(
            stream,
            beginning,
            query,
            self._grant,
            self._gateway,
            self._metrics,
            self._bounds.share,
            self._request_id,
        )

    async def _begin(self, stream: Stream, query: ReadQuery) -> Beginning:
        """Begin to read; only a few streams at a time, since each holds its largest batch.

        A stream that takes long lets others begin: perhaps no worker has opened it yet.
        """
        async with self._bounds.begins:
            await self._bounds.room.wait()
            beginning = Beginning(stream, query, Turn(self._gateway.catch_ups, self._bounds.client))
            try:
                await beginning.wait_for_turn()
                await beginning.wait(_BEGIN_SECONDS, self._gateway.closing)
            except BaseException:
                await beginning.aclose()
                raise
        try:
            # The stream's lookup has to last until the reading has begun. Otherwise the next
            # lookup would not find the feed.
            await beginning.wait(self._settings.open_seconds, self._gateway.closing)
        except BaseException:
            await beginning.aclose()
            raise
        return beginning

    async def _hand(self, ready: asyncio.Queue[Follower], problem: Exception | None = None) -> None:
        """Offer what has arrived, or a problem, and wait until the connection has taken it."""
        self._has_news, self._problem = True, problem
        self._taken.clear()
        ready.put_nowait(self)
        await self._taken.wait()
