"""Bounds what the bodies of writes become, over all of a process.

What becomes of a body is packed, but while it is taken apart, a body of small values takes many
times its size. And what it becomes stays in memory until the stream's history tells the verdict. So
a write takes room for all of that. If there is none, it waits for a while, and is then refused.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ...log import wire
from ..refusals import NoRoomForWriteError

# Writes that become no more than this are not counted, so that they go on while others wait. The
# request itself takes more than that.
_SMALL_BYTES = 4 * 1024
# While a signal is sent it is there several times: as payload, as request, and within the SDK.
_COPIES = 4
_WAIT_SECONDS = 5.0
# One client has no more than this part of the room.
_CLIENT_PART = 1 / 4


class WriteRoom:
    """Counts how much a process holds of what bodies have become.

    A write is let in if there is room for it, and if its client has no more than its part then.
    Writes that wait are let in one after the other, the clients in turn. One that is larger than
    a client's part, or than all of the room, is let in when its client, or everybody, holds nothing
    else.

    Attributes:
        held: How many bytes are held in total.
    """

    def __init__(self, most: int) -> None:
        """Hold at most ``most`` bytes, or a single write that is larger."""
        self._most = most
        self.held = 0
        self._by_client: Counter[str] = Counter()
        # First the client whose turn is next; of each, the writes in the order in which they came.
        self._waiting: OrderedDict[str, deque[WriteShare]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many writes wait."""
        return sum(map(len, self._waiting.values()))

    @property
    def clients(self) -> int:
        """How many clients hold something or wait."""
        return len(self._by_client.keys() | self._waiting.keys())

    @asynccontextmanager
    async def taken(self, client: str, size: int) -> AsyncIterator[WriteShare]:
        """Hold room for a write within the block.

        Args:
            client: Who writes. If it is empty, only the total counts.
            size: How large the entries will be at most.

        Raises:
            NoRoomForWriteError: There was no room in time.
        """
        share = WriteShare(self, client, size)
        if share.held:
            await self._enter(share)
        try:
            yield share
        finally:
            share.settle(0)

    def shrink(self, client: str, size: int) -> None:
        """Give back some of what a client holds."""
        self.held -= size
        self._by_client[client] -= size
        if not self._by_client[client]:
            del self._by_client[client]
        self._let_in()

    async def _enter(self, share: WriteShare) -> None:
        queue = self._waiting.setdefault(share.client, deque())
        queue.append(share)
        self._let_in()
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await share.is_in.wait()
        except TimeoutError:
            if not share.is_in.is_set():
                self._leave(share)
                raise NoRoomForWriteError from None
        except asyncio.CancelledError:
            if share.is_in.is_set():
                share.settle(0)
            else:
                self._leave(share)
            raise

    def _leave(self, share: WriteShare) -> None:
        """Stop waiting for room; those behind may have waited for that only."""
        queue = self._waiting[share.client]
        queue.remove(share)
        if not queue:
            del self._waiting[share.client]
        self._let_in()

    def _let_in(self) -> None:
        """Let writes that wait in, as far as there is room."""
        for client in list(self._waiting):
            queue = self._waiting[client]
            while queue and self._has_part(client, queue[0].held):
                if self.held and self.held + queue[0].held > self._most:
                    # Nobody gets ahead of this one, or a large write would wait for ever.
                    return
                share = queue.popleft()
                self.held += share.held
                self._by_client[client] += share.held
                self._waiting.move_to_end(client)
                share.is_in.set()
            if not queue:
                del self._waiting[client]

    def _has_part(self, client: str, size: int) -> bool:
        held = self._by_client.get(client, 0)
        return not client or not held or held + size <= self._most * _CLIENT_PART


class WriteShare:
    """What one write holds of the room.

    Attributes:
        client: Who writes.
        held: How many bytes it holds, or waits for.
        is_in: Set when there is room for it.
    """

    def __init__(self, room: WriteRoom, client: str, size: int) -> None:
        """Ask for as much as entries of ``size`` bytes take; see :meth:`WriteRoom.taken`."""
        self._room = room
        self.client = client
        self.held = _room_for(size)
        self.is_in = asyncio.Event()

    def settle(self, size: int) -> None:
        """Give back what was taken for more than ``size`` bytes of entries."""
        too_much = self.held - _room_for(size)
        if too_much > 0:
            self.held -= too_much
            self._room.shrink(self.client, too_much)


def _room_for(size: int) -> int:
    """Return how much memory entries take while they are sent."""
    if size <= _SMALL_BYTES:
        return 0
    return size + _COPIES * min(size, wire.FRAGMENT_BYTES)
