"""One reader's way through a stream: where it starts, what it gets, what it missed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

from ..errors import DecodeError, InvalidOffsetError, StreamNotFoundError
from ..events import End, Gap, GapReason, Item, Last, Rewind
from ..wire import Entry, RunRef
from .chain import Chain
from .hub import Cursor, Feed
from .moments import Chunk, Moment
from .tip import wait_for_tip

T = TypeVar("T")
Decode = Callable[[str, str], Any]


@dataclass(frozen=True, slots=True)
class _Slice:
    offset: int
    entries: list[Entry]
    time: datetime | None


class Subscription(Generic[T]):
    """Async iterator over a stream. Made by ``subscribe`` and ``follow``.

    An item that cannot be decoded raises :class:`~workflow_streams.errors.DecodeError`; the
    next step goes on after it. ``aclose()`` ends it early.
    """

    def __init__(
        self,
        feed: Callable[[], Feed],
        topics: Collection[str],
        from_offset: int | Last,
        decode: Decode,
        *,
        items_only: bool,
    ) -> None:
        """Prepare; the first step attaches to ``feed()``."""
        self._make_feed = feed
        self._feed: Feed | None = None
        self._topics = frozenset(topics)
        self._from = check_offset(from_offset)
        self._decode = decode
        self._items_only = items_only
        self._position = 0
        self._skipped = 0
        self._slice: _Slice | None = None
        self._index = 0
        self._steps_: AsyncGenerator[_Slice | Gap | Rewind | End] | None = None

    def __aiter__(self) -> Subscription[T]:
        """Return itself."""
        return self

    async def __anext__(self) -> T:
        """Return what comes next; wait for it if need be."""
        if self._steps_ is None:
            self._feed = self._make_feed()
            self._steps_ = self._steps(self._feed)
        while True:
            if self._slice is not None:
                found = self._next_in_slice(self._slice)
                if found is not None:
                    return cast("T", found)
                self._slice = None
            step = await anext(self._steps_)
            if isinstance(step, _Slice):
                self._slice, self._index = step, 0
            elif isinstance(step, Gap):
                self._skipped += step.count
                if not self._items_only:
                    return cast("T", step)
            elif not self._items_only:
                return cast("T", step)

    async def aclose(self) -> None:
        """Stop following."""
        if self._steps_ is not None:
            await self._steps_.aclose()

    def _next_in_slice(self, part: _Slice) -> Item[Any] | Gap | None:
        assert self._feed is not None
        entries, topics, count = part.entries, self._topics, len(part.entries)
        while (index := self._index) < count:
            offset = part.offset + index
            # A slow reader may find that the base has overtaken it in mid-chunk.
            if offset < self._feed.base:
                base = min(self._feed.base, part.offset + count)
                self._index = base - part.offset
                gap = Gap(offset, base, "truncated")
                self._position = base
                self._skipped += gap.count
                if not self._items_only:
                    return gap
                continue
            self._index = index + 1
            self._position = offset + 1
            topic, data = entries[index]
            if topics and topic not in topics:
                continue
            skipped, self._skipped = self._skipped, 0
            try:
                value = self._decode(topic, data)
            except Exception as err:
                raise DecodeError(topic, offset, err) from err
            return Item(topic, value, offset, skipped, part.time)
        return None

    async def _steps(self, feed: Feed) -> AsyncGenerator[_Slice | Gap | Rewind | End]:
        cursor = Cursor(feed.start)
        feed.attach(cursor)
        feed.retain(self._from if isinstance(self._from, int) else 0)
        try:
            await feed.wait(lambda: feed.floor is not None)
            gap = await self._resolve_start(feed)
            if gap is not None:
                yield gap
            place: tuple[str, int] | None = None
            catching_up = self._position < (feed.floor or 0)
            if not catching_up:
                cursor.index = max(feed.join_index, feed.start)
            while True:
                if catching_up or feed.lost(cursor):
                    catching_up = False
                    cursor.index = feed.stop_index
                    feed.detach(cursor)
                    async for moment in self._catch_up(feed, cursor, place):
                        for step in self._deliver(feed, moment):
                            yield step
                        if moment.end is not None:
                            return
                    feed.attach(cursor)
                    continue
                arrived = feed.advance(cursor)
                if arrived is None:
                    at = cursor.index
                    await feed.wait_past(at)
                    if feed.stop_index <= at:
                        return
                    continue
                place = (arrived.run_id, arrived.event_id)
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
            head = await wait_for_tip(feed)
            self._position = max(feed.base, head - start.n)
            return None
        if feed.keeps_last:
            await wait_for_tip(feed)
        self._position = max(start, feed.base)
        if 0 < start < self._position:
            return Gap(start, self._position, "truncated")
        return None

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
        chain = Chain(feed.client, feed.workflow_id, run_id, offset=self._position)
        async for page in chain.pages():
            for moment in page:
                if moment.run_id != run_id or moment.event_id > after:
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
        while runs[0].first_offset > self._position:
            opening = await _opening_of(feed, runs[0].run_id)
            if opening is None or not opening.runs:
                break
            runs = [*opening.runs, *runs]
        first = max(
            (i for i, run in enumerate(runs) if run.first_offset <= self._position), default=0
        )
        for run in runs[first:]:
            if run.run_id == feed.chain.run_id or await _opening_of(feed, run.run_id) is not None:
                if run.first_offset <= self._position:
                    return run.run_id, None
                start, self._position = self._position, run.first_offset
                gap = Gap(start, run.first_offset, "expired")
                # Only who asked for a certain place has lost something.
                return run.run_id, _gap_moment(run, gap) if self._from else None
        raise StreamNotFoundError(feed.workflow_id, "none of its runs is left")

    def _deliver(self, feed: Feed, moment: Moment) -> list[_Slice | Gap | Rewind | End]:
        steps: list[_Slice | Gap | Rewind | End] = []
        if moment.gap is not None and moment.gap.end > moment.gap.start:
            steps.append(moment.gap)
            self._position = max(self._position, moment.gap.end)
        if moment.rewind is not None:
            steps.append(moment.rewind)
            if moment.rewind.reason != "attempt":
                self._position = moment.rewind.next_offset
        if moment.chunk is not None and moment.chunk.end > self._position:
            steps += self._slices(feed, moment.chunk)
        if moment.end is not None:
            steps.append(moment.end)
        return steps

    def _slices(self, feed: Feed, chunk: Chunk) -> list[_Slice | Gap | Rewind | End]:
        steps: list[_Slice | Gap | Rewind | End] = []
        start = max(chunk.offset, feed.base)
        if self._position < start:
            reason: GapReason = "truncated"
            steps.append(Gap(self._position, start, reason))
            self._position = start
        if chunk.end > self._position:
            skip = self._position - chunk.offset
            entries = chunk.entries[skip:] if skip else chunk.entries
            steps.append(_Slice(self._position, entries, chunk.time))
            self._position = chunk.end
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
