"""Where a stream's head is right now."""

from __future__ import annotations

import asyncio

from .. import wire
from .hub import Feed, rpc

# The last events of a history, of a task that is being tried, may be transient, and not be
# counted alike by the two calls.
_TRANSIENT_EVENTS = 2
_LONGEST_SILENCE_SECONDS = 2.0


async def wait_for_tip(feed: Feed) -> int:
    """Wait until ``feed`` has read all that stood in the history at the call; return its head."""
    await feed.wait(lambda: feed.floor is not None)
    if feed.chain is not None and feed.chain.polled:
        handle = feed.client.get_workflow_handle(feed.workflow_id, run_id=feed.pinned_run_id)
        return await rpc(handle.query(wire.OFFSET_QUERY, result_type=int), feed.workflow_id)
    described = await feed.describe()
    run_id, length = described.run_id, described.history_length

    def passed(seen: int) -> bool:
        return feed.done or (feed.run_id == run_id and feed.seen_id >= seen)

    while not passed(length):
        # A silence is the end of the history, unless the server is away or slow.
        if await _silent(feed) and (feed.run_id != run_id or passed(length - _TRANSIENT_EVENTS)):
            break
    return feed.head


async def _silent(feed: Feed) -> bool:
    """Wait until the feed reads something more, or does not for some time."""
    run_id, seen_id = feed.run_id, feed.seen_id
    try:
        async with asyncio.timeout(_LONGEST_SILENCE_SECONDS):
            await feed.wait(lambda: feed.done or (feed.run_id, feed.seen_id) != (run_id, seen_id))
    except TimeoutError:
        return True
    return False


async def wait_whether_polled(feed: Feed) -> bool:
    """Return whether the current run's stream has to be polled."""
    await feed.wait(lambda: feed.floor is not None)
    while feed.chain is not None and feed.chain.polled:
        polled_run = feed.chain.run_id
        if (await feed.describe()).run_id == polled_run or feed.done:
            return True
        await feed.wait_other_run(polled_run)
    return False
