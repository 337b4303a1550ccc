"""Turns the parts of a stream into server-sent events for one client. No I/O."""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...events import Gap, Rewind
from ...read.walk import Slice
from ..formats.frames import (
    KEEP_ALIVE,
    Shape,
    Topics,
    control_event,
    data_event,
    gap_fields,
    rewind_fields,
)
from ..formats.offsets import next_cursor, token_of
from ..reading.parts import Part
from ..reading.rendering import Renderer
from ..reading.shared_frames import Frame, SharedFrames
from ..telemetry.metrics import Metrics
from .runs import RunNews


@dataclass(frozen=True, slots=True)
class Prepared:
    """A large part, rendered as far as that takes long.

    Attributes:
        shares: Whether the part looks the same to everybody.
        frames: If so, the events of each slice. Otherwise data lines: those of the slices before
            each gap or rewind, and of the slices after the last one.
    """

    shares: bool
    frames: list[Frame]


class EventWriter:
    """Writes one client's events. What other clients get as well is encoded once for all."""

    def __init__(
        self,
        shape: Shape,
        topics: Topics,
        frames: SharedFrames,
        renderer: Renderer,
        metrics: Metrics,
        runs: RunNews,
        *,
        cursor: int | None,
    ) -> None:
        """Begin with a client that has not been told anything.

        Args:
            shape: How the items look.
            topics: Which of them the client gets; None for all.
            frames: Events that all viewers of the process share.
            renderer: Renders large parts.
            metrics: Counts what is sent.
            runs: Where the workflow's runs began.
            cursor: The client's cursor.
        """
        self.shape = shape
        self._topics = topics if topics is None else frozenset(topics)
        self._frames = frames
        self._renderer = renderer
        self._metrics = metrics
        self._items = metrics.items.labels("sse")
        self._bytes = metrics.bytes.labels("sse")
        self._runs = runs
        self._cursor = cursor
        self._token = token_of(0)
        self._told: tuple[str, bool] | None = None

    async def prepare(self, part: Part) -> Prepared:
        """Render a large part, to be passed to :meth:`events`.

        This does not change what the client has been told, so it may be cancelled.
        """
        shares = self._may_share(part)
        async with self._renderer.turn:
            if not shares:
                groups = [await self._lines_later(group) for group in _groups(part)]
                return Prepared(shares, groups)
            return Prepared(shares, [await self._frame_later(part, step) for step in part.slices])

    async def _frame_later(self, part: Part, step: Slice) -> Frame:
        """Return the frame of a step, and keep it for the next client that gets the turn."""
        last, kind = step is part.steps[-1], self._kind(part, step)
        known = self._frames.find(step.entries, kind)
        if known is None:
            known = self._frame(await self._lines_later([step]), _token_after(step), last=last)
            self._frames.keep(step.entries, kind, known)
        return known

    async def _lines_later(self, slices: list[Slice]) -> Frame:
        return await self._renderer.data_lines(self.shape, slices, self._topics)

    def events(self, part: Part, prepared: Prepared | None = None) -> bytes:
        """Return the events of a part; empty if it changes nothing for the client.

        Args:
            part: The part.
            prepared: What :meth:`prepare` has returned for it. Everything else is rendered here.
        """
        if prepared.shares if prepared is not None else self._may_share(part):
            frames = prepared.frames if prepared is not None else self._shared_frames(part)
            return b"".join(map(self._shared, part.slices, frames))
        lines = prepared.frames if prepared is not None else map(self._lines, _groups(part))
        return b"".join(self._own(part, iter(lines)))

    def told(self, fields: dict[str, Any]) -> bytes:
        """Return an event with these fields and the place to resume at."""
        return self._control(fields)

    def still_there(self) -> bytes:
        """Return what to send after a silence: news other than items, or the place to resume at."""
        is_old = self._told is not None and self._told[0] != self._token
        if self._told is None or not (is_old or self._runs.pending()):
            return KEEP_ALIVE
        return self._control({"upToDate": True} if self._told[1] else {})

    def _may_share(self, part: Part) -> bool:
        """Whether the part looks the same to everybody: live items, and no other news."""
        return (
            self._told is not None
            and self._told[1]
            and part.up_to_date
            and part.end is None
            and self._cursor is None
            and not self._runs.pending()
            and all(isinstance(step, Slice) for step in part.steps)
        )

    def _kind(self, part: Part, step: Slice) -> Hashable:
        """Return what the frame of a step depends on, besides its entries."""
        # The slice of a viewer that began amid the entries begins at a later offset.
        return self.shape, self._topics, step is part.steps[-1], step.offset, _interval()

    def _shared_frames(self, part: Part) -> Iterator[Frame]:
        for step in part.slices:
            make = partial(self._frame_now, step, _token_after(step), last=step is part.steps[-1])
            yield self._frames.get(step.entries, self._kind(part, step), make)

    def _shared(self, step: Slice, frame: Frame) -> bytes:
        self._token = _token_after(step)
        if frame.items:
            self._told = (self._token, True)
            self._items.inc(frame.items)
            self._bytes.inc(len(frame.data))
        return frame.data

    def _frame_now(self, step: Slice, token: str, *, last: bool) -> Frame:
        return self._frame(self._lines([step]), token, last=last)

    def _frame(self, lines: Frame, token: str, *, last: bool) -> Frame:
        if not lines.items:
            return lines
        fields: dict[str, Any] = {"streamCursor": next_cursor(None, time.time())}
        if last:
            fields["upToDate"] = True
        events = data_event(lines.data, token) + control_event(fields, token)
        return Frame(events, lines.items)

    def _lines(self, slices: list[Slice]) -> Frame:
        """Return the data lines of an event with the items of these slices."""
        pieces = [piece for step in slices for piece in self.shape.pieces(step, self._topics)]
        if not pieces:
            return Frame(b"", 0)
        return Frame(b"".join(self.shape.data_lines(self.shape.body(pieces))), len(pieces))

    def _own(self, part: Part, lines: Iterator[Frame]) -> list[bytes]:
        """Return the events of a part, with the data lines of each group of its slices."""
        events: list[bytes] = []
        for step in part.steps:
            if isinstance(step, Slice):
                self._token = _token_after(step)
            elif isinstance(step, Gap | Rewind):
                data = next(lines)
                if data.items:
                    events += [self._data(data), self._control({})]
                events.append(self._notice(step))
        self._token = part.token
        fields: dict[str, Any] = {"upToDate": True} if part.up_to_date else {}
        if part.end is not None:
            fields |= {"streamClosed": True, "outcome": part.end.outcome}
        data = next(lines)
        if data.items:
            events.append(self._data(data))
        if data.items or part.end is not None or self._is_news(part):
            events.append(self._control(fields))
        return events

    def _is_news(self, part: Part) -> bool:
        """Whether a part without items for the client still tells it something new."""
        return self._told is None or self._told[1] != part.up_to_date

    def _notice(self, step: Gap | Rewind) -> bytes:
        if isinstance(step, Gap):
            self._metrics.gaps.labels(step.reason).inc()
            self._token = step.position
            return self._control({"gap": gap_fields(step)})
        self._metrics.rewinds.labels(step.reason).inc()
        self._token = step.position
        return self._control({"rewind": rewind_fields(step)})

    def _data(self, lines: Frame) -> bytes:
        event = data_event(lines.data, self._token)
        self._items.inc(lines.items)
        self._bytes.inc(len(event))
        return event

    def _control(self, fields: dict[str, Any]) -> bytes:
        fields = {**fields, **self._runs.fields()}
        if "streamClosed" not in fields:
            cursor = next_cursor(self._cursor, time.time())
            fields = {"streamCursor": cursor, **fields}
        self._told = (self._token, bool(fields.get("upToDate")))
        return control_event(fields, self._token)


def _groups(part: Part) -> list[list[Slice]]:
    """Return the slices of a part, grouped: before each gap or rewind, and after the last one."""
    groups: list[list[Slice]] = [[]]
    for step in part.steps:
        if isinstance(step, Slice):
            groups[-1].append(step)
        elif isinstance(step, Gap | Rewind):
            groups.append([])
    return groups


def _token_after(step: Slice) -> str:
    return token_of(step.offset + len(step.entries), step.tag)


def _interval() -> str:
    """Return the present shared cursor, so that a frame is not used beyond it."""
    return next_cursor(None, time.time())
