"""Reads one run that a contrib hosts, whose history does not hold the stream: by polling it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from ....events import Last
from ....log.fold import Fold
from ....log.wire import RunRef
from ....temporal.codec import converter_of
from ...history.pages import close_event
from ...moments import BEFORE_ALL, Moment, Opened, Page
from ..history_run import HistoryRun
from ..route import end_of
from ..takeover import Entry, Left
from .last_head import last_head
from .poller import Poller, closing_of


class PolledRun:
    """Polls one run; only the last one needs to be read to its end.

    Continued as new, the run takes along what it holds; started anew, it takes it back.

    Attributes:
        fold: The head that it has come to, at its end; None before.
        line: This run, once it has begun.
        rules: What the stream asks of its writers, from the last opening record.
        takeover: What it takes over from the run before.
        may_go_back: Whether nothing has been read of it or of any run before.
        origin: Where it comes from.
        next: The run to read next; None if there is none, or it is not known yet.
    """

    polled = True

    def __init__(
        self,
        client: Client,
        workflow_id: str,
        begun: HistoryRun,
        follow: Callable[[PolledRun, HistoryEvent], Awaitable[Entry | None]],
        *,
        offset: int | Last,
        behind: bool,
    ) -> None:
        """Prepare to poll.

        Args:
            client: Temporal client.
            workflow_id: Workflow that hosts the stream.
            begun: The run, read until it turned out to be a contrib's.
            follow: Finds the run that comes after the close event.
            offset: Where to begin, if the reading begins here.
            behind: Whether the log is known to hold more than what is before ``offset``.
        """
        self.run_id = begun.run_id
        self.fold: Fold | None = None
        self.line = begun.line
        self.rules = begun.rules
        self.takeover = begun.takeover
        self.may_go_back = begun.may_go_back
        self.origin = begun.origin
        self.seen_id = begun.seen_id
        self.next: Entry | None = None
        self._client = client
        self._workflow_id = workflow_id
        self._close = begun.closing
        self._follow = follow
        self._offset = offset
        self._behind = behind
        self._place = BEFORE_ALL

    @property
    def left(self) -> Left | None:
        """How the stream stands at the end of what has been read."""
        return self.takeover.left if self.fold is None else Left(self.fold, polled=True)

    async def pages(self) -> AsyncGenerator[Page]:
        """Yield what is published, a moment at a time.

        Raises:
            StreamNotFoundError: The workflow hosts no stream.
            HostUnavailableError: There is no worker to ask.
            CodecError: The payload codec fails, or is missing here.
        """
        client, workflow_id, run_id = self._client, self._workflow_id, self.run_id

        async def stream_head() -> int:
            return await last_head(client, workflow_id, run_id)

        async with closing_of(client, workflow_id, run_id, self._close) as closing:
            poller = Poller(client, workflow_id, run_id, closing, behind=self._behind)
            start, reached = self._start()
            begun = await poller.begin(start, reached=reached)
            if begun:
                yield self._page(self._opening(poller))
                async with aclosing(poller.pages()) as moments:
                    async for moment in moments:
                        yield self._page(moment)
            # A call that has waited for the event since before may be deaf to it by now.
            waits = not closing.done()
            close = await close_event(client, workflow_id, run_id) if waits else closing.result()
        if begun:
            self.fold = Fold(poller.offset)
        elif self.takeover.left is None and reached and isinstance(start, int):
            # Nothing was read here, but readers that were told of more before it have had that.
            self.fold = Fold(start)
        self.next = await self._follow(self, close)
        if self.next is not None:
            return
        if not begun:
            poller.begin_closed(start, await stream_head(), reached=reached)
            yield self._page(self._opening(poller))
        async with aclosing(poller.remaining(stream_head)) as moments:
            async for moment in moments:
                yield self._page(moment)
        self.fold = Fold(poller.offset)
        converter = converter_of(client, workflow_id)
        end = await end_of(close, self.fold.head, run_id, converter)
        yield self._page(Moment(run_id, close.event_id, self.fold.head, self.fold.base, end=end))

    def _start(self) -> tuple[int | Last, bool]:
        """Return where to begin, and whether that is not past the run's head."""
        left = self.takeover.left
        if left is None:
            return self._offset, self._behind
        return (0 if self.takeover.restart is not None else left.fold.head), True

    def _opening(self, poller: Poller) -> Moment:
        rewind = self.takeover.rewind(0)
        self.line, self.may_go_back = (RunRef(self.run_id, 0),), False
        return poller.opening(rewind, Opened(self.line, self.rules))

    def _page(self, moment: Moment) -> Page:
        self._place = moment.place
        return Page(
            [moment],
            run_id=self.run_id,
            place=self._place,
            seen_id=self.seen_id,
            polled=True,
            line=self.line,
            restarting=self.takeover.pending,
            holds_early=False,
            held_bytes=0,
            unreadable=False,
        )
