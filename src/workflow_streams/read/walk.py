"""One reader's way through a stream: where it starts, what comes next, what it missed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from ..errors import StreamNotFoundError
from ..events import End, Gap, GapReason, Last, Rewind
from ..log.positions import Position, position_at, tag_of
from ..log.wire import Entry, RunRef
from .catch_up import catch_up, find_run, runs_of
from .feeds.feed import Cursor, Feed
from .feeds.lookup import feed_of, hold
from .moments import BEFORE_ALL, Chunk, Moment, Place
from .resuming import Fate, fate_of
from .starts import Start
from .tip import wait_for_tip
from .until import ToHead


@dataclass(frozen=True, slots=True)
class Slice:
    """Items that came together, the first at ``offset``.

    ``tag`` makes positions of their offsets; see :mod:`workflow_streams.log.positions`.
    """

    offset: int
    entries: list[Entry]
    time: datetime | None
    tag: str = ""


Step: TypeAlias = Slice | Gap | Rewind | End


class Walk:
    """Goes through one stream from a start on, through the feed's ring or the history itself.

    Attributes:
        feed: Feed that it uses; another one after that has stopped.
        position: Offset of what comes next.
        started: Set when it is known where it begins, and what is gone of what it asked for.
        astray: Whether it resumes in a run that does not count any more, and has not yet been
            told what of it was taken back.
    """

    def __init__(self, feed: Feed, start: Start, until: int | ToHead | None = None) -> None:
        """Prepare; nothing is read before :meth:`steps`.

        It stops right before the offset ``until``, or at the head; by default at the end.
        """
        self.feed = feed
        self.position = 0
        self.started = asyncio.Event()
        self.astray = False
        self._until = until
        self._resumed = start if isinstance(start, Position) else None
        self._from = start.offset if isinstance(start, Position) else start
        # A reader that asked for no particular offset has lost nothing before its first item.
        self._expects = isinstance(self._from, int) and self._from > 0
        # Rewinds of retried activities do not move the head, so several may stand at one offset of
        # a run. This is the offset of the last ones and how many of them have been read, and then
        # how many this reader was told before it went away.
        self._rewinds = (-1, 0)
        self._known = 0 if self._resumed is None else self._resumed.rewinds
        self._forgiven = 0
        self._steps: deque[Step] = deque()
        self._ended = False
        self._retained = False
        self._first_run_id = ""
        self._place: tuple[str, Place] | None = None
        self._cursor = Cursor(0)
        self._history: AsyncGenerator[Moment] | None = None

    @property
    def base(self) -> int:
        """Offset below which items are gone for this reader.

        A reader that is level with the feed when the feed reads a truncation has had the items.
        """
        return self.feed.base if self.feed.base > self._forgiven else 0

    @property
    def level(self) -> bool:
        """Whether it has passed all that the feed has read so far."""
        ahead = self._place is None or self._history is not None or bool(self._steps)
        return not ahead and self._cursor.index >= self.feed.ring.stop

    @property
    def beside(self) -> int:
        """How many bytes it holds of the history, while it reads that and not the ring."""
        return self._cursor.beside

    async def steps(self) -> AsyncGenerator[Step]:
        """Yield steps until the stream ends or ``until`` is reached; ``aclose()`` to leave earlier.

        A step that is cancelled or fails ends this generator. The next one continues from there.
        """
        try:
            while True:
                while self._steps:
                    yield self._steps.popleft()
                if self._ended:
                    return
                if not self._retained:
                    await self._attach()
                elif self._arrived():
                    return
                elif (moment := await self._next(self.feed)) is not None:
                    self._deliver(moment)
        finally:
            await self._leave()

    def overtaken(self, offset: int) -> Gap | None:
        """Return what is lost from ``offset`` on, if the base has come past it."""
        base = self.base
        if offset >= base:
            return None
        self.position = max(self.position, base)
        return Gap(offset, base, "truncated", self._position_at(base))

    @property
    def tag(self) -> str:
        """What makes a position of the offset that it has come to; empty before it has begun."""
        return "" if self._place is None else tag_of(self._first_run_id, self._place[0])

    @property
    def here(self) -> str:
        """The position that it has come to."""
        return self._position_at(self.position)

    def _position_at(self, offset: int) -> str:
        at, rewinds = self._rewinds
        return position_at(offset, self.tag, rewinds if offset == at else 0)

    async def _attach(self) -> None:
        """Find the way to the next moment, through the feed or apart from it."""
        feed = self.feed
        if self._place is None:
            feed = await hold(feed.source, self._from)
        else:
            if feed.done:
                feed = feed_of(feed.source)
            feed.retain(self.position)
        self.feed, self._retained = feed, True
        if self._place is None and isinstance(self._from, int):
            # From here on, a feed without other subscribers does not run ahead.
            self._cursor.index = feed.ring.start
            feed.attach(self._cursor)
        if isinstance(self._until, ToHead):
            await self._until.note(feed)
            await self._until.wait_opened(feed)
        else:
            await feed.wait(lambda: feed.floor is not None)
        if feed.floor is None:
            self._ended = True
        elif self._place is None:
            await self._start(feed)
        elif self._first_run_id != feed.first_run_id:
            # The workflow id has been used again; this reader stays with its own chain.
            await self._leave()
            self.feed = feed_of(feed.source.pinned(self._place[0]))
        else:
            self._go_on(feed, runs_of(feed), *self._place)

    async def _start(self, feed: Feed) -> None:
        start, since = self._from, asyncio.get_running_loop().time()
        fate = "stands" if self._resumed is None else await self._fate(feed, self._resumed)
        if fate == "astray":
            assert self._resumed is not None
            self._start_astray(feed, self._resumed)
            return
        if fate != "stands":
            start = 0
        if isinstance(start, Last) or feed.view.keeps_last:
            # While this waits for the feed, the feed must not wait for this.
            feed.detach(self._cursor)
            head = await wait_for_tip(feed)
            start = max(0, head - start.n) if isinstance(start, Last) else start
        if start < feed.head and max(start, feed.base) >= (feed.floor or 0):
            # The ring has what comes next, but a polled stream's host may have dropped that.
            await feed.learn_base(since)
        base, floor = feed.base, feed.floor or 0
        runs, gap = runs_of(feed), None
        if max(start, base) < floor or self._begins_before(feed, floor):
            feed.detach(self._cursor)
            runs, run_id, gap = await find_run(feed, max(start, base))
            resumed = self._resumed
            if fate == "stands" and resumed is not None and gap is None:
                # Rewinds at that very offset may stand at the end of that run.
                run_id = next((r.run_id for r in runs if r.run_id == resumed.run_id), run_id)
            place = run_id, BEFORE_ALL
        else:
            place = feed.ring.place_before_floor()
        # Nothing is awaited from here on, so a start is either complete or begins from scratch.
        self.started.set()
        self.position, self._forgiven = start, base
        self._first_run_id, self._place = feed.first_run_id, place
        if self._resumed is not None and fate != "stands":
            had = range(self._resumed.offset)
            self._steps.append(Rewind((had,), fate, 0, position=self._position_at(0)))
        self._miss(base, "truncated")
        if gap is not None:
            self._miss(gap.end, gap.reason)
        self._go_on(feed, runs, *place)

    def _begins_before(self, feed: Feed, floor: int) -> bool:
        """Whether the ring may lack rewinds that stand where it resumes."""
        resumed = self._resumed
        if resumed is None or not 0 < resumed.offset == floor:
            return False
        return feed.ring.start > 0 or feed.ring[0].run_id != resumed.run_id

    async def _fate(self, feed: Feed, resumed: Position) -> Fate:
        """Return what has become of what it had when it left."""
        if resumed.offset == 0:
            return "stands"
        # While this waits for the feed, the feed must not wait for this.
        feed.detach(self._cursor)
        return await fate_of(feed, resumed)

    def _start_astray(self, feed: Feed, resumed: Position) -> None:
        """Begin in a run that no longer counts, where a reader that had stayed would be."""
        self.position, self.astray = resumed.offset, True
        self._first_run_id = feed.first_run_id
        self._go_on(feed, runs_of(feed), resumed.run_id, BEFORE_ALL)

    def _go_on(self, feed: Feed, runs: list[RunRef], run_id: str, place: Place) -> None:
        """Go on after a place in the history: in the ring if that has what comes after it."""
        self._place = run_id, place
        index = feed.index_after(run_id, place)
        if index is None:
            feed.detach(self._cursor)
            self._history = catch_up(feed, self._cursor, runs, run_id, place, self.position)
        else:
            self._cursor.index = index
            feed.attach(self._cursor)

    async def _next(self, feed: Feed) -> Moment | None:
        """Return what comes next; None if the way to it has changed."""
        if self._history is not None:
            return await self._from_history(feed, self._history)
        if feed.lost(self._cursor):
            assert self._place is not None
            self._go_on(feed, runs_of(feed), *self._place)
            return None
        moment = feed.advance(self._cursor)
        if moment is None:
            await self._wait_for_more(feed)
            # A feed without a next moment has been stopped.
            self._ended = feed.done and feed.ring.stop <= self._cursor.index
            self._forgiven = feed.base
        return moment

    async def _wait_for_more(self, feed: Feed) -> None:
        """Wait for the next moment, or until there will be none because it has arrived."""
        until = self._until
        if not isinstance(until, ToHead):
            await feed.wait_past(self._cursor.index)
        elif until.asks(feed):
            # While this waits for the host, the feed must not wait for this.
            feed.detach(self._cursor)
            await until.ask(feed)
            feed.attach(self._cursor)
        else:
            index = self._cursor.index
            await feed.wait_known(
                lambda: feed.ring.stop > index or self._arrived() or until.asks(feed)
            )

    def _arrived(self) -> bool:
        """Whether it has come to where it is to stop."""
        if isinstance(self._until, int):
            return not self.astray and self.position >= self._until
        if self._until is None or self._history is not None:
            return False
        return self._until.met(self.feed, self._cursor.index, self.position)

    async def _from_history(self, feed: Feed, history: AsyncGenerator[Moment]) -> Moment | None:
        assert self._place is not None
        try:
            moment = await anext(history, None)
        except StreamNotFoundError:
            # The namespace's retention has deleted a run in the meantime.
            runs, run_id, gap = await find_run(feed, self.position)
            if run_id == self._place[0]:
                raise
            if all(run.run_id != self._place[0] for run in runs):
                # The workflow has been restarted, and nothing tells any more how much of that run
                # still counts.
                runs, run_id, gap = await find_run(feed, 0)
                self._place = run_id, BEFORE_ALL
                self._rewind(Rewind((range(self.position),), "reset", 0))
            self._miss(gap.end if gap is not None else 0, "expired")
            self._go_on(feed, runs, run_id, BEFORE_ALL)
            self._come_back()
            return None
        if moment is None:
            self._history = None
            feed.attach(self._cursor)
            self._come_back()
        return moment

    def _come_back(self) -> None:
        self.astray = False
        self.started.set()

    async def _leave(self) -> None:
        history, self._history = self._history, None
        if self._retained:
            self._retained = False
            self.feed.detach(self._cursor)
            self.feed.release()
        if history is not None:
            await history.aclose()

    def _deliver(self, moment: Moment) -> None:
        if self._place is not None and self._place[0] != moment.run_id:
            self._rewinds = (-1, 0)
        self._place = moment.run_id, moment.place
        if moment.gap is not None:
            self._miss(moment.gap.end, moment.gap.reason)
        if moment.rewind is not None:
            self._rewind(moment.rewind)
        if moment.chunk is not None and moment.chunk.end > self.position:
            self._slice(moment.chunk)
        cut = moment.chunk is not None and self.position < moment.chunk.end
        if moment.end is not None and not cut:
            self._steps.append(replace(moment.end, position=self._position_at(moment.end.offset)))
            self._ended = True
        if not self.started.is_set() and self._steps:
            self.started.set()
        if self.astray and (self._ended or moment.run_id == self.feed.run_id):
            self._come_back()

    def _miss(self, end: int, reason: GapReason) -> None:
        """Move on to ``end``: what comes before it is lost."""
        if end > self.position:
            # What a host did not serve was part of the stream, whatever offset was asked for.
            if self._expects or reason == "unserved":
                self._steps.append(Gap(self.position, end, reason, self._position_at(end)))
            self.position = end

    def _rewind(self, rewind: Rewind) -> None:
        """Pass on a rewind, unless all that it concerns lies away from the position."""
        if rewind.reason == "attempt":
            # A reader that is past it has had it, or has started after it.
            if rewind.next_offset >= self.position:
                self._rewind_attempt(rewind)
            return
        rewind = replace(rewind, position=self._position_at(rewind.next_offset))
        self._forgiven = min(self._forgiven, self.feed.base)
        head = rewind.ranges[-1].stop if rewind.ranges else rewind.next_offset
        # A reader that waits for an offset which the stream had not reached keeps waiting.
        if self.position <= head:
            self._steps.append(rewind)
            # Never ahead of what the reader has had, or items would be skipped unnoticed.
            self.position = min(self.position, rewind.next_offset)
            self._expects = True

    def _rewind_attempt(self, rewind: Rewind) -> None:
        """Pass it on, unless it was told before the reader went away."""
        assert self._place is not None
        offset, resumed = rewind.next_offset, self._resumed
        at, rewinds = self._rewinds
        self._rewinds = offset, (rewinds if at == offset else 0) + 1
        here = self._place[0], offset
        if self._known and resumed is not None and here == (resumed.run_id, resumed.offset):
            self._known -= 1
        else:
            self._steps.append(replace(rewind, position=self._position_at(offset)))

    def _slice(self, chunk: Chunk) -> None:
        self._miss(max(chunk.offset, self.base), "truncated")
        end = min(chunk.end, self._until) if isinstance(self._until, int) else chunk.end
        if end > self.position:
            whole = self.position == chunk.offset and end == chunk.end
            part = slice(self.position - chunk.offset, end - chunk.offset)
            entries = chunk.entries if whole else chunk.entries[part]
            self._steps.append(Slice(self.position, entries, chunk.time, self.tag))
            self.position = end
            self._expects = True
