"""Makes the bytes of large answers and events bit by bit, so that other requests go on meanwhile.

Turning a million small values into an answer takes seconds, and a thread would only compete with
the event loop for that time. So this is done on the event loop, a little at a time. Large answers
are made one after the other: making several at once would finish none of them sooner, and hold more
memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...log.wire import Entry
from ...read.walk import Slice
from ..formats.frames import STRETCH, Shape
from .shared_frames import Frame, SharedFrames

# These take some milliseconds.
_ITEMS_AT_ONCE = 500

COMPRESSIONS_AT_ONCE = 2


class Renderer:
    """Renders for one gateway application, on one event loop.

    Attributes:
        turn: Hold this lock while rendering something large.
        compressing: Hold it while a thread compresses something large. More threads would finish
            none sooner, and compete with the event loop.
    """

    def __init__(self, frames: SharedFrames) -> None:
        """Keep what is made of large batches in ``frames``, for other clients that get the same."""
        self._frames = frames
        self.turn = asyncio.Lock()
        self.compressing = asyncio.Semaphore(COMPRESSIONS_AT_ONCE)

    async def items(
        self, shape: Shape, slices: Sequence[Slice], topics: frozenset[str] | None
    ) -> list[Frame]:
        """Return the items of each slice that pass the filter, joined.

        Args:
            shape: How the items look.
            slices: What to render.
            topics: Which items pass; None for all.
        """
        if not is_large(slices):
            return [items_now(shape, part, topics) for part in slices]
        async with self.turn:
            return await self._items(shape, slices, topics)

    async def data_lines(
        self, shape: Shape, slices: Sequence[Slice], topics: frozenset[str] | None
    ) -> Frame:
        """Return the data lines of an event with what passes. The caller has to hold ``turn``."""
        return await self._data_lines(shape, await self._items(shape, slices, topics))

    async def _items(
        self, shape: Shape, slices: Sequence[Slice], topics: frozenset[str] | None
    ) -> list[Frame]:
        frames: list[Frame] = []
        done = 0
        for part in slices:
            if is_large([part]):
                frame = await self._shared_items(shape, part, topics)
            else:
                frame = items_now(shape, part, topics)
                done += len(part.entries)
                if done > _ITEMS_AT_ONCE or len(frame.data) > STRETCH:
                    done = 0
                    await asyncio.sleep(0)
            frames.append(frame)
        return frames

    async def _shared_items(
        self, shape: Shape, part: Slice, topics: frozenset[str] | None
    ) -> Frame:
        kind = ("items", shape, topics, part.offset)
        known = self._frames.find(part.entries, kind)
        if known is not None:
            return known
        joined: list[bytes] = []
        count = 0
        for at, entries in _stretches(part.entries):
            pieces = shape.pieces(replace(part, offset=part.offset + at, entries=entries), topics)
            if pieces:
                joined.append(shape.joined(pieces))
                count += len(pieces)
            await asyncio.sleep(0)
        frame = Frame(shape.joined(joined), count)
        self._frames.keep(part.entries, kind, frame)
        return frame

    async def _data_lines(self, shape: Shape, items: list[Frame]) -> Frame:
        count = sum(frame.items for frame in items)
        if not count:
            return Frame(b"", 0)
        body = shape.body(frame.data for frame in items if frame.items)
        lines: list[bytes] = []
        for stretch in shape.data_lines(body):
            lines.append(stretch)
            await asyncio.sleep(0)
        return Frame(b"".join(lines), count)


def is_large(slices: Sequence[Slice]) -> bool:
    """Whether these are so large that they have to be rendered bit by bit."""
    if sum(len(part.entries) for part in slices) > _ITEMS_AT_ONCE:
        return True
    return sum(len(data) for part in slices for _, _, data in part.entries) > STRETCH


def items_now(shape: Shape, part: Slice, topics: frozenset[str] | None) -> Frame:
    """Return the items of a slice that pass the filter, joined."""
    pieces = shape.pieces(part, topics)
    return Frame(shape.joined(pieces), len(pieces))


def _stretches(entries: list[Entry]) -> Iterator[tuple[int, list[Entry]]]:
    """Yield the entries in groups, each with the index of its first entry."""
    start, size = 0, 0
    for at, (_, _, data) in enumerate(entries):
        if at > start and (at - start >= _ITEMS_AT_ONCE or size + len(data) > STRETCH):
            yield start, entries[start:at]
            start, size = at, 0
        size += len(data)
    yield start, entries[start:]
