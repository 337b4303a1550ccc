"""What is known of a stream's reading at one moment."""

from __future__ import annotations

from typing import NamedTuple

from ...events import End
from ...log.positions import tag_of
from ...log.wire import Rules, RunRef
from ..moments import BEFORE_ALL, Moment, Page, Place


class View(NamedTuple):
    """How far a feed has read; all that others see of that.

    A view never changes: with each moment the feed has another one.

    Attributes:
        first_run_id: First run of the chain that is read; empty until it is known.
        run_id: The run being read; empty before the first.
        place: Where in the run the last moment stands.
        seen_id: Last event of the run that has been read and is settled.
        head: Offset that the next item gets.
        base: Lowest retained offset.
        opened: Whether the run has opened.
        polled: Whether the run is hosted by a contrib and has to be polled.
        line: The stream's runs so far, in order; the records name a limited number.
        rules: What the stream asks of its writers.
        keeps_last: Whether a ring buffer moves the base on with each item.
        holds_early: Whether batches wait for the run to open, and have no offsets before.
        restarting: Whether it is about to tell what the run's restart takes back.
        end: How the stream ended, once that has been read.
        closed_by: Publisher id and sequence of the batch that closed the stream.
    """

    first_run_id: str = ""
    run_id: str = ""
    place: Place = BEFORE_ALL
    seen_id: int = 0
    head: int = 0
    base: int = 0
    opened: bool = False
    polled: bool = False
    line: tuple[RunRef, ...] = ()
    rules: Rules | None = None
    keeps_last: bool = False
    holds_early: bool = False
    restarting: bool = False
    end: End | None = None
    closed_by: tuple[str, int] | None = None

    @property
    def tag(self) -> str:
        """What makes a position of the head; empty before anything has been read."""
        return tag_of(self.first_run_id, self.run_id)

    def entering(self, run_id: str) -> View:
        """Return the view right before the first event of a run."""
        if run_id == self.run_id:
            return self
        return self._replace(
            run_id=run_id,
            place=BEFORE_ALL,
            seen_id=0,
            opened=False,
            polled=False,
            holds_early=False,
        )

    def after(self, moment: Moment) -> View:
        """Return the view after the next moment."""
        before = self.entering(moment.run_id)
        if (opened := moment.opened) is not None:
            before = before._replace(
                opened=True,
                line=opened.line,
                rules=opened.rules,
                keeps_last=opened.keep_last is not None,
                closed_by=opened.closed_by,
            )
        if moment.restarts:
            before = before._replace(base=moment.base, restarting=False, end=None)
        if moment.end is not None:
            judged = moment.judged
            closed_by = None if judged is None else (judged.publisher_id, judged.sequence)
            before = before._replace(end=moment.end, closed_by=closed_by or before.closed_by)
        return before._replace(
            place=moment.place, head=moment.head, base=max(before.base, moment.base)
        )

    def at_end_of(self, page: Page) -> View:
        """Return the view after a page, whose moments have been taken."""
        return self.entering(page.run_id)._replace(
            seen_id=page.seen_id,
            polled=page.polled,
            line=page.line,
            holds_early=page.holds_early,
            restarting=page.restarting,
        )
