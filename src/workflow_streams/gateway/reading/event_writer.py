"""Turns the parts of a stream into server-sent events for one client. No I/O."""

from __future__ import annotations

import time
from typing import Any

from ...events import Gap, Rewind
from ...reader.walk import Slice
from ..frames import KEEP_ALIVE, Shape, Topics, control_event, gap_fields, rewind_fields
from ..offsets import next_cursor, token_of
from ..telemetry.metrics import LeaveReason, Metrics
from .parts import Part
from .runs import RunNews
from .shared_frames import Frame, SharedFrames


class EventWriter:
    """Writes one client's events; what others are to get as well is encoded once for all."""

    def __init__(
        self,
        shape: Shape,
        topics: Topics,
        frames: SharedFrames,
        metrics: Metrics,
        runs: RunNews,
        *,
        cursor: int | None,
    ) -> None:
        """Begin with a client that knows nothing.

        Args:
            shape: How the items look.
            topics: Which of them the client gets; None for all.
            frames: Events that all viewers of the process share.
            metrics: Counts what is sent.
            runs: Where the workflow's runs began.
            cursor: The client's cursor.
        """
        self.shape = shape
        self._topics = topics if topics is None else frozenset(topics)
        self._frames = frames
        self._metrics = metrics
        self._items = metrics.items.labels("sse")
        self._bytes = metrics.bytes.labels("sse")
        self._runs = runs
        self._cursor = cursor
        self._token = token_of(0)
        self._told: tuple[str, bool] | None = None

    def events(self, part: Part) -> bytes:
        """Return the events of a part; empty if it changes nothing for the client."""
        if self._may_share(part):
            return b"".join([self._shared(part, step) for step in part.steps])
        return b"".join(self._own(part))

    def closing(self, reason: LeaveReason) -> bytes:
        """Return the event that sends the client away, with a place to resume at."""
        return self._control({"closing": reason})

    def still_there(self) -> bytes:
        """Return what breaks the silence: news besides items, or the place to resume at."""
        is_old = self._told is not None and self._told[0] != self._token
        if self._told is None or not (is_old or self._runs.pending()):
            return KEEP_ALIVE
        return self._control({"upToDate": True} if self._told[1] else {})

    def _may_share(self, part: Part) -> bool:
        """Whether the part looks the same to everybody: live items, and no news beside them."""
        return (
            self._told is not None
            and self._told[1]
            and part.up_to_date
            and part.end is None
            and self._cursor is None
            and not self._runs.pending()
            and all(isinstance(step, Slice) for step in part.steps)
        )

    def _shared(self, part: Part, step: Any) -> bytes:
        last = step is part.steps[-1]
        token = _token_after(step)
        # The slice of a viewer that came in between begins later in the same list.
        kind = (self.shape, self._topics, last, step.offset, _interval())
        frame = self._frames.get(step.entries, kind, lambda: self._frame(step, token, last=last))
        self._token = token
        if frame.items:
            self._told = (token, True)
            self._items.inc(frame.items)
            self._bytes.inc(len(frame.data))
        return frame.data

    def _frame(self, step: Slice, token: str, *, last: bool) -> Frame:
        pieces = self.shape.pieces(step, self._topics)
        if not pieces:
            return Frame(b"", 0)
        fields: dict[str, Any] = {"streamCursor": next_cursor(None, time.time())}
        if last:
            fields["upToDate"] = True
        events = self.shape.event(pieces, token) + control_event(fields, token)
        return Frame(events, len(pieces))

    def _own(self, part: Part) -> list[bytes]:
        events: list[bytes] = []
        pieces: list[bytes] = []
        for step in part.steps:
            if isinstance(step, Slice):
                pieces += self.shape.pieces(step, self._topics)
                self._token = _token_after(step)
            elif isinstance(step, Gap | Rewind):
                if pieces:
                    events += [self._data(pieces), self._control({})]
                    pieces = []
                events.append(self._notice(step))
        self._token = part.token
        fields: dict[str, Any] = {"upToDate": True} if part.up_to_date else {}
        if part.end is not None:
            fields |= {"streamClosed": True, "outcome": part.end.outcome}
        if pieces:
            events.append(self._data(pieces))
        if pieces or part.end is not None or self._is_news(part):
            events.append(self._control(fields))
        return events

    def _is_news(self, part: Part) -> bool:
        """Whether a part of which the client gets nothing changes what it knows."""
        return self._told is None or self._told[1] != part.up_to_date

    def _notice(self, step: Gap | Rewind) -> bytes:
        if isinstance(step, Gap):
            self._metrics.gaps.labels(step.reason).inc()
            self._token = step.position
            return self._control({"gap": gap_fields(step)})
        self._metrics.rewinds.labels(step.reason).inc()
        self._token = step.position
        return self._control({"rewind": rewind_fields(step)})

    def _data(self, pieces: list[bytes]) -> bytes:
        event = self.shape.event(pieces, self._token)
        self._items.inc(len(pieces))
        self._bytes.inc(len(event))
        return event

    def _control(self, fields: dict[str, Any]) -> bytes:
        fields = {**fields, **self._runs.fields()}
        if "streamClosed" not in fields:
            cursor = next_cursor(self._cursor, time.time())
            fields = {"streamCursor": cursor, **fields}
        self._told = (self._token, bool(fields.get("upToDate")))
        return control_event(fields, self._token)


def _token_after(step: Slice) -> str:
    return token_of(step.offset + len(step.entries), step.tag)


def _interval() -> str:
    """Return what the shared cursor is now, so that no frame outlives it."""
    return next_cursor(None, time.time())
