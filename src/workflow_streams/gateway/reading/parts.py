"""Reads a stream part by part, for one reader; answers and events are made from the parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ...errors import StreamNotFoundError
from ...events import End, Gap, Rewind
from ...hosted.streams import Tip
from ...log.positions import Position, position_at
from ...log.wire import Entry
from ...read.feeds.feed import Feed
from ...read.moments import entries_size
from ...read.waiting import ended
from ...read.walk import Slice, Step, Walk
from ..formats.frames import STRETCH

# In an answer, the gaps and rewinds of a part go into header fields.
_MOST_NOTICES = 20
_COUNTED_AT_ONCE = 1000
# What an answer has around an item.
_AROUND = 40


@dataclass(frozen=True, slots=True)
class Part:
    """Steps that go into one answer or event.

    Attributes:
        steps: What came, in order.
        position: The offset at which to go on.
        token: The same as a position of the library, for clients to resume at.
        up_to_date: Whether ``position`` was the head when the part was made.
        end: How the stream ended, if it has.
        size: About how many bytes the items take in an answer. For a large part this is only a
            lower bound.
    """

    steps: list[Step]
    position: int
    token: str
    up_to_date: bool
    end: End | None
    size: int = 0

    @property
    def slices(self) -> list[Slice]:
        """Those steps that contain items."""
        return [step for step in self.steps if isinstance(step, Slice)]

    @property
    def held(self) -> list[tuple[object, Callable[[], int]]]:
        """What it holds in memory, each with its size; see :meth:`..layers.outgoing.Share.hold`."""
        return [(step.entries, partial(entries_size, step.entries)) for step in self.slices]


class Reading:
    """Takes the steps of a walk in parts; close it with ``aclose()``."""

    def __init__(self, feed: Feed, start: int | Position, *, part_bytes: int) -> None:
        """Prepare; nothing is read before :meth:`begin`.

        Args:
            feed: The stream's feed.
            start: Where to begin.
            part_bytes: About how much a part holds; it always holds at least one step.
        """
        self.start = start.offset if isinstance(start, Position) else start
        self._walk = Walk(feed, start)
        self._steps = self._walk.steps()
        self._part_bytes = part_bytes
        self._pull: asyncio.Task[Step | None] | None = None
        self._taken: list[Step] = []
        self._size = self._notices = 0

    @property
    def feed(self) -> Feed:
        """The feed that the walk reads at present."""
        return self._walk.feed

    @property
    def position(self) -> int:
        """Offset of what comes next."""
        return self._walk.position

    @property
    def beside(self) -> int:
        """How many bytes it holds of the history, while it reads that and not what is in memory."""
        return self._walk.beside

    @property
    def caught_up(self) -> bool:
        """Whether everything has been taken that the feed knows of."""
        return self.position >= self.feed.head and not self._walk.astray

    async def first_part(self, tip: Tip) -> Part:
        """Return what is there, at least up to ``tip`` if that fits; no steps if there is nothing.

        Raises:
            WorkflowStreamError: The stream cannot be read.
        """
        while self._size < self._part_bytes and self._notices < _MOST_NOTICES:
            if not await self._more_before(tip) or await self._take():
                return self._part()
        # Until the feed has reached the tip, its head does not tell whether this was all. Make the
        # part before asking for more, since that moves the walk on.
        part = self._part(cut=True)
        more = await self._more_before(tip)
        return part if more else replace(part, up_to_date=part.position >= self.feed.head)

    async def next_part(self) -> Part:
        """Wait until something comes, and return it with everything else that is there.

        If this is cancelled, nothing is lost: the next call goes on.

        Raises:
            StreamNotFoundError: The stream was deleted meanwhile.
            WorkflowStreamError: The stream cannot be read.
        """
        while not self._taken or (self._size < self._part_bytes and not self._nothing_more()):
            if await self._take():
                break
        return self._part()

    async def _take(self) -> bool:
        """Take the next step; return whether it is the last."""
        step = await self._next_step()
        if step is None:
            raise StreamNotFoundError(self.feed.workflow_id, "it is not followed any more")
        self._taken.append(step)
        self._notices += isinstance(step, Gap | Rewind)
        if isinstance(step, Slice):
            self._size += _size_of(step.entries, max(self._part_bytes, STRETCH))
        return isinstance(step, End)

    def _part(self, *, cut: bool = False) -> Part:
        steps, self._taken = self._taken, []
        size, self._size, self._notices = self._size, 0, 0
        position, up_to_date, end = self.position, self.caught_up and not cut, None
        if not steps:
            position, up_to_date = max(self.start, self.feed.base), True
        elif isinstance(last := steps[-1], End):
            position, up_to_date, end = max(self.position, last.offset), True, last
        walk = self._walk
        token = walk.here if position == walk.position else position_at(position, walk.tag)
        return Part(steps, position, token, up_to_date, end, size)

    async def _more_before(self, tip: Tip) -> bool:
        """Wait until the feed has reached the tip, and return whether there is another step."""
        self.begin()
        assert self._pull is not None
        feed = None
        # If the feed has come to its end meanwhile, the walk goes on with another one.
        while feed is not self.feed:
            feed = self.feed
            await self._wait_for_tip(self._pull, tip, feed)
        return self._pull.done() or self._is_behind() or self._is_over()

    async def _wait_for_tip(self, pull: asyncio.Task[Step | None], tip: Tip, feed: Feed) -> None:
        """Wait for the next step, or until the walk has started and its feed reached the tip."""
        if not (pull.done() or self._is_behind()):
            waiting = asyncio.create_task(tip.wait(feed), name="wait for the tip")
            try:
                either: set[asyncio.Task[Any]] = {pull, waiting}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if waiting.done() and not pull.done():
                    waiting.result()
            finally:
                await ended(waiting)
        if not pull.done():
            starting = asyncio.create_task(self._walk.started.wait(), name="wait for the start")
            try:
                await asyncio.wait({pull, starting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await ended(starting)

    def _is_behind(self) -> bool:
        """Whether the feed has read something that has not been taken yet."""
        if self._walk.astray:
            return True
        # If the stream was replaced by another one, the walk starts at another offset than asked.
        feed, start = self.feed, 0 if self._walk.started.is_set() else self.start
        lost = 0 < start < feed.base and not self._taken
        return lost or max(start, self.position, feed.base) < feed.head

    async def _next_step(self) -> Step | None:
        if self._pull is not None:
            await asyncio.wait({self._pull})
            pull, self._pull = self._pull, None
            return pull.result()
        try:
            return await anext(self._steps, None)
        except BaseException:
            # The generator has ended by this; a new one goes on where it was.
            self._steps = self._walk.steps()
            raise

    def begin(self) -> None:
        """Begin to read; from now until :meth:`aclose` the feed keeps running."""
        if self._pull is None:
            self._pull = asyncio.create_task(_next(self._steps), name="pull")

    async def aclose(self) -> None:
        """Stop reading."""
        if self._pull is not None:
            pull, self._pull = self._pull, None
            await ended(pull)
        await self._steps.aclose()

    def _nothing_more(self) -> bool:
        """Whether the next step would have to be waited for. An end goes with the last items."""
        return self.caught_up and not self._is_over()

    def _is_over(self) -> bool:
        """Whether the stream's end, or an error that stopped the feed, is yet to be taken."""
        return self.feed.done or self.feed.end is not None


