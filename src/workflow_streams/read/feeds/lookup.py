"""Finds the feed of a stream, which all its readers in a process share."""

from __future__ import annotations

import asyncio

from temporalio.client import Client
from temporalio.service import ServiceClient

from ...events import Last
from .feed import Feed, registry
from .registry import key_of


def feed_of(client: Client, workflow_id: str, run_id: str | None) -> Feed:
    """Return this event loop's feed of the stream; a new one if none is running.

    The caller retains it at once, or has :meth:`Feed.found` let it go: nothing else would.
    """
    key = key_of(client, workflow_id, run_id)
    feed = registry.get(client, key, lambda: Feed(client, workflow_id, run_id))
    if feed.done:
        feed.forget()
        feed = registry.get(client, key, lambda: Feed(client, workflow_id, run_id))
    return feed


def feeds_reading(connection: ServiceClient) -> int:
    """Return how many histories are followed by way of a connection."""
    return sum(feed.reads for feed in registry.all_of(connection))


async def hold(client: Client, workflow_id: str, run_id: str | None, start: int | Last) -> Feed:
    """Return the feed of the chain that the workflow id means now, retained for the caller."""
    since = asyncio.get_running_loop().time()
    while True:
        feed = feed_of(client, workflow_id, run_id)
        feed.retain(start)
        try:
            current = await feed.confirm(since)
        except BaseException:
            feed.release()
            raise
        if current:
            return feed
        feed.release()
        feed.forget()
