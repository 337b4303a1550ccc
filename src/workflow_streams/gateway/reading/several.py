"""GET /v1/streams/events: several streams over one connection, as server-sent events."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from ...errors import StreamNotFoundError, WorkflowStreamError
from ...read.moments import entries_size
from ...temporal.backoff import Backoff
from ..frames import ENVELOPES, KEEP_ALIVE
from ..layers.limits import ConnectionLimits, client_at
from ..layers.outgoing import Share
from ..offsets import parse_place
from ..problems import NotOfferedError, NotStartedError, refusal_of
from ..refusals import RefusedError
from ..requests import ReadQuery
from ..responses import problem_fields, request_id_of
from ..security import Grant, authorize
from ..sessions import Gateway, gateway_of
from ..settings import GatewaySettings
from ..streams import Stream
from ..telemetry.metrics import LeaveReason, Metrics
from .beginning import Beginning
from .caching import event_cache_headers
from .one_stream import OneStream
from .parts import Part
from .places import OVER, Places, SeveralQuery, parse_several
from .sse import EventStream, Life

logger = logging.getLogger("workflow_streams.gateway")

# Of one connection; so many lookups at once do not delay those of others.
_LOOKUPS_AT_ONCE = 10
_BEGIN_AT_ONCE = 2
_BEGIN_SECONDS = 0.5
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 15.0
_LEAST_PART_BYTES = 16 * 1024


async def events(request: Request) -> Response:
    """Answer with the events of several streams; each is a stream that the client may read."""
    if request.method != "GET":
        raise NotOfferedError("There is nothing but events here.", allowed="GET")
    query = parse_several(request.query_params, request.headers)
    # All of them before anything is looked up: a refusal tells nothing of what there is.
    grants = {name: await authorize(request, "read", name, query.topics)
              for name in dict.fromkeys(query.ids)}  # fmt: skip
    gateway = gateway_of(request)
    metrics: Metrics = request.app.state.metrics
    if query.resumes:
        metrics.reconnects.labels("sse").inc()
    request_id = request_id_of(request.scope)
    share = gateway.unread.share()
    several = Several(
        gateway, metrics, query, [grants[name] for name in query.ids], share, request_id
    )
    if several.places.all_over:
        return Response(status_code=204, headers={"cache-control": "no-store"})
    strictest = min(grants.values(), key=_ends)
    life = Life.of(gateway.settings.sse_seconds, strictest.seconds_left(time.time()))
    place = _counted(request, strictest.client, len(query.ids))
    return EventStream(
        several, life, place, gateway, share, metrics, caching=event_cache_headers(strictest)
    )


def _ends(grant: Grant) -> float:
    return float("inf") if grant.expires_at is None else grant.expires_at


@contextmanager
def _counted(request: Request, subject: str, streams: int) -> Iterator[None]:
    """Count each stream as a connection of its own would be, for the subject and the address.

    Raises:
        TooManyConnectionsError: These are more than the client may have.
    """
    connections: ConnectionLimits = request.app.state.connections
    address = client_at(None if request.client is None else request.client.host)
    with ExitStack() as counted:
        for _ in range(streams):
            counted.enter_context(connections.of_client(subject))
        for _ in range(streams - 1):  # the request itself is counted already
            counted.enter_context(connections.of_client(address))
        yield


class Several:
    """What one client gets of several streams: part by part, each stream in its turn.

    Attributes:
        places: Where the client stands in each of them.
    """

    def __init__(
        self,
        gateway: Gateway,
        metrics: Metrics,
        query: SeveralQuery,
        grants: Sequence[Grant],
        share: Share,
        request_id: str,
    ) -> None:
        """Prepare; nothing is looked up before :meth:`next_events`.

        Args:
            gateway: Whose streams these are.
            metrics: Counts what is sent.
            query: What the client asks for.
            grants: What it may see of each stream.
            share: What is held for the client.
            request_id: Of its request.
        """
        self.headers: dict[str, str] = {}
        self.places = Places(query)
        self._ready: asyncio.Queue[_Follower] = asyncio.Queue()
        self._turn: _Follower | None = None
        lookups = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        # Together they hold about as much as the reader of one stream.
        part_bytes = max(_LEAST_PART_BYTES, gateway.settings.event_bytes // len(query.ids))
        settings = replace(gateway.settings, event_bytes=part_bytes)
        waiting = _Waiting(share, part_bytes * len(query.ids))
        self._followers = [
            _Follower(
                gateway,
                metrics,
                name,
                grant,
                self.places,
                index,
                settings,
                lookups,
                waiting,
                request_id,
            )
            for index, (name, grant) in enumerate(zip(query.ids, grants, strict=True))
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._request_id = request_id

    async def next_events(self) -> tuple[bytes, bool]:
        """Wait for the next events of any stream; return them, and whether they are the last.

        When it is cancelled, nothing is lost: the next call goes on.
        """
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(follower.run(self._ready), name="follow one of several")
                for follower in self._followers
                if self.places[follower.index] != OVER
            ]
        # What waits is rendered in its turn only, so that one connection holds one large event.
        if self._turn is None:
            self._turn = await self._ready.get()
        told = await self._turn.take()
        self._turn = None
        if self.places.all_over:
            return told + self.places.notice({"allClosed": True}), True
        return told, False

    def still_there(self) -> bytes:
        """Return what breaks the silence: news besides items, or places to resume at."""
        return b"".join(f.still_there() for f in self._followers) or KEEP_ALIVE

    def closing(self, reason: LeaveReason) -> bytes:
        """Return the event that sends the client away, with places to resume at."""
        return self.places.notice({"closing": reason})

    def failing(self, refusal: RefusedError) -> bytes:
        """Return the event that tells why nothing more can be read of any stream."""
        return self.places.notice({"problem": problem_fields(refusal, self._request_id)})

    def lag(self) -> int:
        """How far behind the heads this is, of all streams together."""
        return sum(follower.lag() for follower in self._followers)

    async def aclose(self) -> None:
        """Stop reading."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


