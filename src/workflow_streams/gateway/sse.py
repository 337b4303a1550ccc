"""GET with ``live=sse``: items as server-sent events (Durable Streams 5.8)."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager, aclosing
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import WorkflowStreamError
from ..events import Gap, Rewind
from ..reader.walk import Slice
from .disconnects import gone
from .frames import (
    KEEP_ALIVE,
    SSE_TYPE,
    Shape,
    Topics,
    control_event,
    gap_fields,
    opening,
    rewind_fields,
)
from .limits import ConnectionLimits
from .metrics import LeaveReason, Metrics
from .offsets import next_cursor
from .parts import Part, Reading, Waiting, live_parts
from .requests import ReadQuery
from .runs import RunNews
from .security import Grant
from .sessions import Gateway
from .streams import Stream

logger = logging.getLogger("workflow_streams.gateway")

_RETRY_MILLISECONDS = 500
# Connections made at once should not all come back at once.
_SPREAD = 0.1


async def respond(
    request: Request,
    gateway: Gateway,
    stream: Stream,
    reading: Reading,
    query: ReadQuery,
    grant: Grant,
) -> Response:
    """Answer with an event stream; what is wrong before its first event is a plain error."""
    settings = gateway.settings
    try:
        first = await reading.first_part(await stream.tip())
    except BaseException:
        await reading.aclose()
        raise
    metrics: Metrics = request.app.state.metrics
    if query.resumes:
        metrics.reconnects.labels("sse").inc()
    viewer = Viewer(
        live_parts(reading, first),
        stream.shape,
        grant.topics,
        metrics,
        RunNews(stream.feed, query.place if isinstance(query.place, int) else 0),
        cursor=query.cursor,
    )
    life = Life.of(settings.sse_seconds, grant.seconds_left(time.time()))
    connections: ConnectionLimits = request.app.state.connections
    place = connections.of_client(grant.client)
    return EventStream(viewer, reading, life, place, gateway, metrics)


@dataclass(frozen=True, slots=True)
class Life:
    """How long a connection lasts, and why it ends then."""

    until: float
    reason: LeaveReason

    @classmethod
    def of(cls, seconds: float, permitted_seconds: float | None) -> Life:
        """Return a life of about ``seconds``, or as long as it is permitted."""
        now = asyncio.get_running_loop().time()
        usual = seconds * random.uniform(1 - _SPREAD, 1 + _SPREAD)
        if permitted_seconds is not None and permitted_seconds < usual:
            return cls(now + permitted_seconds, "expired")
        return cls(now + usual, "recycled")


class Viewer:
    """Turns the parts of a stream into events for one client."""

    def __init__(
        self,
        parts: AsyncGenerator[Part],
        shape: Shape,
        topics: Topics,
        metrics: Metrics,
        runs: RunNews,
        *,
        cursor: int | None,
    ) -> None:
        """Take ``parts``, from wherever they come, as they come.

        Args:
            parts: The stream's parts from the client's offset on.
            shape: How the items look.
            topics: Which of them the client gets; None for all.
            metrics: Counts what is sent.
            runs: Where the workflow's runs began.
            cursor: The client's cursor.
        """
        self._waiting = Waiting(parts)
        self.shape = shape
        self._topics = topics
        self._metrics = metrics
        self._runs = runs
        self._cursor = cursor
        self._position = 0
        self._told: tuple[int, bool] | None = None

    async def events(
        self, life: Life, closing: asyncio.Future[None], keep_alive_seconds: float
    ) -> AsyncGenerator[bytes | LeaveReason]:
        """Yield what to send; the last thing is why the stream ends."""
        loop = asyncio.get_running_loop()
        yield opening(_RETRY_MILLISECONDS)
        while True:
            pause = min(keep_alive_seconds, life.until - loop.time())
            part = await self._waiting.next_within(pause, closing)
            if part is not None:
                events = self._part(part)
                if events:
                    yield b"".join(events)
                if part.end is not None:
                    yield "end"
                    return
            leaving: LeaveReason | None = "shutdown" if closing.done() else None
            if loop.time() >= life.until:
                leaving = life.reason
            if leaving is not None:
                yield self._control({"closing": leaving})
                yield leaving
                return
            if part is None:
                yield self._still_there()

    async def aclose(self) -> None:
        """Stop taking parts."""
        await self._waiting.aclose()

    def _part(self, part: Part) -> list[bytes]:
        events: list[bytes] = []
        pieces: list[bytes] = []
        for step in part.steps:
            if isinstance(step, Slice):
                pieces += self.shape.pieces(step, self._topics)
                self._position = step.offset + len(step.entries)
            elif isinstance(step, Gap | Rewind):
                if pieces:
                    events += [self._data(pieces), self._control({})]
                    pieces = []
                events.append(self._notice(step))
        self._position = part.position
        fields: dict[str, Any] = {"upToDate": True} if part.up_to_date else {}
        if part.end is not None:
            fields |= {"streamClosed": True, "outcome": part.end.outcome}
        if pieces:
            events.append(self._data(pieces))
        if pieces or part.end is not None or self._is_news(part):
            events.append(self._control(fields))
        return events

    def _is_news(self, part: Part) -> bool:
        """Whether a part of which the client gets nothing changes what it knows."""
        return self._told is None or self._told[1] != part.up_to_date

    def _notice(self, step: Gap | Rewind) -> bytes:
        if isinstance(step, Gap):
            self._metrics.gaps.labels(step.reason).inc()
            self._position = step.end
            return self._control({"gap": gap_fields(step)})
        self._metrics.rewinds.labels(step.reason).inc()
        self._position = step.next_offset
        return self._control({"rewind": rewind_fields(step)})

    def _data(self, pieces: list[bytes]) -> bytes:
        event = self.shape.event(pieces, self._position)
        self._metrics.items.labels("sse").inc(len(pieces))
        self._metrics.bytes.labels("sse").inc(len(event))
        return event

    def _control(self, fields: dict[str, Any]) -> bytes:
        fields = {**fields, **self._runs.fields()}
        if "streamClosed" not in fields:
            cursor = next_cursor(self._cursor, time.time())
            fields = {"streamCursor": cursor, **fields}
        self._told = (self._position, bool(fields.get("upToDate")))
        return control_event(fields, self._position)

    def _still_there(self) -> bytes:
        """Return what breaks the silence: the place to resume at, if the client has an old one."""
        assert self._told is not None
        if self._told[0] == self._position:
            return KEEP_ALIVE
        return self._control({"upToDate": True} if self._told[1] else {})


class EventStream(Response):
    """Sends a viewer's events until the stream, the connection's life or the client ends."""

    def __init__(
        self,
        viewer: Viewer,
        reading: Reading,
        life: Life,
        place: AbstractContextManager[None],
        gateway: Gateway,
        metrics: Metrics,
    ) -> None:
        """Prepare to send; ``place`` is the connection's among those of its client."""
        headers = {
            "content-type": SSE_TYPE,
            "cache-control": "no-cache, no-transform",
            "x-accel-buffering": "no",
        }
        if viewer.shape.base64_events:
            headers["stream-sse-data-encoding"] = "base64"
        self.status_code = 200
        self.background = None
        self.init_headers(headers)
        self.raw_headers = [h for h in self.raw_headers if h[0] != b"content-length"]
        self._viewer = viewer
        self._reading = reading
        self._life = life
        self._place = place
        self._gateway = gateway
        self._metrics = metrics

    async def __call__(
        self,
        scope: Scope,  # noqa: ARG002 (ASGI's signature)
        receive: Receive,
        send: Send,
    ) -> None:
        """Send; returns without having completed the response to a client that is too slow."""
        try:
            with self._place:
                await self._send_counted(receive, send)
        finally:
            await self._viewer.aclose()
            await self._reading.aclose()

    async def _send_counted(self, receive: Receive, send: Send) -> None:
        reading = self._reading
        reason: LeaveReason = "error"
        try:
            with self._metrics.viewer("sse", lambda: max(0, reading.feed.head - reading.position)):
                reason = await self._send_until_over(receive, send)
        finally:
            self._metrics.left.labels("sse", reason).inc()

    async def _send_until_over(self, receive: Receive, send: Send) -> LeaveReason:
        sending = asyncio.create_task(self._send_events(send), name="send events")
        leaving = asyncio.create_task(gone(receive), name="wait for the client to leave")
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            return sending.result() if sending.done() else "client"
        finally:
            leaving.cancel()
            sending.cancel()
            await asyncio.wait({sending, leaving})
            if not sending.cancelled():
                sending.exception()

    async def _send_events(self, send: Send) -> LeaveReason:
        settings = self._gateway.settings
        start = {"status": self.status_code, "headers": self.raw_headers}
        await send({"type": "http.response.start", **start})
        events = self._viewer.events(self._life, self._gateway.closing, settings.keep_alive_seconds)
        reason: LeaveReason = "error"
        async with aclosing(events):
            try:
                async for event in events:
                    if isinstance(event, bytes):
                        async with asyncio.timeout(settings.write_seconds):
                            await send(_body(event, more=True))
                    else:
                        reason = event
            except TimeoutError:
                return "slow"
            except WorkflowStreamError as err:
                # The client asks again, and then gets the error as an answer of its own.
                logger.info("An event stream breaks off: %s: %s", type(err).__name__, err)
        await send(_body(b"", more=False))
        return reason


def _body(data: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}
