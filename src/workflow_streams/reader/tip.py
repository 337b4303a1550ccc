"""Where a stream's head is right now."""

from __future__ import annotations

from .history import newest_event_id
from .hub import Feed
from .polling import head_of


async def wait_for_tip(feed: Feed) -> int:
    """Wait until ``feed`` has read all that stood in the history at the call; return its head.

    What was published to a run before its first task gets its offsets with that.

    Raises:
        HostUnavailableError: A contrib hosts the stream, and no worker answers.
    """
    await feed.wait(lambda: feed.floor is not None)
    run_id = await feed.current_run()
    if run_id is None:
        # The id is another chain's by now; of this one, everything stands already.
        await feed.wait(lambda: False)
        return feed.head
    newest = await newest_event_id(feed.client, feed.workflow_id, run_id)
    await feed.wait(lambda: feed.polls(run_id) or feed.has_read(run_id, newest))
    if not feed.polls(run_id) or feed.done:
        return feed.head
    handle = feed.client.get_workflow_handle(feed.workflow_id, run_id=run_id)
    return await head_of(handle, wait=False)


async def wait_whether_polled(feed: Feed) -> bool:
    """Return whether the current run's stream has to be polled."""
    await feed.wait(lambda: feed.floor is not None)
    while feed.chain is not None and feed.chain.polled and not feed.done:
        polled_run = feed.chain.run_id
        if await feed.current_run() in (None, polled_run):
            return True
        await feed.wait_other_run(polled_run)
    return False
