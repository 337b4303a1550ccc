"""Limits on incoming bodies: how large and how slow they are, and how much of all is held."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive

from ..refusals import BodyTimeoutError, BodyTooLargeError, NoRoomForBodyError
from .limit_settings import LimitSettings

_DRAIN_SECONDS = 5.0
# This much of each body does not count towards the common limit: the server itself holds as much of
# a connection, and small writes should go on while large ones wait for room.
_UNCOUNTED_BYTES = 64 * 1024
# A body that has been arriving for longer is given up when others need its room.
_PROMPT_SECONDS = 5.0


class BodyRoom:
    """Counts how much a process holds of all bodies: those arriving, and those being handled."""

    def __init__(self, most: int) -> None:
        """Hold at most ``most`` bytes, not counting the first 64 KiB of each body."""
        self._most = most
        self.held = 0
        # In the order in which they began to arrive.
        self._arriving: dict[IncomingBody, None] = {}

    @property
    def arriving(self) -> int:
        """How many of the counted bodies are still arriving."""
        return len(self._arriving)

    def take(self, body: IncomingBody, size: int) -> None:
        """Make room for ``size`` more bytes of a body.

        Raises:
            NoRoomForBodyError: There is no room, and no slow body that could be given up.
        """
        self._arriving.setdefault(body)
        while self.held + size > self._most:
            oldest = next(iter(self._arriving))
            if oldest is body or not oldest.is_slow():
                raise NoRoomForBodyError
            self.release(oldest)
            oldest.give_way()
        self.held += size
        body.held += size

    def arrived(self, body: IncomingBody) -> None:
        """Note that a body is complete, so that it no longer depends on its sender."""
        self._arriving.pop(body, None)

    def release(self, body: IncomingBody) -> None:
        """Free the room that a body has taken."""
        self._arriving.pop(body, None)
        self.held -= body.held
        body.held = 0


class IncomingBody:
    """A request's body on its way in.

    Attributes:
        held: How many of its bytes are counted in the :class:`BodyRoom`.
    """

    def __init__(self, receive: Receive, settings: LimitSettings, room: BodyRoom) -> None:
        """Receive from ``receive``, within the limits."""
        self.held = 0
        self._receive = receive
        self._settings = settings
        self._room = room
        self._size = 0
        self._complete = False
        self._began: float | None = None
        self._waiting: asyncio.Timeout | None = None
        self._gives_way = False

    async def receive(self) -> Message:
        """Receive the next message, within the limits on size, pauses and time.

        Raises:
            BodyTimeoutError: 408; the body takes too long, or was given up for others.
            BodyTooLargeError: 413.
            NoRoomForBodyError: 503.
        """
        if self._complete:
            return await self._receive()  # waits until the client leaves, so without a limit
        now = asyncio.get_running_loop().time()
        if self._began is None:
            self._began = now
        until = min(
            now + self._settings.body_idle_seconds, self._began + self._settings.body_seconds
        )
        try:
            async with asyncio.timeout_at(until) as self._waiting:
                if self._gives_way:
                    raise TimeoutError
                message = await self._receive()
        except TimeoutError:
            raise self._late(until) from None
        finally:
            self._waiting = None
        self._count(message)
        return message

    def is_slow(self) -> bool:
        """Whether it has been arriving for so long that it may be given up for others."""
        assert self._began is not None
        return asyncio.get_running_loop().time() - self._began > _PROMPT_SECONDS

    def give_way(self) -> None:
        """Stop waiting for the rest, since others need the room."""
        self._gives_way = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())

    def close(self) -> None:
        """Free the room that the body takes."""
        self._room.release(self)

    async def drain(self) -> None:
        """Read and drop the rest of the body, within bounds, so that the client gets the answer.

        If a connection is closed while its client is still sending, it is reset, and the answer is
        lost.
        """
        self.close()
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self._complete and self._size < 2 * self._settings.max_body_bytes:
                    self._add(await self._receive())
        except TimeoutError:
            pass  # the client has had enough time

    def _count(self, message: Message) -> None:
        before = self._size
        self._add(message)
        check_body_size(self._size, self._settings)
        counted = max(0, self._size - _UNCOUNTED_BYTES) - max(0, before - _UNCOUNTED_BYTES)
        if counted:
            self._room.take(self, counted)
        if self._complete:
            self._room.arrived(self)

    def _add(self, message: Message) -> None:
        self._size += len(message.get("body", b""))
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)

    def _late(self, until: float) -> BodyTimeoutError:
        settings = self._settings
        if self._gives_way:
            return BodyTimeoutError(
                "The gateway has no room for more bodies, and this one comes too slowly."
            )
        assert self._began is not None
        if until >= self._began + settings.body_seconds:
            return BodyTimeoutError(f"A body has {settings.body_seconds:g} seconds to arrive.")
        return BodyTimeoutError(f"Nothing came for {settings.body_idle_seconds:g} seconds.")


def check_body_size(size: int, settings: LimitSettings) -> None:
    """Refuse a body that is over the limit.

    Raises:
        BodyTooLargeError: 413.
    """
    if size > settings.max_body_bytes:
        raise BodyTooLargeError(f"A body has at most {settings.max_body_bytes:,} bytes.")
