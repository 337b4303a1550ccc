"""Where a stream's head is right now."""

from __future__ import annotations

from .. import wire
from .hub import Feed, rpc


async def wait_for_tip(feed: Feed) -> int:
    """Wait until ``feed`` has read all that stood in the history at the call; return its head."""
    await feed.wait(lambda: feed.floor is not None)
    if feed.chain is not None and feed.chain.polled:
        handle = feed.client.get_workflow_handle(feed.workflow_id, run_id=feed.chain.run_id)
        return await rpc(handle.query(wire.OFFSET_QUERY, result_type=int), feed.workflow_id)
    while True:
        described = await feed.describe()
        run_id = described.run_id
        await feed.wait(
            lambda: (
                feed.run_id == run_id and feed.event_id >= described.history_length
            )
            or feed.done
        )
        return feed.head
