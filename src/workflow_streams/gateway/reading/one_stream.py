"""What is sent over a connection that follows one stream."""

from __future__ import annotations

from ..event_sources import placed_event
from ..frames import KEEP_ALIVE
from ..problems import NotOpenedError
from ..requests import ReadQuery
from ..responses import problem_fields
from ..security import Grant
from ..streams import Stream
from ..telemetry.metrics import LeaveReason, Metrics
from .beginning import Beginning, place_before_opening
from .event_writer import EventWriter
from .parts import Reading
from .runs import RunNews
from .shared_frames import SharedFrames


class OneStream:
    """The events of one stream, from when it is open."""

    def __init__(
        self,
        stream: Stream,
        beginning: Beginning,
        query: ReadQuery,
        grant: Grant,
        frames: SharedFrames,
        metrics: Metrics,
        request_id: str,
    ) -> None:
        """Prepare.

        Args:
            stream: The stream.
            beginning: Where the events come from; closed in the end.
            query: What the client asks for.
            grant: What it may see.
            frames: Events that all viewers of the process share.
            metrics: Counts what is sent.
            request_id: Of the client's request.
        """
        self._request_id = request_id
        self._shape = stream.shape
        self.headers = {"stream-sse-data-encoding": "base64"} if self._shape.base64_events else {}
        self._stream = stream
        self._beginning = beginning
        self._query = query
        self._topics = grant.topics
        self._frames = frames
        self._metrics = metrics
        self._told_problem = False
        self._reading: Reading | None = None
        self._writer: EventWriter | None = None
        self.lag = beginning.lag
        self.aclose = beginning.aclose

    async def next_events(self) -> tuple[bytes, bool]:
        """Wait for the next part, and return its events; tell first if no worker is there."""
        if self._reading is None or self._writer is None:
            begun = self._beginning.begun
            if begun is None and not self._told_problem:
                self._told_problem = True
                return self._not_opened(), False
            while begun is None:
                begun = await self._beginning.wait()
            self._reading, part = begun.reading, begun.first
            self._writer = self._make_writer(begun.reading)
        else:
            part = await self._reading.next_part()
        return self._writer.events(part), part.end is not None

    def still_there(self) -> bytes:
        """Return what breaks the silence."""
        return KEEP_ALIVE if self._writer is None else self._writer.still_there()

    def closing(self, reason: LeaveReason) -> bytes:
        """Return the event that sends the client away, with a place to resume at."""
        if self._writer is not None:
            return self._writer.closing(reason)
        return placed_event({"closing": reason}, self._place)

    @property
    def _place(self) -> str:
        return place_before_opening(self._stream, self._query)

    def _not_opened(self) -> bytes:
        problem = problem_fields(NotOpenedError(), self._request_id)
        return placed_event({"problem": problem}, self._place)

    def _make_writer(self, reading: Reading) -> EventWriter:
        runs = RunNews(self._stream.feed, 0 if self._query.place == "now" else reading.start)
        return EventWriter(
            self._shape,
            self._topics,
            self._frames,
            self._metrics,
            runs,
            cursor=self._query.cursor,
        )
