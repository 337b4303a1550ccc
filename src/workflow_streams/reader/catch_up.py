"""Reads the history apart from the feed: for who starts further back, or has fallen behind."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ..errors import StreamNotFoundError
from ..events import Gap
from ..wire import RunRef
from .chain import Chain
from .hub import Cursor, Feed
from .moments import Moment, Place
from .runs import exists


async def catch_up(
    feed: Feed, cursor: Cursor, run_id: str, after: Place, position: int
) -> AsyncGenerator[Moment]:
    """Yield what comes after a place; end where the feed's ring takes over, at ``cursor``.

    Args:
        feed: Feed to meet.
        cursor: Set to where the ring goes on.
        run_id: Run to begin with.
        after: Place in that run.
        position: Where to begin on a stream that has to be polled.

    Raises:
        StreamNotFoundError: A run has been deleted.
    """
    chain = Chain(feed.client, feed.workflow_id, run_id, offset=position)
    async with aclosing(chain.pages()) as pages:
        async for page in pages:
            for moment in page:
                if moment.run_id != run_id or moment.place > after:
                    yield moment
            if page and page[-1].end is not None:
                continue
            await feed.wait_level(chain.run_id, chain.place)
            joined = feed.index_after(chain.run_id, chain.place)
            if joined is not None:
                cursor.index = joined
                return


async def find_run(feed: Feed, position: int) -> tuple[str, Gap | None]:
    """Return the run that holds ``position``, or the first after it that still exists.

    With the latter comes the gap up to it: the namespace's retention has deleted the run.

    Raises:
        StreamNotFoundError: No run is left.
    """
    client, workflow_id, chain = feed.client, feed.workflow_id, feed.chain
    assert chain is not None
    assert chain.opened is not None
    runs = [*chain.runs, chain.opened]
    while runs[0].first_offset > position:
        # The record names a limited number of runs; that of the first of them names more.
        earlier = await _runs_before(feed, runs[0].run_id)
        if not earlier:
            break
        runs = [*earlier, *runs]
    first = max((i for i, run in enumerate(runs) if run.first_offset <= position), default=0)
    for run in runs[first:]:
        if await exists(client, workflow_id, run.run_id):
            start = run.first_offset
            return run.run_id, Gap(position, start, "expired") if start > position else None
    raise StreamNotFoundError(workflow_id, "none of its runs is left")


async def _runs_before(feed: Feed, run_id: str) -> list[RunRef]:
    """Return the runs that a run's opening record names; none if the run has been deleted."""
    chain = Chain(feed.client, feed.workflow_id, run_id)
    try:
        async with aclosing(chain.pages()) as pages:
            async for _ in pages:
                if chain.opened is not None:
                    break
    except StreamNotFoundError:
        return []
    return chain.runs
