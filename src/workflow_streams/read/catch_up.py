"""Reads the stream beside its feed, for readers that start further back or have fallen behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import pairwise

from ..errors import StreamNotFoundError
from ..events import Gap
from ..log.wire import RunRef
from .beside import turn
from .feeds.feed import Cursor, Feed
from .moments import Moment, Page, Place


async def catch_up(
    feed: Feed, cursor: Cursor, runs: Sequence[RunRef], run_id: str, after: Place, position: int
) -> AsyncGenerator[Moment]:
    """Yield what comes after a place; end where the feed's ring takes over, at ``cursor``.

    Args:
        feed: Feed to meet.
        cursor: Set to where the ring goes on; meanwhile it says what is held beside the ring.
        runs: Runs of the stream as it is now, in order.
        run_id: Run to begin with; one that a restart has replaced is not among ``runs``.
        after: Place in that run.
        position: Where to begin on a stream that has to be polled.

    Raises:
        StreamNotFoundError: A run has been deleted.
    """
    path = {run.run_id: after_it.run_id for run, after_it in pairwise(runs)}
    reading = feed.source.read(run_id, position, behind=True, or_before=True, path=path)
    rewound = False
    try:
        async with aclosing(reading.pages()) as pages:
            while (page := await _next(pages)) is not None:
                cursor.beside = page.fetched_bytes
                for moment in page.moments:
                    # After a reset, the run to begin with may be read for a second time.
                    rewound = rewound or moment.restarts
                    if rewound or moment.run_id != run_id or moment.place > after:
                        yield moment
                if page.unreadable or (page.moments and page.moments[-1].end is not None):
                    continue
                await feed.wait_level(page.run_id, page.place)
                joined = feed.index_after(page.run_id, page.read_to)
                # The ring's next rewind would be one for readers that come from where the feed did.
                if joined is not None and not page.restarting:
                    cursor.index = joined
                    return
    finally:
        cursor.beside = 0


async def _next(pages: AsyncGenerator[Page]) -> Page | None:
    async with turn():
        return await anext(pages, None)


def runs_of(feed: Feed) -> list[RunRef]:
    """Return the runs that the feed knows of, in order; the record names a limited number."""
    return list(feed.view.line)


async def find_run(feed: Feed, position: int) -> tuple[list[RunRef], str, Gap | None]:
    """Return the runs, and which of them holds ``position`` or is the first left after it.

    With the latter comes the gap up to it: the namespace's retention has deleted the run.

    Raises:
        StreamNotFoundError: No run is left.
    """
    async with turn():
        return await _find_run(feed, position)


async def _find_run(feed: Feed, position: int) -> tuple[list[RunRef], str, Gap | None]:
    runs = runs_of(feed)
    while runs and runs[0].first_offset > position:
        # The record of the first run that is named names those before.
        earlier = await _runs_before(feed, runs[0].run_id)
        if not earlier:
            break
        runs = [*earlier, *runs]
    first = max((i for i, run in enumerate(runs) if run.first_offset <= position), default=0)
    for run in runs[first:]:
        if await feed.source.has_run(run.run_id):
            start = run.first_offset
            gap = Gap(position, start, "expired") if start > position else None
            return runs, run.run_id, gap
    raise StreamNotFoundError(feed.workflow_id, "none of its runs is left")


async def _runs_before(feed: Feed, run_id: str) -> list[RunRef]:
    """Return the runs that a run's opening record names; none if the run has been deleted."""
    reading = feed.source.read(run_id)
    try:
        async with aclosing(reading.pages()) as pages:
            async for page in pages:
                if page.line:
                    return list(page.line[:-1])
    except StreamNotFoundError:
        pass
    return []
