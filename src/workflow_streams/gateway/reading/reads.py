"""GET and HEAD: reads of what is there, and long polls (Durable Streams 5.5 to 5.7)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from ...events import End, Gap, Last, Rewind
from ...read.moments import entries_size
from ..following import sse
from ..formats.frames import gap_fields, passes, rewind_fields
from ..formats.offsets import next_cursor, token_of
from ..layers.limits import ConnectionLimits, client_in
from ..layers.outgoing import PIECE_BYTES, share_of
from ..refusals import NoTurnError
from ..refusals.event_sources import is_event_source
from ..refusals.problems import GoneError, NoStreamError, NotStartedError
from ..requests.reads import ReadQuery, parse_read, parse_wait
from ..security import Grant, authorize
from ..sessions import Gateway, gateway_of
from ..telemetry.metrics import Metrics
from ..temporal.streams import Stream
from .arriving import found_in_time
from .beginning import Beginning, begin, held, place_before_opening
from .caching import accepts_gzip, cache_headers, etag_of, gzipped, matches, still_true
from .disconnects import ClientGoneError, left, unless_left
from .parts import Part, Reading, Waiting
from .turns import Turn

_COMPRESSIBLE = ("text/", "application/json", "application/x-ndjson", "application/xml")
# All header fields together should stay below the 8 KB that many clients and proxies accept.
_MOST_RANGES = 50


async def read(request: Request, workflow_id: str) -> Response:
    """Answer a GET."""
    query = parse_read(request.query_params, request.headers)
    grant = await authorize(request, "read", workflow_id, query.topics)
    gateway = gateway_of(request)
    try:
        async with found_in_time(request, gateway, workflow_id, grant, query.wait_seconds) as (
            stream,
            waited,
        ):
            if waited and (query.place == "now" or isinstance(query.place, Last)):
                # Everything in the stream has come since the client asked, so it gets all of it.
                query = replace(query, place="start", asked="-1")
            await gateway.touch(stream)
            return await _read(request, gateway, stream, query, grant)
    except ClientGoneError:
        return left()
    except NotStartedError as err:
        if not query.resumes or query.place == "start":
            raise
        # The client has read the stream before, so it was deleted; waiting would be in vain.
        if query.knows_end and is_event_source(request.scope):
            return Response(status_code=204, headers={"cache-control": "no-store"})
        raise NoStreamError(cause_for_log=err.cause_for_log) from err


async def _read(
    request: Request, gateway: Gateway, stream: Stream, query: ReadQuery, grant: Grant
) -> Response:
    if query.live is None and query.place == "now":
        return await unless_left(request, _tail(request, gateway, stream, grant))
    known = request.headers.get("if-none-match")
    if (
        query.live is None
        and known is not None
        and (etag := still_true(known, stream, query, grant))
    ):
        return Response(status_code=304, headers={"etag": etag, **cache_headers(grant)})
    if query.live == "sse":
        return await sse.respond(request, gateway, stream, query, grant)
    if query.live is None:
        return await unless_left(request, _catch_up(request, gateway, stream, query, grant))
    connections: ConnectionLimits = request.app.state.connections
    metrics: Metrics = request.app.state.metrics
    turn = Turn(gateway.catch_ups, client_in(request.scope, grant.client))
    async with aclosing(Beginning(stream, query, turn, keeps_turn=True)) as beginning:
        with connections.of_client(grant.client), metrics.viewer("long-poll", beginning.lag):
            poll = _long_poll(request, gateway, stream, beginning, query, grant, turn)
            return await unless_left(request, poll)


async def _catch_up(
    request: Request, gateway: Gateway, stream: Stream, query: ReadQuery, grant: Grant
) -> Response:
    # The turn lasts until the answer is ready: it holds what was read, and then its body.
    async with gateway.catch_ups.turn(client_in(request.scope, grant.client)) as turn:
        begun = await begin(stream, query, turn)
        async with aclosing(begun.reading):
            answer = _Answer(request, stream, begun.reading, query, grant, gateway)
            return await answer.catch_up(begun.take_first())


async def _long_poll(
    request: Request,
    gateway: Gateway,
    stream: Stream,
    beginning: Beginning,
    query: ReadQuery,
    grant: Grant,
    turn: Turn,
) -> Response:
    await beginning.wait_for_turn()
    patience, permitted = stream.settings.long_poll_seconds, grant.seconds_left(time.time())
    if permitted is not None:
        patience = min(patience, permitted)
    until = asyncio.get_running_loop().time() + patience
    begun = await beginning.wait(patience, gateway.closing)
    if begun is None:
        return _not_opened(stream, query)
    answer = _Answer(request, stream, begun.reading, query, grant, gateway)
    return await answer.long_poll(begun.take_first(), until, gateway.closing, turn)


def _not_opened(stream: Stream, query: ReadQuery) -> Response:
    """Answer a long poll of a stream that no worker has opened yet: there is nothing so far."""
    headers = {
        "content-type": stream.shape.content_type,
        "stream-next-offset": place_before_opening(stream, query),
        "stream-up-to-date": "true",
        "stream-cursor": next_cursor(query.cursor, time.time()),
        "cache-control": "no-store",
    }
    return Response(status_code=204, headers=headers)


async def head(request: Request, workflow_id: str) -> Response:
    """Answer a HEAD."""
    wait_seconds = parse_wait(request.query_params)
    grant = await authorize(request, "read", workflow_id)
    gateway = gateway_of(request)
    try:
        async with (
            found_in_time(request, gateway, workflow_id, grant, wait_seconds) as (stream, _),
        ):
            return await unless_left(request, _head(request, gateway, stream, grant))
    except ClientGoneError:
        return left()


async def _head(request: Request, gateway: Gateway, stream: Stream, grant: Grant) -> Response:
    async with _at_head(request, gateway, stream, grant):
        return Response(headers=_head_headers(stream))


@asynccontextmanager
async def _at_head(
    request: Request, gateway: Gateway, stream: Stream, grant: Grant
) -> AsyncIterator[None]:
    """Have the stream's feed read up to the head, and keep it there."""
    async with AsyncExitStack() as stack:
        turn: Turn | None = None
        if not stream.feed.reads:
            # The feed begins with reading what there is.
            client = client_in(request.scope, grant.client)
            turn = await stack.enter_async_context(gateway.catch_ups.turn(client))
        await stack.enter_async_context(held(stream, turn))
        await stream.now()
        yield


