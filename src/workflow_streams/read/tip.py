"""Where a stream's head is right now."""

from __future__ import annotations

import asyncio

from ..errors import HostUnavailableError, StreamNotFoundError
from .feeds.feed import Feed
from .waiting import ended, unless


async def wait_for_tip(feed: Feed) -> int:
    """Wait until ``feed`` has read all that stood in the stream at the call; return its head.

    What was published to a run before its first task gets its offsets with that.

    Raises:
        HostUnavailableError: A contrib hosts the stream, and no worker answers.
    """
    await feed.wait(lambda: feed.floor is not None)
    while True:
        run_id = await feed.current_run()
        if run_id is None:
            # The id is another chain's by now; of this one, everything stands already.
            await feed.wait(lambda: False)
            return feed.head
        head = await _head_of_run(feed, run_id)
        if head is not None:
            return head


async def _head_of_run(feed: Feed, run_id: str) -> int | None:
    """Wait until ``feed`` is level with a run; return the head, None if it has left the run."""
    newest = await feed.source.newest_event_id(run_id)
    await feed.wait_known(lambda: feed.polls(run_id) or feed.has_read(run_id, newest))
    if not feed.polls(run_id) or feed.done:
        return feed.head
    return await polled_head(feed, run_id)


async def polled_head(feed: Feed, run_id: str) -> int | None:
    """Ask a host for its head; None if the feed leaves the run first, which may be at its end.

    Raises:
        HostUnavailableError: The run is open, and no worker answers.
    """
    host = feed.host
    assert host is not None

    def left() -> bool:
        return feed.done or not feed.polls(run_id)

    leaving = asyncio.create_task(feed.wait(left), name="follow to the end of the run")
    try:
        return await unless(lambda: host.head(run_id), over=leaving)
    except (HostUnavailableError, StreamNotFoundError):
        if not await host.has_closed(run_id):
            raise
        # What a query does not tell any more, the feed does.
        await leaving
        return None
    finally:
        await ended(leaving)


async def wait_whether_polled(feed: Feed) -> bool:
    """Return whether the current run's stream has to be polled."""
    await feed.wait(lambda: feed.floor is not None)
    while feed.view.polled and not feed.done:
        polled_run = feed.run_id
        if await feed.current_run() in (None, polled_run):
            return True
        await feed.wait_other_run(polled_run)
    return False