class Waiting:
    """Waits for the next part of a reading, repeatedly if need be, without losing any of it."""

    def __init__(self, reading: Reading) -> None:
        """Wait for parts of ``reading``; ``aclose()`` ends the waiting, and leaves that open."""
        self._reading = reading
        self._next: asyncio.Task[Part] | None = None

    async def next_within(self, seconds: float, over: asyncio.Future[None]) -> Part | None:
        """Return the next part; None if it does not come in time, or before ``over`` is done.

        Raises:
            WorkflowStreamError: The stream cannot be read any more.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._reading.next_part(), name="next part")
        either: set[asyncio.Future[Any]] = {self._next, over}
        await asyncio.wait(either, timeout=max(0, seconds), return_when=asyncio.FIRST_COMPLETED)
        if not self._next.done():
            return None
        done, self._next = self._next, None
        return done.result()

    async def aclose(self) -> None:
        """Stop waiting."""
        if self._next is not None:
            task, self._next = self._next, None
            await ended(task)


def _size_of(entries: list[Entry], enough: int) -> int:
    """Return about how many bytes entries take in an answer; it stops soon after ``enough``."""
    size = 0
    for at in range(0, len(entries), _COUNTED_AT_ONCE):
        some = entries[at : at + _COUNTED_AT_ONCE]
        size += sum([len(topic) + len(data) for topic, _, data in some]) + _AROUND * len(some)
        if size >= enough:
            break
    return size


async def _next(steps: AsyncGenerator[Step]) -> Step | None:
    return await anext(steps, None)
