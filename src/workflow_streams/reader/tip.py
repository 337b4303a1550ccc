"""Where a stream's head is right now."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from .. import wire
from .hub import Feed, rpc

# The last events of a history may be transient, and not be counted alike by the two calls.
_LONGEST_WAIT_SECONDS = 2.0


async def wait_for_tip(feed: Feed) -> int:
    """Wait until ``feed`` has read all that stood in the history at the call; return its head."""
    await feed.wait(lambda: feed.floor is not None)
    if feed.chain is not None and feed.chain.polled:
        handle = feed.client.get_workflow_handle(feed.workflow_id, run_id=feed.pinned_run_id)
        return await rpc(handle.query(wire.OFFSET_QUERY, result_type=int), feed.workflow_id)
    described = await feed.describe()
    run_id, length = described.run_id, described.history_length
    with suppress(TimeoutError):
        async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
            await feed.wait(lambda: feed.done or (feed.run_id == run_id and feed.seen_id >= length))
    return feed.head


async def wait_whether_polled(feed: Feed) -> bool:
    """Return whether the current run's stream has to be polled."""
    await feed.wait(lambda: feed.floor is not None)
    while feed.chain is not None and feed.chain.polled:
        polled_run = feed.chain.run_id
        if (await feed.describe()).run_id == polled_run or feed.done:
            return True
        await feed.wait_other_run(polled_run)
    return False
