"""GET and HEAD of a stream: reads of what is there, long polls, event streams.

Durable Streams, sections 5.5 to 5.8.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Hashable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from ..events import Last
from .following import sse
from .formats.offsets import next_cursor, token_of
from .layers.limits import ConnectionLimits, client_in
from .layers.outgoing import Share, share_of
from .reading.answer import Answer, end_headers, respond
from .reading.arriving import found_in_time
from .reading.beginning import Beginning, begin, held, place_before_opening
from .reading.caching import accepts_gzip, cache_headers, still_true
from .reading.disconnects import ClientGoneError, left, unless_left
from .reading.parts import Part
from .reading.shared_answers import Made
from .reading.turns import Turn
from .refusals.event_sources import is_event_source
from .refusals.problems import NoStreamError, NotStartedError
from .requests.reads import ReadQuery, parse_read, parse_wait
from .security import Grant, authorize
from .sessions import Gateway, gateway_of
from .telemetry.metrics import Metrics
from .temporal.streams import Stream


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
            if waited and (query.start == "now" or isinstance(query.start, Last)):
                # Everything in the stream has come since the client asked, so it gets all of it.
                query = replace(query, start="start", asked="-1")
            await gateway.touch(stream)
            return await _read(request, gateway, stream, query, grant)
    except ClientGoneError:
        return left()
    except NotStartedError as err:
        if not query.resumes or query.start == "start":
            raise
        # The client has read the stream before, so it was deleted; waiting would be in vain.
        if query.knows_end and is_event_source(request.scope):
            return Response(status_code=204, headers={"cache-control": "no-store"})
        raise NoStreamError(cause_for_log=err.cause_for_log) from err


async def _read(
    request: Request, gateway: Gateway, stream: Stream, query: ReadQuery, grant: Grant
) -> Response:
    if query.live is None and query.start == "now":
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
    key = _shared_key(request, stream, query, grant)
    if key is None or ("if-none-match" in request.headers and key not in gateway.answers):
        # What the client has already may not have to be made at all.
        async with _begun(request, gateway, stream, query, grant) as (answer, first):
            return await answer.catch_up(first)

    async def make(share: Share) -> Made:
        async with _begun(request, gateway, stream, query, grant, share) as (answer, first):
            return await answer.made(first)

    made = await gateway.answers.get(
        key,
        make,
        share_of(request.scope),
        length=stream.described.history_length,
        patience=gateway.settings.limits.catch_up_wait_seconds,
    )
    return respond(made, request, grant)


def _shared_key(
    request: Request, stream: Stream, query: ReadQuery, grant: Grant
) -> Hashable | None:
    """Return what tells the answer from others; None if it is not shared."""
    if isinstance(query.start, Last):
        return None
    compress = accepts_gzip(request.headers.get("accept-encoding", ""))
    described = stream.described
    return (
        stream.workflow_id, stream.first_run_id, described.run_id, described.status, query.start,
        grant.topics, compress,
    )  # fmt: skip


@asynccontextmanager
async def _begun(
    request: Request,
    gateway: Gateway,
    stream: Stream,
    query: ReadQuery,
    grant: Grant,
    share: Share | None = None,
) -> AsyncIterator[tuple[Answer, Part]]:
    """Begin to answer with what is there, and have a turn at that within the block.

    The turn lasts until the answer is ready: it holds what was read, and then its body.
    """
    async with gateway.catch_ups.turn(client_in(request.scope, grant.client)) as turn:
        begun = await begin(stream, query, turn)
        async with aclosing(begun.reading):
            reading = begun.reading
            answer = Answer(request, stream, reading, query, grant, gateway, share=share)
            yield answer, begun.take_first()


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
    answer = Answer(request, stream, begun.reading, query, grant, gateway)
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
