"""What the streams that share one connection may use together: lookups, reads, and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from ..layers.outgoing import Share
from ..reading.parts import Part

# For one connection, so that opening many streams does not delay the lookups of other clients.
_LOOKUPS_AT_ONCE = 10
_BEGIN_AT_ONCE = 2
_LEAST_PART_BYTES = 16 * 1024


class SharedBounds:
    """Bounds over all streams of one connection, also over what waits to be sent of them.

    Attributes:
        part_bytes: About how much may be read of one stream at a time.
        room: Set while more may be read.
        lookups: Hold it while looking a stream up.
        begins: Hold it while beginning to read a stream.
        share: Counts what is held for the client.
        client: Whom the connection is counted for when it waits for turns.
    """

    def __init__(self, share: Share, event_bytes: int, streams: int, client: str) -> None:
        """Begin with nothing read.

        Args:
            share: Counts what is held for the client.
            event_bytes: How much one event holds if a connection follows a single stream. All
                streams together hold about as much as that, but no less than 16 KiB each.
            streams: How many streams share the connection.
            client: Whom it is counted for when it waits for turns.
        """
        self.part_bytes = max(_LEAST_PART_BYTES, event_bytes // streams)
        self.room = asyncio.Event()
        self.room.set()
        self.lookups = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
        self.begins = asyncio.Semaphore(_BEGIN_AT_ONCE)
        self.share = share
        self.client = client
        self._most = self.part_bytes * streams
        self._size = 0

    @contextmanager
    def holding(self, part: Part | None) -> Iterator[None]:
        """Count a part that waits to be sent, for the time of the block."""
        if part is None:
            yield
            return
        # Even small parts add up when there are many streams.
        with self.share.holding_all(part.held):
            self._add(part.size)
            try:
                yield
            finally:
                self._add(-part.size)

    def _add(self, size: int) -> None:
        self._size += size
        if self._size < self._most:
            self.room.set()
        else:
            self.room.clear()
