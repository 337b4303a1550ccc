"""Where a read begins, and what is there already, however late a worker opens the stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from ...errors import StreamNotOpenedError
from ...events import Gap, Last
from ...log.positions import Position
from ...read.runs.lookup import first_run_of
from ..requests import ReadQuery
from ..temporal.streams import Stream
from .parts import Part, Reading


@dataclass(slots=True)
class Begun:
    """A reading that has begun.

    Attributes:
        reading: Where the rest comes from; whoever has this closes it.
        first: What is there already.
    """

    reading: Reading
    first: Part

    def take_first(self) -> Part:
        """Return what is there already, and keep no items of it."""
        first, self.first = self.first, replace(self.first, steps=[])
        return first


async def begin(stream: Stream, query: ReadQuery) -> Begun:
    """Begin to read, and read what is there.

    Raises:
        StreamNotOpenedError: No worker has opened the stream in time.
        WorkflowStreamError: It cannot be read.
    """
    reading = await begin_reading(stream, query)
    try:
        first = await reading.first_part(await stream.tip())
    except BaseException:
        await reading.aclose()
        raise
    if isinstance(query.place, Last):
        first = _without_lost_start(first, reading.start)
    return Begun(reading, first)


async def begin_reading(stream: Stream, query: ReadQuery) -> Reading:
    """Begin to read where the client asks to; the caller closes it.

    The reading itself keeps the feed running, so that it passes the history once only.
    """
    part_bytes = stream.settings.event_bytes if query.live == "sse" else stream.settings.page_bytes
    if query.place != "now" and not isinstance(query.place, Last):
        reading = Reading(stream.feed, stream.start_at(query.start), part_bytes=part_bytes)
        reading.begin()
        return reading
    async with stream.held():
        start = await stream.now()
        if isinstance(query.place, Last):
            start = max(stream.feed.base, start - query.place.n)
        reading = Reading(stream.feed, start, part_bytes=part_bytes)
        reading.begin()
        try:
            await asyncio.sleep(0)  # it holds the feed itself from here on
        except BaseException:
            await reading.aclose()
            raise
        return reading


def _without_lost_start(part: Part, start: int) -> Part:
    """Leave out a gap right at the start, since the client has not asked for that very offset."""
    match part.steps:
        case [Gap(start=begins, reason=reason), *rest] if begins == start and reason != "unserved":
            return replace(part, steps=rest)
        case _:
            return part


def place_before_opening(stream: Stream, query: ReadQuery) -> str:
    """Return where to go on, as the text of an ``offset``, if the stream has not been opened yet.

    In a workflow's first run, nothing has an offset yet, so that the head is the start. What is
    published until the client comes again would lie before "now" by then.
    """
    is_first = first_run_of(stream.described) == stream.described.run_id
    return "-1" if is_first and not isinstance(query.place, int | Position) else query.asked


class Beginning:
    """A live read that is about to begin, at the latest when a worker has opened the stream."""

    def __init__(self, stream: Stream, query: ReadQuery) -> None:
        """Begin; close it with :meth:`aclose`, which closes the reading as well."""
        self._stream = stream
        self._query = query
        self._task = asyncio.create_task(self._begin(), name="begin to read")

    @property
    def begun(self) -> Begun | None:
        """The reading; None as long as it has not begun.

        Raises:
            WorkflowStreamError: The stream cannot be read.
        """
        return self._task.result() if self._task.done() else None

    async def wait(
        self, seconds: float | None = None, over: asyncio.Future[None] | None = None
    ) -> Begun | None:
        """Wait until it has begun; None if it has not in time, or before ``over`` is done.

        Raises:
            WorkflowStreamError: The stream cannot be read.
        """
        either: set[asyncio.Future[Begun] | asyncio.Future[None]] = {self._task}
        if over is not None:
            either.add(over)
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return self.begun

    def lag(self) -> int:
        """How many items it is behind the head; 0 as long as it has not begun."""
        if not self._task.done() or self._task.cancelled() or self._task.exception() is not None:
            return 0
        reading = self._task.result().reading
        return max(0, reading.feed.head - reading.position)

    async def aclose(self) -> None:
        """Stop, and close the reading."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and self._task.exception() is None:
            await self._task.result().reading.aclose()

    async def _begin(self) -> Begun:
        while True:
            try:
                return await begin(self._stream, self._query)
            except StreamNotOpenedError:
                continue  # it waited for a while; the client does so as long as it stays
