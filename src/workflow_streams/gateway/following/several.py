"""GET /v1/streams/events: several streams over one connection, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from ..formats.frames import KEEP_ALIVE
from ..layers.limits import ConnectionLimits, client_in
from ..layers.outgoing import Share
from ..reading.caching import event_cache_headers
from ..refusals import RefusedError
from ..refusals.problems import NotOfferedError
from ..refusals.responses import problem_fields, request_id_of
from ..security import Grant, authorize
from ..sessions import Gateway, gateway_of
from ..telemetry.metrics import LeaveReason, Metrics
from .bounds import SharedBounds
from .event_ids import OVER, SeveralQuery, StreamOffsets, parse_several
from .follower import Follower
from .sse import EventStream, Life


async def events(request: Request) -> Response:
    """Answer with the events of several streams, if the client may read all of them."""
    if request.method != "GET":
        raise NotOfferedError("This path offers events only.", allowed="GET")
    query = parse_several(request.query_params, request.headers)
    # Check all of them before anything is looked up, so that a refusal does not reveal which exist.
    grants = {name: await authorize(request, "read", name, query.topics)
              for name in dict.fromkeys(query.ids)}  # fmt: skip
    gateway = gateway_of(request)
    metrics: Metrics = request.app.state.metrics
    if query.resumes:
        metrics.reconnects.labels("sse").inc()
    request_id = request_id_of(request.scope)
    share = gateway.unread.share()
    several = Several(
        gateway,
        metrics,
        query,
        [grants[name] for name in query.ids],
        share,
        client_in(request.scope, next(iter(grants.values())).client),
        request_id,
    )
    if several.offsets.all_over:
        return Response(status_code=204, headers={"cache-control": "no-store"})
    strictest = min(grants.values(), key=_ends)
    life = Life.of(gateway.settings.sse_seconds, strictest.seconds_left(time.time()))
    counted = _counted(request, strictest.client, len(query.ids))
    return EventStream(
        several, life, counted, gateway, share, metrics, caching=event_cache_headers(strictest)
    )


def _ends(grant: Grant) -> float:
    return float("inf") if grant.expires_at is None else grant.expires_at


@contextmanager
def _counted(request: Request, subject: str, streams: int) -> Iterator[None]:
    """Count each stream as if it had a connection of its own, for the subject and the address.

    Raises:
        TooManyConnectionsError: The client would have too many connections.
    """
    connections: ConnectionLimits = request.app.state.connections
    address = client_in(request.scope)
    with ExitStack() as counted:
        for _ in range(streams):
            counted.enter_context(connections.of_client(subject))
        for _ in range(streams - 1):  # the request itself is counted already
            counted.enter_context(connections.of_client(address))
        yield


class Several:
    """The events of several streams for one client: part by part, the streams in turn.

    Attributes:
        offsets: Where the client stands in each of them.
    """

    def __init__(
        self,
        gateway: Gateway,
        metrics: Metrics,
        query: SeveralQuery,
        grants: Sequence[Grant],
        share: Share,
        client: str,
        request_id: str,
    ) -> None:
        """Prepare; nothing is looked up before :meth:`next_events`.

        Args:
            gateway: The gateway that serves them.
            metrics: Counts what is sent.
            query: What the client asks for.
            grants: What the client may see of each stream.
            share: Counts what is held for the client.
            client: Whom the connection is counted for when it waits for turns.
            request_id: The id of the client's request.
        """
        self.headers: dict[str, str] = {}
        self.offsets = StreamOffsets(query)
        self._ready: asyncio.Queue[Follower] = asyncio.Queue()
        self._turn: Follower | None = None
        bounds = SharedBounds(share, gateway.settings.event_bytes, len(query.ids), client)
        settings = replace(gateway.settings, event_bytes=bounds.part_bytes)
        self._followers = [
            Follower(
                gateway, metrics, name, grant, self.offsets, index, settings, bounds, request_id
            )
            for index, (name, grant) in enumerate(zip(query.ids, grants, strict=True))
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._request_id = request_id

    async def next_events(self) -> tuple[bytes, bool]:
        """Wait for the next events of any stream; return them, and whether they are the last.

        If this is cancelled, nothing is lost: the next call goes on.
        """
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(follower.run(self._ready), name="follow one of several")
                for follower in self._followers
                if self.offsets[follower.index] != OVER
            ]
        # Render what waits only in its turn, so that one connection holds one large event at most.
        if self._turn is None:
            self._turn = await self._ready.get()
        told = await self._turn.take()
        self._turn = None
        if self.offsets.all_over:
            return told + self.offsets.notice({"allClosed": True}), True
        return told, False

    def still_there(self) -> bytes:
        """Return what to send after a silence: news other than items, or offsets to resume at."""
        return b"".join(f.still_there() for f in self._followers) or KEEP_ALIVE

    def closing(self, reason: LeaveReason) -> bytes:
        """Return the event that sends the client away, with offsets to resume at."""
        return self.offsets.notice({"closing": reason})

    def failing(self, refusal: RefusedError) -> bytes:
        """Return the event that tells why none of the streams can be read any more."""
        return self.offsets.notice({"problem": problem_fields(refusal, self._request_id)})

    def lag(self) -> int:
        """How many items the client is behind the heads, in all streams together."""
        return sum(follower.lag() for follower in self._followers)

    async def aclose(self) -> None:
        """Stop reading."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
