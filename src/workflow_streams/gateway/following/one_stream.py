"""The events of one stream, for the connection that sends them."""

from __future__ import annotations

import asyncio
from typing import Any

from ...read.waiting import ended
from ..formats.frames import KEEP_ALIVE
from ..layers.outgoing import Share
from ..reading.beginning import Beginning, place_before_opening
from ..reading.parts import Part, Reading
from ..reading.rendering import is_large
from ..refusals import RefusedError
from ..refusals.event_sources import placed_event
from ..refusals.problems import NotOpenedError
from ..refusals.responses import problem_fields
from ..requests.reads import ReadQuery
from ..security import Grant
from ..sessions import Gateway
from ..telemetry.metrics import LeaveReason, Metrics
from ..temporal.streams import Stream
from .event_writer import EventWriter, Prepared
from .runs import RunNews


class OneStream:
    """The events of one stream, whether it is open already or will be opened later."""

    def __init__(
        self,
        stream: Stream,
        beginning: Beginning,
        query: ReadQuery,
        grant: Grant,
        gateway: Gateway,
        metrics: Metrics,
        share: Share,
        request_id: str,
    ) -> None:
        """Prepare.

        Args:
            stream: The stream.
            beginning: Where the events come from; :meth:`aclose` closes it.
            query: What the client asks for.
            grant: What the client may see.
            gateway: The gateway that serves it.
            metrics: Counts what is sent.
            share: Counts what is held for the client.
            request_id: The id of the client's request.
        """
        self._request_id = request_id
        self._shape = stream.shape
        self.headers = {"stream-sse-data-encoding": "base64"} if self._shape.base64_events else {}
        # The stream itself is not kept: its description is large, and this may last for hours.
        self._feed = stream.feed
        self._place = place_before_opening(stream, query)
        self._beginning = beginning
        self._query = query
        self._topics = grant.topics
        self._gateway = gateway
        self._metrics = metrics
        self._share = share
        self._beside: object = None
        self._told_problem = False
        self._reading: Reading | None = None
        self._writer: EventWriter | None = None
        self._part: Part | None = None
        self._preparing: asyncio.Task[Prepared] | None = None
        self.lag = beginning.lag

    async def next_events(self) -> tuple[bytes, bool]:
        """Wait for the next part, and return its events.

        If no worker has opened the stream yet, the first events say so.
        """
        await self.arrive()
        return await self.take()

    async def arrive(self) -> Part | None:
        """Wait until there is something to :meth:`take`; return it if it is a part.

        If this is cancelled, nothing is lost: the next call goes on.
        """
        if self._part is not None:
            return self._part
        self._hold_beside(0)  # the client has taken what was there
        if self._reading is None:
            begun = self._beginning.begun
            if begun is None and not self._told_problem:
                return None
            while begun is None:
                begun = await self._beginning.wait()
            self._reading, self._part = begun.reading, begun.take_first()
            self._writer = self._make_writer(begun.reading)
        else:
            self._part = await self._reading.next_part()
        self._hold_beside(self._reading.beside)
        return self._part

    def _hold_beside(self, size: int) -> None:
        """Count what the reading holds of the history until the client has taken this part."""
        self._share.drop(self._beside)
        self._beside = object()
        if size:
            self._share.hold(self._beside, lambda: size)

    async def take(self) -> tuple[bytes, bool]:
        """Return the events of what has arrived, and whether they are the last.

        If this is cancelled, nothing is lost: the next call goes on.
        """
        if self._part is None or self._writer is None:
            self._told_problem = True
            return self._not_opened(), False
        prepared = None
        if is_large(self._part.slices):
            if self._preparing is None:
                # In a task of its own, so that a call to break the silence does not cancel it.
                preparing = self._writer.prepare(self._part)
                self._preparing = asyncio.create_task(preparing, name="render events")
            await asyncio.wait({self._preparing})
            prepared, self._preparing = self._preparing.result(), None
        part, self._part = self._part, None
        return self._writer.events(part, prepared), part.end is not None

    def still_there(self) -> bytes:
        """Return what to send after a silence."""
        if self._writer is None or self._part is not None:
            return KEEP_ALIVE
        return self._writer.still_there()

    def closing(self, reason: LeaveReason) -> bytes:
        """Return the event that sends the client away, with a place to resume at."""
        return self._told({"closing": reason})

    def failing(self, refusal: RefusedError) -> bytes:
        """Return the event that tells why the stream cannot be read any more."""
        return self._told({"problem": problem_fields(refusal, self._request_id)})

    async def aclose(self) -> None:
        """Stop reading."""
        if self._preparing is not None:
            await ended(self._preparing)
        await self._beginning.aclose()
        self._share.drop(self._beside)

    def _told(self, fields: dict[str, Any]) -> bytes:
        if self._writer is not None:
            return self._writer.told(fields)
        return placed_event(fields, self._place)

    def _not_opened(self) -> bytes:
        problem = problem_fields(NotOpenedError(), self._request_id)
        return placed_event({"problem": problem}, self._place)

    def _make_writer(self, reading: Reading) -> EventWriter:
        runs = RunNews(self._feed, 0 if self._query.start == "now" else reading.start)
        return EventWriter(
            self._shape,
            self._topics,
            self._gateway.frames,
            self._gateway.renderer,
            self._metrics,
            runs,
            cursor=self._query.cursor,
        )
