"""Finds the feed of a stream, which all its readers in a process share."""

from __future__ import annotations

import asyncio

from ...events import Last
from ..source import Source
from .feed import Feed, registry


def feed_of(source: Source) -> Feed:
    """Return this event loop's feed of the stream; a new one if none is running.

    The caller retains it at once, or has :meth:`Feed.found` let it go: nothing else would.
    """
    feed = registry.get(source.connection, source.key, lambda: Feed(source))
    if feed.done:
        feed.forget()
        feed = registry.get(source.connection, source.key, lambda: Feed(source))
    return feed


def feeds_reading(connection: object) -> int:
    """Return how many streams are followed by way of a connection."""
    return sum(feed.reads for feed in registry.all_of(connection))


async def hold(source: Source, start: int | Last) -> Feed:
    """Return the feed of the chain that the stream's name means now, retained for the caller."""
    since = asyncio.get_running_loop().time()
    while True:
        feed = feed_of(source)
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
