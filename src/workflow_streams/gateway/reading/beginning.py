"""Begins a read: finds where it starts and what is there, even if the stream is opened late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from ...errors import StreamNotOpenedError
from ...events import Gap, Last
from ...log.positions import Position
from ...read.waiting import ended
from ...temporal.handles import first_run_of
from ..requests.reads import ReadQuery
from ..temporal.streams import Stream
from .parts import Part, Reading
from .turns import Turn

# A stream that takes longer to be opened has no worker, or a slow one.
_OPENING_SECONDS = 0.5


@dataclass(slots=True)
class Begun:
    """A reading that has begun.

    Attributes:
        reading: Where the rest comes from. Its owner has to close it.
        first: What is there already.
    """

    reading: Reading
    first: Part

    def take_first(self) -> Part:
        """Return what is there already, and keep none of its items here."""
        first, self.first = self.first, replace(self.first, steps=[])
        return first


async def begin(stream: Stream, query: ReadQuery, turn: Turn | None = None) -> Begun:
    """Begin to read, and read what is there.

    Args:
        stream: The stream.
        query: What the client asks for.
        turn: The request's turn at this, if it needs one. While the stream takes long to be
            opened, another request has it.

    Raises:
        StreamNotOpenedError: No worker has opened the stream in time.
        WorkflowStreamError: The stream cannot be read.
    """
    reading = await begin_reading(stream, query, turn)
    try:
        await _opened(stream, turn)
        first = await reading.first_part(await stream.tip())
    except BaseException:
        await reading.aclose()
        raise
    if isinstance(query.start, Last):
        first = _without_lost_start(first, reading.start)
    return Begun(reading, first)


async def begin_reading(stream: Stream, query: ReadQuery, turn: Turn | None = None) -> Reading:
    """Begin to read where the client asks; the caller has to close the reading.

    The reading itself keeps the feed running, so that the history is read only once.
    """
    part_bytes = stream.settings.event_bytes if query.live == "sse" else stream.settings.page_bytes
    if query.start != "now" and not isinstance(query.start, Last):
        reading = Reading(stream.feed, stream.start_at(query.named), part_bytes=part_bytes)
        reading.begin()
        return reading
    async with held(stream, turn):
        start = await stream.now()
        if isinstance(query.start, Last):
            start = max(stream.feed.base, start - query.start.n)
        reading = Reading(stream.feed, start, part_bytes=part_bytes)
        reading.begin()
        try:
            await asyncio.sleep(0)  # after this, the reading itself holds the feed
        except BaseException:
            await reading.aclose()
            raise
        return reading


@asynccontextmanager
async def held(stream: Stream, turn: Turn | None) -> AsyncIterator[None]:
    """Keep the stream's feed running, and wait until it has been opened; see :func:`begin`."""
    stream.feed.retain(0)
    try:
        await _opened(stream, turn)
        yield
    finally:
        stream.feed.release()


async def _opened(stream: Stream, turn: Turn | None) -> None:
    if turn is None or stream.feed.floor is not None:
        await stream.ready()
        return
    opening = asyncio.create_task(stream.ready(), name="wait for the stream to be opened")
    try:
        await asyncio.wait({opening}, timeout=_OPENING_SECONDS)
        if not opening.done():
            turn.give_back()
            await asyncio.wait({opening})
        opening.result()
    finally:
        await ended(opening)
    await turn.take()


def is_in_memory(stream: Stream, query: ReadQuery) -> bool:
    """Whether all that the read begins with is in its feed's ring, so that it needs no turn."""
    feed, start = stream.feed, stream.start_at(query.named)
    if not feed.reads or feed.floor is None:
        return False
    if query.start == "now":
        return True
    if isinstance(query.start, Last):
        return feed.head - query.start.n >= feed.floor
    if isinstance(start, Position):
        return start.run_id == feed.run_id and start.offset > feed.floor
    return start >= feed.floor


def _without_lost_start(part: Part, start: int) -> Part:
    """Leave out a gap right at the start, since the client did not ask for a certain offset."""
    match part.steps:
        case [Gap(start=begins, reason=reason), *rest] if begins == start and reason != "unserved":
            return replace(part, steps=rest)
        case _:
            return part


def place_before_opening(stream: Stream, query: ReadQuery) -> str:
    """Return where to resume, as the value of an ``offset``, if the stream is not open yet.

    In a workflow's first run nothing has an offset yet, so the head is the start. If the client
    came back with "now", it would miss what has been published meanwhile.
    """
    is_first = first_run_of(stream.described) == stream.described.run_id
    return "-1" if is_first and not isinstance(query.start, int | Position) else query.asked


class Beginning:
    """A live read that is about to begin: at once, or as soon as a worker opens the stream."""

    def __init__(
        self, stream: Stream, query: ReadQuery, turn: Turn, *, keeps_turn: bool = False
    ) -> None:
        """Start the task that begins the read; :meth:`aclose` ends it and closes the reading.

        Args:
            stream: The stream.
            query: What the client asks for.
            turn: The request's turn at this; it is taken only if the read needs one.
            keeps_turn: Whether it keeps the turn when it has begun. The caller then gives it back,
                or :meth:`aclose` does.
        """
        self._turn = turn
        self._keeps_turn = keeps_turn
        self._has_turn = asyncio.Event()
        self._task = asyncio.create_task(self._begin(stream, query), name="begin to read")

    @property
    def begun(self) -> Begun | None:
        """The reading, or None if it has not begun yet.

        Raises:
            WorkflowStreamError: The stream cannot be read.
        """
        return self._task.result() if self._task.done() else None

    async def wait_for_turn(self) -> None:
        """Wait until it is the read's turn.

        Raises:
            NoTurnError: It did not come in time.
            WorkflowStreamError: The stream cannot be read.
        """
        coming = asyncio.create_task(self._has_turn.wait(), name="wait for a turn")
        try:
            either: set[asyncio.Task[Any]] = {self._task, coming}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await ended(coming)
        if self._task.done():
            self._task.result()

    async def wait(
        self, seconds: float | None = None, over: asyncio.Future[None] | None = None
    ) -> Begun | None:
        """Wait until the reading has begun; None after ``seconds``, or when ``over`` is done.

        Raises:
            WorkflowStreamError: The stream cannot be read.
        """
        either: set[asyncio.Future[Begun] | asyncio.Future[None]] = {self._task}
        if over is not None:
            either.add(over)
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return self.begun

    def lag(self) -> int:
        """How many items the reading is behind the head; 0 until it has begun."""
        if not self._task.done() or self._task.cancelled() or self._task.exception() is not None:
            return 0
        reading = self._task.result().reading
        return max(0, reading.feed.head - reading.position)

    async def aclose(self) -> None:
        """Stop, and close the reading."""
        self._task.cancel()
        await asyncio.wait({self._task})
        self._turn.give_back()
        if not self._task.cancelled() and self._task.exception() is None:
            await self._task.result().reading.aclose()

    async def _begin(self, stream: Stream, query: ReadQuery) -> Begun:
        needs = not is_in_memory(stream, query)
        while True:
            if needs:
                await self._turn.take()
            self._has_turn.set()
            try:
                begun = await begin(stream, query, self._turn if needs else None)
            except StreamNotOpenedError:
                self._turn.give_back()
                continue  # it has waited a while; go on as long as the client is there
            except BaseException:
                self._turn.give_back()
                raise
            if not self._keeps_turn:
                self._turn.give_back()
            return begun
