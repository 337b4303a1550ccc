"""The way through a stream: where it starts, what comes next, what was missed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from ..errors import InvalidOffsetError, StreamNotFoundError
from ..events import End, Gap, GapReason, Last, Rewind
from ..wire import Entry, RunRef
from .chain import Chain
from .hub import Cursor, Feed
from .moments import Chunk, Moment
from .tip import wait_for_tip


@dataclass(frozen=True, slots=True)
class Slice:
    """Items that came together, the first at ``offset``."""

    offset: int
    entries: list[Entry]
    time: datetime | None


Step = Slice | Gap | Rewind | End


class Walk:
    """Goes through one stream from a start on, by the feed's ring or the history itself.

    Attributes:
        position: Offset of what comes next.
    """

    def __init__(self, feed: Feed, from_offset: int | Last) -> None:
        """Prepare; nothing is read before :meth:`steps`."""
        self.feed = feed
        self.position = 0
        self._from = from_offset
        self._cursor = Cursor(feed.start)
        self._started = False
        self._catching_up = False
        self._place: tuple[str, int] | None = None

    @property
    def level(self) -> bool:
        """Whether it has passed all that the feed has read so far."""
        if not self._started or self._catching_up:
            return False
        return self._cursor.index >= self.feed.stop_index

    def go_on_with(self, feed: Feed) -> None:
        """Take another feed for the next :meth:`steps`, in place of one that has stopped."""
        self.feed = feed
        self._cursor = Cursor(feed.start)
        self._catching_up = self._started

    async def steps(self) -> AsyncGenerator[Step]:
        """Yield what comes, to the end; ``aclose()`` it to leave early.

        When a step is cancelled or fails, which ends the generator, another one goes on there.
        """
        feed, cursor = self.feed, self._cursor
        feed.attach(cursor)
        feed.retain(self._from if isinstance(self._from, int) else 0)
        try:
            await feed.wait(lambda: feed.floor is not None)
            if not self._started:
                gap = await self._resolve_start(feed)
                self._started = True
                self._catching_up = self.position < (feed.floor or 0)
                cursor.index = max(feed.join_index, feed.start)
                if gap is not None:
                    yield gap
            while True:
                if self._catching_up or feed.lost(cursor):
                    self._catching_up = True
                    cursor.index = feed.stop_index
                    feed.detach(cursor)
                    async with aclosing(self._catch_up(feed, cursor, self._place)) as moments:
                        async for moment in moments:
                            for step in self._deliver(feed, moment):
                                yield step
                            if moment.end is not None:
                                return
                    self._catching_up = False
                    feed.attach(cursor)
                    continue
                arrived = feed.advance(cursor)
                if arrived is None:
                    at = cursor.index
                    await feed.wait_past(at)
                    if feed.stop_index <= at:
                        return
                    continue
                for step in self._deliver(feed, arrived):
                    yield step
                if arrived.end is not None:
                    return
        finally:
            feed.detach(cursor)
            feed.release()

    async def _resolve_start(self, feed: Feed) -> Gap | None:
        start = self._from
        if isinstance(start, Last):
            head = await self._tip(feed)
            self.position = max(feed.base, head - start.n)
            return None
        if feed.keeps_last:
            await self._tip(feed)
        self.position = max(start, feed.base)
        if 0 < start < self.position:
            return Gap(start, self.position, "truncated")
        return None

    async def _tip(self, feed: Feed) -> int:
        # A full ring would wait for this cursor, which goes on when the feed has read all.
        feed.detach(self._cursor)
        try:
            return await wait_for_tip(feed)
        finally:
            feed.attach(self._cursor)

    async def _catch_up(
        self, feed: Feed, cursor: Cursor, place: tuple[str, int] | None
    ) -> AsyncGenerator[Moment]:
        """Read the history apart from the feed, up to where the feed's ring takes over."""
        if place is not None:
            run_id, after = place
        else:
            (run_id, lost), after = await self._find_run(feed), 0
            if lost is not None:
                yield lost
        chain = Chain(feed.client, feed.workflow_id, run_id, offset=self.position)
        async for page in chain.pages():
            for moment in page:
                # Several moments may share an event, and only some of them have been delivered.
                if moment.run_id != run_id or (moment.event_id, moment.head) > (
                    after,
                    self.position,
                ):
                    yield moment
            here, event_id = chain.run_id, chain.event_id
            await feed.wait_level(here, event_id)
            joined = feed.index_after(here, event_id)
            if joined is not None and (not page or page[-1].end is None):
                cursor.index = joined
                return

    async def _find_run(self, feed: Feed) -> tuple[str, Moment | None]:
        """Return the run that holds the position, or the first after it that still exists."""
        assert feed.chain is not None
        runs = [*feed.chain.runs, RunRef(feed.chain.run_id, feed.chain.first_offset)]
        if feed.chain.polled:
            return feed.chain.run_id, None
        while runs[0].first_offset > self.position:
            opening = await _opening_of(feed, runs[0].run_id)
            if opening is None or not opening.runs:
                break
            runs = [*opening.runs, *runs]
        first = max(
            (i for i, run in enumerate(runs) if run.first_offset <= self.position), default=0
        )
        for run in runs[first:]:
            if run.run_id == feed.chain.run_id or await _opening_of(feed, run.run_id) is not None:
                if run.first_offset <= self.position:
                    return run.run_id, None
                start, self.position = self.position, run.first_offset
                gap = Gap(start, run.first_offset, "expired")
                # Only who asked for a certain place has lost something.
                return run.run_id, _gap_moment(run, gap) if self._from else None
        raise StreamNotFoundError(feed.workflow_id, "none of its runs is left")

    def _deliver(self, feed: Feed, moment: Moment) -> list[Step]:
        self._place = (moment.run_id, moment.event_id)
        steps: list[Step] = []
        if moment.gap is not None and moment.gap.end > moment.gap.start:
            steps.append(moment.gap)
            self.position = max(self.position, moment.gap.end)
        if moment.rewind is not None:
            steps.append(moment.rewind)
            if moment.rewind.reason != "attempt":
                self.position = moment.rewind.next_offset
        if moment.chunk is not None and moment.chunk.end > self.position:
            steps += self._slices(feed, moment.chunk)
        if moment.end is not None:
            steps.append(moment.end)
        return steps

    def _slices(self, feed: Feed, chunk: Chunk) -> list[Step]:
        steps: list[Step] = []
        start = max(chunk.offset, feed.base)
        if self.position < start:
            reason: GapReason = "truncated"
            steps.append(Gap(self.position, start, reason))
            self.position = start
        if chunk.end > self.position:
            skip = self.position - chunk.offset
            entries = chunk.entries[skip:] if skip else chunk.entries
            steps.append(Slice(self.position, entries, chunk.time))
            self.position = chunk.end
        return steps


def check_offset(offset: int | Last) -> int | Last:
    """Return ``offset`` if a subscription can start there.

    Raises:
        InvalidOffsetError: It is negative or no integer.
    """
    number = offset.n if isinstance(offset, Last) else offset
    if type(number) is not int:
        raise InvalidOffsetError(offset, "must be an int or Last(n)")
    if number < 0:
        raise InvalidOffsetError(offset, "must not be negative; Last(n) starts n items back")
    return offset


def _gap_moment(run: RunRef, gap: Gap) -> Moment:
    return Moment(run.run_id, 0, gap.end, gap.end, gap=gap)


async def _opening_of(feed: Feed, run_id: str) -> Chain | None:
    """Read a run's opening; None if the namespace's retention has deleted the run."""
    chain = Chain(feed.client, feed.workflow_id, run_id)
    pages = chain.pages()
    try:
        async for page in pages:
            if any(moment.opened for moment in page) or chain.polled:
                return chain
    except StreamNotFoundError:
        return None
    finally:
        await pages.aclose()
    return chain
