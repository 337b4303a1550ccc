"""The answer to one read that may carry items: its body, header fields and compression."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...events import End, Gap, Last, Rewind
from ..formats.frames import gap_fields, passes, rewind_fields
from ..formats.offsets import next_cursor, token_of
from ..layers.outgoing import PIECE_BYTES, share_of
from ..refusals import NoTurnError
from ..refusals.problems import GoneError
from ..requests.reads import ReadQuery
from ..security import Grant
from ..sessions import Gateway
from ..telemetry.metrics import Metrics
from ..temporal.streams import Stream
from .caching import accepts_gzip, cache_headers, etag_of, gzipped, matches
from .parts import Part, Reading, Waiting
from .turns import Turn

_COMPRESSIBLE = ("text/", "application/json", "application/x-ndjson", "application/xml")
# All header fields together should stay below the 8 KB that many clients and proxies accept.
_MOST_RANGES = 50


def end_headers(end: End) -> dict[str, str]:
    """Return the headers that tell of the end."""
    return {"stream-closed": "true", "stream-outcome": end.outcome}


class Answer:
    """The answer to one read that may carry items."""

    def __init__(
        self,
        request: Request,
        stream: Stream,
        reading: Reading,
        query: ReadQuery,
        grant: Grant,
        gateway: Gateway,
    ) -> None:
        """Prepare to answer with what ``reading`` brings."""
        self._request = request
        self._stream = stream
        self._query = query
        self._topics = grant.topics
        self._grant = grant
        self._metrics: Metrics = request.app.state.metrics
        self._renderer = gateway.renderer
        self._share = share_of(request.scope)
        self._reading = reading

    async def catch_up(self, part: Part) -> Response:
        """Answer with what is there.

        Raises:
            GoneError: What the client asks for is gone.
            NoTurnError: The room that the answer takes is needed for others.
        """
        self._check(part)
        known = self._request.headers.get("if-none-match")
        etag = self._etag(part)
        # "So many items back" means other items as soon as more have come.
        moves = isinstance(self._query.start, Last)
        lasting = part.end is not None or not (part.up_to_date or moves)
        headers = self._headers(part) | {
            "etag": etag,
            **cache_headers(self._grant, lasting=lasting),
        }
        if known is not None and matches(known, etag):
            return Response(status_code=304, headers=headers)
        return await self._response(part, headers, "catch-up")

    async def long_poll(
        self, part: Part, until: float, closing: asyncio.Future[None], turn: Turn
    ) -> Response:
        """Answer with what is there, or else with what comes until then; raises the same.

        Args:
            part: What is there.
            until: How long to wait, in the event loop's time.
            closing: Done when the process is about to end.
            turn: The request's turn, which it gives back while it waits.
        """
        self._check(part)
        if part.up_to_date and part.end is None and not self._tells(part):
            turn.give_back()
            part = await self._wait_for_more(part, until, closing)
        headers = self._headers(part) | {"cache-control": "no-store"}
        if part.end is None:
            headers["stream-cursor"] = next_cursor(self._query.cursor, time.time())
        if part.up_to_date and not self._tells(part):
            return Response(status_code=204, headers=headers)
        return await self._response(part, headers, "long-poll")

    def _check(self, part: Part) -> None:
        """Refuse the read if what it asks for is gone."""
        first = part.steps[0] if part.steps else None
        if isinstance(first, Rewind) and first.reason == "replaced":
            # A client of the protocol would append the new stream's items to the old one's.
            raise GoneError(
                "The offset belongs to another stream that had this name. This one begins at "
                f"{first.position}.",
                headers=(("stream-base-offset", first.position),),
            )
        if isinstance(first, Gap) and first.start == self._reading.start and self._reading.start:
            raise GoneError(
                f"What was there is {first.reason}; the stream goes on at {token_of(first.end)}.",
                headers=(("stream-base-offset", token_of(first.end)),),
            )

    async def _wait_for_more(self, part: Part, until: float, closing: asyncio.Future[None]) -> Part:
        """Wait until something comes that passes the filter, or the time is up."""
        loop = asyncio.get_running_loop()
        async with aclosing(Waiting(self._reading)) as waiting:
            while part.end is None and not self._tells(part):
                arrived = await waiting.next_within(until - loop.time(), closing)
                if arrived is None:
                    break
                part = arrived
        return part

    def _tells(self, part: Part) -> bool:
        """Whether the part contains anything for this client."""
        if any(isinstance(step, Gap | Rewind) for step in part.steps):
            return True
        return any(passes(step, self._topics) for step in part.slices)

    def _headers(self, part: Part) -> dict[str, str]:
        headers = {
            "content-type": self._stream.shape.content_type,
            "stream-next-offset": part.token,
        }
        if part.up_to_date:
            headers["stream-up-to-date"] = "true"
        if part.end is not None:
            headers |= end_headers(part.end)
        for name, fields in (("stream-gaps", _gaps(part)), ("stream-rewinds", _rewinds(part))):
            if fields:
                headers[name] = json.dumps(fields, separators=(",", ":"))
        return headers

    def _etag(self, part: Part) -> str:
        return etag_of(
            self._stream,
            self._reading.start,
            part.position,
            self._topics,
            closed=bool(part.end),
            notices=sum(isinstance(step, Gap | Rewind) for step in part.steps),
        )

    async def _response(self, part: Part, headers: dict[str, str], mode: str) -> Response:
        shape = self._stream.shape
        with self._share.holding_all(self._made_of(part)):
            frames = await self._renderer.items(shape, part.slices, self._topics)
            body = shape.body(frame.data for frame in frames if frame.items)
            self._hold(body)
        self._metrics.items.labels(mode).inc(sum(frame.items for frame in frames))
        del frames
        self._metrics.bytes.labels(mode).inc(len(body))
        for gap in (step for step in part.steps if isinstance(step, Gap)):
            self._metrics.gaps.labels(gap.reason).inc()
        for rewind in (step for step in part.steps if isinstance(step, Rewind)):
            self._metrics.rewinds.labels(rewind.reason).inc()
        content_type = headers["content-type"].lower()
        if content_type.startswith(_COMPRESSIBLE):
            headers["vary"] = ", ".join(filter(None, [headers.get("vary"), "Accept-Encoding"]))
            large = len(body) >= self._stream.settings.compress_from_bytes
            if large and accepts_gzip(self._request.headers.get("accept-encoding", "")):
                body = await self._compressed(body)
                headers["content-encoding"] = "gzip"
        if self._share.is_given_up:
            raise NoTurnError
        return Response(body, headers=headers)

    def _made_of(self, part: Part) -> Iterator[tuple[object, Callable[[], int]]]:
        """Yield what is held to make an answer, each with its size."""
        yield object(), lambda: self._reading.beside
        if part.size > PIECE_BYTES:
            yield from part.held

    def _hold(self, body: bytes) -> None:
        """Count a body until the request is over."""
        if len(body) > PIECE_BYTES:
            self._share.hold(body, lambda: len(body))

    async def _compressed(self, body: bytes) -> bytes:
        if len(body) <= PIECE_BYTES:
            return gzipped(body)
        async with self._renderer.compressing:
            compressed = await asyncio.to_thread(gzipped, body)
        self._hold(compressed)
        self._share.drop(body)
        return compressed


def _gaps(part: Part) -> list[dict[str, Any]]:
    return [gap_fields(step) for step in part.steps if isinstance(step, Gap)]


def _rewinds(part: Part) -> list[dict[str, Any]]:
    """Return the rewinds for a header; without ranges if there are too many for a header."""
    rewinds = [step for step in part.steps if isinstance(step, Rewind)]
    fields = [rewind_fields(step) for step in rewinds]
    if sum(len(step.ranges) for step in rewinds) > _MOST_RANGES:
        for field in fields:
            field["ranges"] = None
    return fields
