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
from ..layers.outgoing import PIECE_BYTES, Share, share_of
from ..refusals import NoTurnError
from ..refusals.problems import GoneError
from ..requests.reads import ReadQuery
from ..security import Grant
from ..sessions import Gateway
from ..telemetry.metrics import Metrics
from ..temporal.streams import Stream
from .caching import accepts_gzip, cache_headers, etag_of, gzipped, matches
from .parts import Part, Reading, Waiting
from .shared_answers import Made
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
        *,
        share: Share | None = None,
    ) -> None:
        """Prepare to answer with what ``reading`` brings.

        Args:
            request: The request.
            stream: The stream that it is about.
            reading: Where the answer comes from.
            query: What the client asks for.
            grant: What it may see.
            gateway: The gateway.
            share: Counts what the answer takes while it is made. Default: that of the request.
        """
        self._request = request
        self._compress = accepts_gzip(request.headers.get("accept-encoding", ""))
        self._stream = stream
        self._query = query
        self._topics = grant.topics
        self._grant = grant
        self._metrics: Metrics = request.app.state.metrics
        self._renderer = gateway.renderer
        self._share = share or share_of(request.scope)
        self._reading = reading

    async def catch_up(self, part: Part) -> Response:
        """Answer with what is there.

        Raises:
            GoneError: What the client asks for is gone.
            NoTurnError: The room that the answer takes is needed for others.
        """
        self._check(part)
        known = self._request.headers.get("if-none-match")
        etag, lasting = self._etag(part), self._is_lasting(part)
        if known is not None and matches(known, etag):
            headers = self._headers(part) | {"etag": etag}
            headers |= cache_headers(self._grant, lasting=lasting)
            return Response(status_code=304, headers=headers)
        return respond(await self.made(part), self._request, self._grant)

    async def made(self, part: Part) -> Made:
        """Return the answer with what is there, as far as others can share it; raises the same."""
        self._check(part)
        return await self._made(part, self._headers(part))

    def _is_lasting(self, part: Part) -> bool:
        # "So many items back" means other items as soon as more have come.
        moves = isinstance(self._query.start, Last)
        return part.end is not None or not (part.up_to_date or moves)

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
        made = await self._made(part, headers)
        return _response(made, dict(made.headers), self._metrics, "long-poll")

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

    async def _made(self, part: Part, headers: dict[str, str]) -> Made:
        shape = self._stream.shape
        with self._share.holding_all(self._made_of(part)):
            frames = await self._renderer.items(shape, part.slices, self._topics)
            body = shape.body(frame.data for frame in frames if frame.items)
            self._hold(body)
        items, size = sum(frame.items for frame in frames), len(body)
        del frames
        varies = headers["content-type"].lower().startswith(_COMPRESSIBLE)
        if varies and self._compress and size >= self._stream.settings.compress_from_bytes:
            body = await self._compressed(body)
            headers = headers | {"content-encoding": "gzip"}
        if self._share.is_given_up:
            raise NoTurnError
        return Made(
            body,
            headers,
            varies,
            self._etag(part),
            self._is_lasting(part),
            is_part=part.end is not None or not part.up_to_date,
            items=items,
            size=size,
            notices=tuple(step for step in part.steps if isinstance(step, Gap | Rewind)),
        )

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


def respond(made: Made, request: Request, grant: Grant) -> Response:
    """Answer a request for what is there with an answer that others may have as well."""
    headers = dict(made.headers) | {"etag": made.etag}
    headers |= cache_headers(grant, lasting=made.lasting)
    known = request.headers.get("if-none-match")
    if known is not None and matches(known, made.etag):
        headers.pop("content-encoding", None)
        return Response(status_code=304, headers=headers)
    return _response(made, headers, request.app.state.metrics, "catch-up")


def _response(made: Made, headers: dict[str, str], metrics: Metrics, mode: str) -> Response:
    metrics.items.labels(mode).inc(made.items)
    metrics.bytes.labels(mode).inc(made.size)
    for notice in made.notices:
        counts = metrics.gaps if isinstance(notice, Gap) else metrics.rewinds
        counts.labels(notice.reason).inc()
    if made.varies:
        headers["vary"] = ", ".join(filter(None, [headers.get("vary"), "Accept-Encoding"]))
    return Response(made.body, headers=headers)


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
