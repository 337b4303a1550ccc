"""What a user iterates over: the steps of a walk, item by item, filtered and decoded."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from ..errors import DecodeError
from ..events import Gap, Item
from .feeds.feed import Feed
from .starts import Start, start_after_waiting
from .until import ToHead
from .walk import Slice, Step, Walk

T = TypeVar("T")
Decode = Callable[[str, bytes, bytes], Any]
"""Turns the topic, kind and data of an item into its value."""


class Subscription(Generic[T]):
    """What ``subscribe`` and ``follow`` return: an async iterator, and a context manager.

    Iterating reads the stream; the first step finds it. ``async for`` alone will do when the
    iteration goes to its end. To leave early, use the context manager, which stops the reading at
    once rather than when the garbage collector comes by::

        async with stream.subscribe(["status"]) as items:
            async for item in items:
                if item.data == "ready":
                    break

    A step that was cancelled, as by a timeout, or that has raised loses nothing: the next one goes
    on there. After an item that cannot be decoded, which raises
    :class:`~workflow_streams.errors.DecodeError`, the next step goes on behind it.

    One task at a time may iterate. It is over for good when a step has raised
    ``StopAsyncIteration``, or after :meth:`aclose`.
    """

    def __init__(
        self,
        feed: Callable[[], Feed],
        topics: Collection[str],
        start: Start,
        decode: Decode,
        *,
        items_only: bool,
        until: int | ToHead | None = None,
        arrival: Callable[[], Awaitable[bool]] | None = None,
        max_outage: float | None = None,
    ) -> None:
        """Prepare; use ``subscribe`` or ``follow`` instead.

        The first step awaits ``arrival()``, which tells whether the workflow was not there at
        first, and then attaches to ``feed()``. Times are in seconds.
        """
        self._make_feed = feed
        self._walk: Walk | None = None
        self._topics = frozenset(topics)
        self._start = start
        self._until = until
        self._arrival = arrival
        self._decode = decode
        self._items_only = items_only
        self._max_outage = max_outage
        self._place = _Place()
        self._slice: Slice | None = None
        # The rest of the slice that was taken last.
        self._items: Iterator[Item[Any] | Gap] = iter(())
        self._steps: AsyncGenerator[Step] | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        """Return itself; nothing is read yet."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop reading."""
        await self.aclose()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> T:
        """Return what comes next; wait for it if need be.

        Raises:
            StopAsyncIteration: The stream has ended, ``until`` is reached, or this is closed.
            WorkflowStreamError: As for ``subscribe`` and ``follow``.
        """
        while True:
            found = self._next_in_slice()
            if found is not None:
                return cast("T", found)
            step = await self._step()
            if isinstance(step, Slice):
                self._items = self._items_of(step, 0)
            elif isinstance(step, Gap):
                self._place.skipped += step.count
                if not self._items_only:
                    return cast("T", step)
            elif not self._items_only:
                return cast("T", step)

    async def aclose(self) -> None:
        """Stop reading; further steps raise ``StopAsyncIteration``.

        Not while another task waits for a step: cancel that task first.
        """
        self._closed = True
        self._items, self._slice = iter(()), None
        if self._steps is not None:
            await self._steps.aclose()

    async def _step(self) -> Step:
        if self._closed:
            raise StopAsyncIteration
        if self._walk is None:
            if self._arrival is not None and await self._arrival():
                self._start = start_after_waiting(self._start)
            self._walk = Walk(self._make_feed(), self._start, self._until)
        if self._steps is None:
            self._steps = self._walk.steps()
        try:
            async with self._walk.feed.source.bounded(self._max_outage):
                return await anext(self._steps)
        except StopAsyncIteration:
            self._closed = True
            raise
        except BaseException:
            # The generator is over. The walk is not: the next step goes on with it.
            self._steps = None
            raise

    def _next_in_slice(self) -> Item[Any] | Gap | None:
        try:
            for found in self._items:
                if not (self._items_only and isinstance(found, Gap)):
                    return found
        except BaseException:
            # The iterator is over by that. The next step goes on behind the item.
            assert self._slice is not None
            self._items = self._items_of(self._slice, self._place.index)
            raise
        return None

    def _items_of(self, part: Slice, index: int) -> Iterator[Item[Any] | Gap]:
        assert self._walk is not None
        self._slice, self._place.index = part, index
        return _items(part, self._place, self._walk, self._topics, self._decode)


@dataclass(slots=True)
class _Place:
    """How far a subscription has come.

    Attributes:
        index: Which item of the current slice is next.
        skipped: How many offsets were lost since the last item.
    """

    index: int = 0
    skipped: int = 0


def _items(
    part: Slice, place: _Place, walk: Walk, topics: Collection[str], decode: Decode
) -> Iterator[Item[Any] | Gap]:
    """Yield the items of a slice, from the place on, and what is lost of it.

    It knows nothing of the subscription, which would otherwise be part of a reference cycle: one
    that is left behind in mid-stream has to stop reading at once.
    """
    entries, time, tag, count = part.entries, part.time, part.tag, len(part.entries)
    while (index := place.index) < count:
        offset = part.offset + index
        # A slow reader may find that the base has overtaken it in mid-chunk.
        if offset < walk.feed.view.base and (gap := walk.overtaken(offset)) is not None:
            place.index = gap.end - part.offset
            place.skipped += gap.count
            yield gap
            continue
        place.index = index + 1
        topic, kind, data = entries[index]
        if topics and topic not in topics:
            continue
        try:
            value = decode(topic, kind, data)
        except Exception as err:
            raise DecodeError(topic, offset, err) from err
        skipped, place.skipped = place.skipped, 0
        yield Item(topic, value, offset, skipped, time, tag)
