"""What a user iterates over: the steps of a walk, item by item, filtered and decoded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from typing import Any, Generic, TypeVar, cast

from ..errors import DecodeError
from ..events import Gap, Item
from .feeds.feed import Feed
from .history.outage import bounded
from .walk import Slice, Start, Step, Walk, start_after_waiting

T = TypeVar("T")
Decode = Callable[[str, str], Any]


class Subscription(Generic[T]):
    """Async iterator over a stream. Made by ``subscribe`` and ``follow``.

    An item that cannot be decoded raises :class:`~workflow_streams.errors.DecodeError`; the
    next step goes on after it, and so it does after one that was cancelled or failed otherwise.
    With ``max_outage``, a step waits no longer than these seconds while the server is away.
    ``aclose()`` ends it early.
    """

    def __init__(
        self,
        feed: Callable[[], Feed],
        topics: Collection[str],
        start: Start,
        decode: Decode,
        *,
        items_only: bool,
        arrival: Callable[[], Awaitable[bool]] | None = None,
        max_outage: float | None = None,
    ) -> None:
        """Prepare; the first step awaits ``arrival()`` and then attaches to ``feed()``.

        ``arrival()`` tells whether the workflow was not there at first.
        """
        self._make_feed = feed
        self._walk: Walk | None = None
        self._topics = frozenset(topics)
        self._start = start
        self._arrival = arrival
        self._decode = decode
        self._items_only = items_only
        self._max_outage = max_outage
        self._skipped = 0
        self._slice: Slice | None = None
        self._index = 0
        self._steps: AsyncGenerator[Step] | None = None
        self._closed = False

    def __aiter__(self) -> Subscription[T]:
        """Return itself."""
        return self

    async def __anext__(self) -> T:
        """Return what comes next; wait for it if need be."""
        while True:
            if self._slice is not None:
                found = self._next_in_slice(self._slice)
                if found is not None:
                    return cast("T", found)
                self._slice = None
            step = await self._step()
            if isinstance(step, Slice):
                self._slice, self._index = step, 0
            elif isinstance(step, Gap):
                self._skipped += step.count
                if not self._items_only:
                    return cast("T", step)
            elif not self._items_only:
                return cast("T", step)

    async def aclose(self) -> None:
        """Stop following."""
        self._closed = True
        self._slice = None
        if self._steps is not None:
            await self._steps.aclose()

    async def _step(self) -> Step:
        if self._closed:
            raise StopAsyncIteration
        if self._walk is None:
            if self._arrival is not None and await self._arrival():
                self._start = start_after_waiting(self._start)
            self._walk = Walk(self._make_feed(), self._start)
        if self._steps is None:
            self._steps = self._walk.steps()
        try:
            feed = self._walk.feed
            async with bounded(feed.client, feed.workflow_id, self._max_outage):
                return await anext(self._steps)
        except StopAsyncIteration:
            self._closed = True
            raise
        except BaseException:
            # The generator is over. The walk is not: the next step goes on with it.
            self._steps = None
            raise

    def _next_in_slice(self, part: Slice) -> Item[Any] | Gap | None:
        assert self._walk is not None
        entries, topics, count = part.entries, self._topics, len(part.entries)
        while (index := self._index) < count:
            offset = part.offset + index
            # A slow reader may find that the base has overtaken it in mid-chunk.
            if (
                offset < self._walk.feed.view.base
                and (gap := self._walk.overtaken(offset)) is not None
            ):
                self._index = min(count, gap.end - part.offset)
                self._skipped += gap.count
                if not self._items_only:
                    return gap
                continue
            self._index = index + 1
            topic, data = entries[index]
            if topics and topic not in topics:
                continue
            try:
                value = self._decode(topic, data)
            except Exception as err:
                raise DecodeError(topic, offset, err) from err
            skipped, self._skipped = self._skipped, 0
            return Item(topic, value, offset, skipped, part.time, part.tag)
        return None