def _head_headers(stream: Stream) -> dict[str, str]:
    headers = {**_tip_headers(stream), "cache-control": "no-store"}
    if stream.setup is not None and stream.setup.ttl_seconds is not None:
        headers["stream-ttl"] = str(stream.setup.ttl_seconds)
    if stream.setup is not None and stream.setup.expires_at is not None:
        headers["stream-expires-at"] = stream.setup.expires_at.replace("+00:00", "Z")
    headers["stream-base-offset"] = token_of(stream.feed.base)
    headers |= stream.task_headers
    return headers


async def _tail(request: Request, gateway: Gateway, stream: Stream, grant: Grant) -> Response:
    """Answer a read from ``now``: no items, but where to go on."""
    async with _at_head(request, gateway, stream, grant):
        headers = {**_tip_headers(stream), "cache-control": "no-store"}
        headers["stream-up-to-date"] = "true"
        return Response(stream.shape.body([]), headers=headers)


def _tip_headers(stream: Stream) -> dict[str, str]:
    headers = {
        "content-type": stream.shape.content_type,
        "stream-next-offset": token_of(stream.feed.head, stream.feed.tag),
    }
    if stream.end is not None:
        headers |= end_headers(stream.end)
    return headers


def end_headers(end: End) -> dict[str, str]:
    """Return the headers that tell of the end."""
    return {"stream-closed": "true", "stream-outcome": end.outcome}


class _Answer:
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
        self._check(part)
        known = self._request.headers.get("if-none-match")
        etag = self._etag(part)
        # "So many items back" means other items as soon as more have come.
        moves = isinstance(self._query.place, Last)
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
            for step in part.slices:
                yield step.entries, partial(entries_size, step.entries)

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