class _Waiting:
    """What has been read of the streams of one connection, and waits to be told.

    Attributes:
        room: Set while more may be read.
        begins: Held by those that begin to read.
    """

    def __init__(self, share: Share, most: int) -> None:
        self.room = asyncio.Event()
        self.room.set()
        self.begins = asyncio.Semaphore(_BEGIN_AT_ONCE)
        self._share = share
        self._most = most
        self._size = 0

    @contextmanager
    def holding(self, part: Part | None) -> Iterator[None]:
        """Count a part for the time of the block."""
        if part is None:
            yield
            return
        # Of many streams, even parts are much that are little by themselves.
        held = [step.entries for step in part.slices]
        for entries in held:
            self._share.hold(entries, partial(entries_size, entries))
        self._add(part.size)
        try:
            yield
        finally:
            self._add(-part.size)
            for entries in held:
                self._share.drop(entries)

    def _add(self, size: int) -> None:
        self._size += size
        if self._size < self._most:
            self.room.set()
        else:
            self.room.clear()


class _Follower:
    """Follows one of the streams, and has one thing at a time to be told of it."""

    def __init__(
        self,
        gateway: Gateway,
        metrics: Metrics,
        workflow_id: str,
        grant: Grant,
        places: Places,
        index: int,
        settings: GatewaySettings,
        lookups: asyncio.Semaphore,
        waiting: _Waiting,
        request_id: str,
    ) -> None:
        self.index = index
        self._gateway = gateway
        self._metrics = metrics
        self._workflow_id = workflow_id
        self._grant = grant
        self._places = places
        self._settings = settings
        self._lookups = lookups
        self._waiting = waiting
        self._request_id = request_id
        self._has_news = False
        self._problem: Exception | None = None
        self._taken = asyncio.Event()
        self._one: OneStream | None = None
        self._shape = ENVELOPES
        self._told_problem = ""
        self._backoff = Backoff(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        self._least_pause = 0.0

    async def run(self, ready: asyncio.Queue[_Follower]) -> None:
        """Follow to the end; what goes wrong is told, and tried again after a pause."""
        try:
            while not await self._follow(ready):
                await self._pause()
        except Exception as err:  # a fault, to be raised where the connection is served
            await self._hand(ready, err)

    async def _pause(self) -> None:
        await asyncio.sleep(max(self._backoff.next(), self._least_pause))

    async def take(self) -> bytes:
        """Return the events that tell what is new; the next may come now.

        When it is cancelled, nothing is lost: the next call goes on.
        """
        if self._problem is not None:
            told = self._problem_told(self._problem)
        else:
            assert self._one is not None
            events, last = await self._one.take()
            told = self._places.told(events, self.index, self._shape, over=last)
        self._has_news, self._problem = False, None
        self._taken.set()
        return told

    def _problem_told(self, problem: Exception) -> bytes:
        if not isinstance(problem, RefusedError):
            raise problem
        self._told_problem = problem.slug
        if not problem.passes:
            self._places[self.index] = OVER
        elif problem.resume_at and not self._places[self.index][:1].isdigit():
            self._places[self.index] = problem.resume_at
        fields = {"problem": problem_fields(problem, self._request_id)}
        return self._places.notice(fields, self.index)

    def still_there(self) -> bytes:
        """Return news besides items; empty if there are none."""
        # What waits to be taken brings its own.
        if self._one is None or self._has_news:
            return b""
        return self._places.told(self._one.still_there(), self.index, self._shape)

    def lag(self) -> int:
        """How far behind the head this is."""
        return 0 if self._one is None else self._one.lag()

    async def _follow(self, ready: asyncio.Queue[_Follower]) -> bool:
        """Follow; return whether nothing more will come: not if a problem may pass."""
        try:
            self._one = await self._open()
            # What it has begun with is there already, and counts at once.
            while not await self._follow_on(self._one, ready):
                await self._waiting.room.wait()
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

    async def _follow_on(self, one: OneStream, ready: asyncio.Queue[_Follower]) -> bool:
        """Wait for something, and until it has been told; return whether it was the last."""
        part = await one.arrive()
        self._backoff.reset()
        self._told_problem = ""
        with self._waiting.holding(part):
            await self._hand(ready)
        return part is not None and part.end is not None

    async def _open(self) -> OneStream:
        """Look the stream up, and begin to read where the client is."""
        asked = self._places[self.index]
        place = parse_place(asked)
        query = ReadQuery(place, "sse", cursor=None, topics=frozenset(), asked=asked)
        async with AsyncExitStack() as while_opening:
            async with self._lookups:
                try:
                    found = self._gateway.found(self._workflow_id)
                    stream = await while_opening.enter_async_context(found)
                except StreamNotFoundError as err:
                    raise NotStartedError(cause_for_log=str(err)) from err
            stream = replace(stream, settings=self._settings)
            await self._gateway.touch(stream)
            beginning = await self._begin(stream, query)
        self._shape = stream.shape
        return OneStream(
            stream, beginning, query, self._grant, self._gateway, self._metrics, self._request_id
        )

    async def _begin(self, stream: Stream, query: ReadQuery) -> Beginning:
        """Begin to read, some streams at a time: each takes as much memory as its largest batch.

        Whoever needs longer lets others go on, since nobody may have opened the stream yet.
        """
        async with self._waiting.begins:
            await self._waiting.room.wait()
            beginning = Beginning(stream, query)
            try:
                await beginning.wait(_BEGIN_SECONDS, self._gateway.closing)
            except BaseException:
                await beginning.aclose()
                raise
        try:
            # Until it has begun, or another lookup would not find the feed any more.
            await beginning.wait(self._settings.open_seconds, self._gateway.closing)
        except BaseException:
            await beginning.aclose()
            raise
        return beginning

    async def _hand(
        self, ready: asyncio.Queue[_Follower], problem: Exception | None = None
    ) -> None:
        """Have told what has arrived, or a problem, and wait until it has been taken."""
        self._has_news, self._problem = True, problem
        self._taken.clear()
        ready.put_nowait(self)
        await self._taken.wait()
