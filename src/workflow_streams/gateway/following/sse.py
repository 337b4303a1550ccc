"""GET with ``live=sse``: answers with an event stream, and sends it (Durable Streams 5.8)."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...errors import WorkflowStreamError
from ...events import End
from ...read.walk import Slice
from ..formats.frames import opening, passes
from ..layers.limits import ConnectionLimits, client_in
from ..layers.outgoing import PIECE_BYTES, Share, in_pieces
from ..reading.beginning import Beginning
from ..reading.caching import event_cache_headers
from ..reading.disconnects import gone, unless_left
from ..reading.parts import Part
from ..reading.turns import Turn
from ..refusals import RefusedError
from ..refusals.event_sources import SSE_TYPE, is_event_source
from ..refusals.problems import refusal_of
from ..refusals.responses import request_id_of
from ..requests.reads import ReadQuery
from ..security import Grant
from ..sessions import Gateway
from ..telemetry.metrics import LeaveReason, Metrics
from ..temporal.streams import Stream
from .one_stream import OneStream
from .patrol import Watch

logger = logging.getLogger("workflow_streams.gateway")

_RETRY_MILLISECONDS = 500
# Connections that were made at the same time should not all come back at the same time.
_SPREAD = 0.1


async def respond(
    request: Request,
    gateway: Gateway,
    stream: Stream,
    query: ReadQuery,
    grant: Grant,
) -> Response:
    """Answer with an event stream; errors before its first event are answered as usual."""
    settings = gateway.settings
    turn = Turn(gateway.catch_ups, client_in(request.scope, grant.client))
    beginning = Beginning(stream, query, turn)
    share = gateway.unread.share()
    try:
        await unless_left(request, beginning.wait_for_turn())
        begun = await beginning.wait(settings.open_seconds, gateway.closing)
        if begun is not None and _is_over(request, query, grant, begun.first):
            await beginning.aclose()
            return Response(status_code=204, headers={"cache-control": "no-store"})
    except BaseException:
        await beginning.aclose()
        raise
    metrics: Metrics = request.app.state.metrics
    if query.resumes:
        metrics.reconnects.labels("sse").inc()
    life = Life.of(settings.sse_seconds, grant.seconds_left(time.time()))
    connections: ConnectionLimits = request.app.state.connections
    counted = connections.of_client(grant.client)
    return EventStream(
        OneStream(
            stream,
            beginning,
            query,
            grant,
            gateway,
            metrics,
            share,
            request_id_of(request.scope),
        ),
        life,
        counted,
        gateway,
        share,
        metrics,
        caching=event_cache_headers(grant),
    )


def _is_over(request: Request, query: ReadQuery, grant: Grant, first: Part) -> bool:
    """Whether an ``EventSource`` reconnects although it has been told everything and the end.

    Only 204 makes it stop.
    """
    if first.end is None or not (query.knows_end and is_event_source(request.scope)):
        return False
    news = (
        passes(step, grant.topics) if isinstance(step, Slice) else True
        for step in first.steps
        if not isinstance(step, End)
    )
    return not any(news)


class Events(Protocol):
    """Where the events of one connection come from."""

    @property
    def headers(self) -> dict[str, str]:
        """Header fields that the answer needs for these events."""
        ...

    async def next_events(self) -> tuple[bytes, bool]:
        """Wait for the next events; return them, and whether they are the last.

        If this is cancelled, nothing is lost: the next call goes on.
        """
        ...

    def still_there(self) -> bytes:
        """Return what to send after a silence."""
        ...

    def closing(self, reason: LeaveReason) -> bytes:
        """Return the event that sends the client away."""
        ...

    def failing(self, refusal: RefusedError) -> bytes:
        """Return the event that tells why nothing more can be read."""
        ...

    def lag(self) -> int:
        """How many items the client is behind the head."""
        ...

    async def aclose(self) -> None:
        """Stop reading."""
        ...


@dataclass(frozen=True, slots=True)
class Life:
    """How long a connection lasts, and why it ends then."""

    until: float
    reason: LeaveReason

    @classmethod
    def of(cls, seconds: float, permitted_seconds: float | None) -> Life:
        """Return a life of about ``seconds``, or less if permission ends before that."""
        now = asyncio.get_running_loop().time()
        usual = seconds * random.uniform(1 - _SPREAD, 1 + _SPREAD)
        if permitted_seconds is not None and permitted_seconds < usual:
            return cls(now + permitted_seconds, "expired")
        return cls(now + usual, "recycled")


class EventStream(Response):
    """Sends events until the stream or the connection's life ends, or the client leaves."""

    def __init__(
        self,
        events: Events,
        life: Life,
        counted: AbstractContextManager[None],
        gateway: Gateway,
        share: Share,
        metrics: Metrics,
        *,
        caching: dict[str, str],
    ) -> None:
        """Prepare to send.

        Args:
            events: Where the events come from; it is closed in the end.
            life: How long the connection lasts.
            counted: Counts the connection among those of its client.
            gateway: The gateway that serves it.
            share: Counts what the connection holds for its client.
            metrics: Counts the connection.
            caching: Header fields for caches.
        """
        headers = {"content-type": SSE_TYPE, "x-accel-buffering": "no", **caching}
        headers |= events.headers
        self.status_code = 200
        self.background = None
        self.init_headers(headers)
        self.raw_headers = [h for h in self.raw_headers if h[0] != b"content-length"]
        self._events = events
        self._life = life
        self._counted = counted
        self._patrol = gateway.patrol
        self._share = share
        self._metrics = metrics

    async def __call__(
        self,
        scope: Scope,  # noqa: ARG002 (ASGI's signature)
        receive: Receive,
        send: Send,
    ) -> None:
        """Send the events. If the client is too slow, return without completing the response."""
        reason: LeaveReason = "error"
        try:
            with self._counted, self._metrics.viewer("sse", self._events.lag):
                reason = await self._send_until_over(receive, send)
        finally:
            self._metrics.left.labels("sse", reason).inc()
            await self._events.aclose()

    async def _send_until_over(self, receive: Receive, send: Send) -> LeaveReason:
        task = asyncio.current_task()
        assert task is not None
        now = asyncio.get_running_loop().time()
        watch = Watch(task, self._life.until, self._life.reason, quiet_since=now)
        leaving = asyncio.create_task(gone(receive), name="wait for the client to leave")
        leaving.add_done_callback(lambda _: self._patrol.call(watch, "client"))
        self._patrol.add(watch)
        self._share.let_go = lambda: self._patrol.call(watch, "slow")
        try:
            return await self._send_events(send, watch)
        finally:
            self._patrol.remove(watch)
            watch.over = True
            self._share.close()
            leaving.cancel()
            try:
                await asyncio.wait({leaving})
            except asyncio.CancelledError:
                watch.take()  # the patrol has called at the very end, which changes nothing
                await asyncio.wait({leaving})
            if not leaving.cancelled():
                leaving.exception()

    async def _send_events(self, send: Send, watch: Watch) -> LeaveReason:
        start = {"status": self.status_code, "headers": self.raw_headers}
        try:
            await self._write(send, watch, {"type": "http.response.start", **start})
            await self._write(send, watch, _body(opening(_RETRY_MILLISECONDS)))
            reason = await self._follow(send, watch)
            if reason not in ("client", "slow"):
                await self._write(send, watch, _body(b"", more=False))
        except asyncio.CancelledError:
            call = watch.take()
            assert call != "keep-alive", "only connections that are not writing are called for that"
            return call
        return reason

    async def _follow(self, send: Send, watch: Watch) -> LeaveReason:
        silent = False
        while True:
            try:
                if silent:
                    await self._write(send, watch, _body(self._events.still_there()))
                    silent = False
                events, last = await self._events.next_events()
                if events:
                    await self._write_events(send, watch, events)
                # Free the events: they may be large, and the next ones may take long to come.
                del events
                if last:
                    return "end"
            except asyncio.CancelledError:
                call = watch.take()
                if call == "keep-alive":
                    silent = True
                    continue
                # If a write was cut off, the client resumes after the last event that it has got.
                if watch.busy_since is None and call not in ("client", "slow"):
                    await self._write(send, watch, _body(self._events.closing(call)))
                return call
            except WorkflowStreamError as err:
                # A client that reconnects gets the error as an ordinary answer.
                logger.info("An event stream breaks off: %s: %s", type(err).__name__, err)
                await self._write(send, watch, _body(self._events.failing(refusal_of(err))))
                return "error"

    async def _write_events(self, send: Send, watch: Watch, events: bytes) -> None:
        """Send events, in pieces if they are large. These count as held until the last is sent."""
        if len(events) <= PIECE_BYTES:
            await self._write(send, watch, _body(events))
            return
        with self._share.holding(events):
            for piece in in_pieces(events):
                await self._write(send, watch, _body(piece))

    async def _write(self, send: Send, watch: Watch, message: dict[str, Any]) -> None:
        """Send one message. The server waits until most of what was sent before has been read."""
        loop = asyncio.get_running_loop()
        watch.busy_since = self._share.since = loop.time()
        await send(message)
        watch.busy_since, watch.quiet_since = None, loop.time()
        self._share.since = math.inf


def _body(data: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}
