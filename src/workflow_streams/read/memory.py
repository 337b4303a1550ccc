"""A stream in the memory of this process: for tests, and for what activities under test publish.

It takes batches as a workflow takes them, and is read as any other source. Nothing about it takes
time, so one object can stand for all that :mod:`.source` names.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from temporalio.api.common.v1 import Payload

from ..errors import StreamNotFoundError
from ..events import End, Last, Outcome
from ..log.fold import Fold
from ..log.intake import Intake
from ..log.wire import RunRef
from .moments import Moment, Opened, Page, Place, effect_of
from .source import Host


class MemoryStream:
    """A stream of one run, from :meth:`deliver` to :meth:`finish`.

    Attributes:
        workflow_id: What it is called.
        run_id: Its only run.
        moments: All that has become of it.
    """

    def __init__(self, workflow_id: str = "memory") -> None:
        """Open an empty stream."""
        self.workflow_id = self.key = workflow_id
        self.run_id = self.first_run_id = str(uuid.uuid4())
        self.moments: list[Moment] = []
        self._line = (RunRef(self.run_id, 0),)
        self._fold = Fold()
        self._intake = Intake(self._fold, unpacks=True)
        self._news = asyncio.Event()
        self._put(opened=Opened(self._line))

    # It is written.

    async def deliver(self, batch: Payload) -> None:
        """Take the argument of one publish signal."""
        for judged in self._intake.take(batch):
            self._put(**effect_of(judged, self.run_id, None, closed=False)._asdict())

    def truncate(self, up_to_offset: int) -> None:
        """Drop the items below an offset."""
        self._fold.truncate(up_to_offset)
        self._put()

    def finish(self, outcome: Outcome = "completed") -> None:
        """End the stream."""
        self._put(end=End(outcome, self._fold.head, self.run_id))

    def _put(self, **what: Any) -> None:
        fold, event_id = self._fold, len(self.moments) + 1
        self.moments.append(Moment(self.run_id, event_id, fold.head, fold.base, **what))
        news, self._news = self._news, asyncio.Event()
        news.set()

    # It is found.

    @property
    def connection(self) -> MemoryStream:
        """Itself."""
        return self

    def pinned(self, run_id: str) -> MemoryStream:
        """Return itself, since it has one run."""
        return self

    async def look(self, run_id: str | None = None) -> MemoryStream:
        """Return itself."""
        if run_id not in (None, self.run_id):
            raise StreamNotFoundError(self.workflow_id, f"it has no run {run_id!r}")
        return self

    async def base(self) -> tuple[int, bool]:
        """Return the base, which no ring buffer moves."""
        return self._fold.base, False

    async def has_run(self, run_id: str) -> bool:
        """Return whether it is this run."""
        return run_id == self.run_id

    def host(self) -> Host | None:
        """Return None, since it is never polled."""
        return None

    def bounded(self, seconds: float | None) -> AbstractAsyncContextManager[None]:
        """Bound nothing, since memory has no outages."""
        return nullcontext()

    # It is read.

    def read(
        self,
        run_id: str,
        offset: int | Last = 0,
        *,
        behind: bool = False,
        or_before: bool = False,
        path: Mapping[str, str] | None = None,
    ) -> MemoryStream:
        """Return itself: each call of :meth:`pages` begins with the first moment."""
        return self

    async def pages(self) -> AsyncGenerator[Page]:
        """Yield what has come since the last page; wait for more up to the end."""
        told = 0
        while not (told and self.moments[told - 1].end is not None):
            if told == len(self.moments):
                await self._news.wait()
            moments, told = self.moments[told:], len(self.moments)
            yield Page(
                moments,
                self.run_id,
                moments[-1].place,
                seen_id=told,
                polled=False,
                line=self._line,
                restarting=False,
                holds_early=False,
                held_bytes=0,
                unreadable=False,
            )

    def hasten(self) -> None:
        """Do nothing, since nothing takes time."""

    def wake(self) -> None:
        """Do nothing, since nothing takes time."""

    def standing(self, publisher_id: str, sequence: int) -> tuple[str, Place] | None:
        """Return the place of the newest moment, if the batch has been taken."""
        taken = self.last_sequence(publisher_id) or 0
        return (self.run_id, self.moments[-1].place) if taken >= sequence else None

    def last_sequence(self, publisher_id: str) -> int | None:
        """Return the last accepted batch of a publisher."""
        return self._fold.publishers.get(publisher_id)

    async def newest_event_id(self, run_id: str) -> int:
        """Return the number of the newest moment."""
        return len(self.moments)
