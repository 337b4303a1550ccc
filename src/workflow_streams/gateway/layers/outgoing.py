"""Outgoing answers: gives up on clients that read nothing, and bounds what waits for clients.

A server accepts an answer of any size at once. The request is then over for the application while
the whole answer still waits for its client. So an answer is handed to the server piece by piece,
and the server accepts a piece only after most of those before it have been sent. The request then
lasts as long as its answer does, and counts as a connection for all that time.

What is held to make an answer, such as the items that were read for it, counts from the moment that
it is held (:func:`share_of`).

Event streams cut their events into pieces themselves, since they can say why they end (see
:mod:`..following.sse`). What they hold counts here as well.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..refusals.event_sources import SSE_TYPE

PIECE_BYTES = 64 * 1024
"""How much uvicorn buffers for a connection before it makes the application wait."""


_SHARE = "share of unread answers"


class _NotTakenError(Exception):
    """The client did not read what it was sent, or was the slowest when room was needed."""


class UnreadAnswers:
    """Counts how much a process holds of all answers while clients are reading them.

    What several answers share counts once.

    Attributes:
        held: How many bytes are held in total.
    """

    def __init__(self, most: int) -> None:
        """Hold at most ``most`` bytes, not counting answers and events of up to 64 KiB."""
        self._most = most
        self.held = 0
        # By the identity of each thing: its size, and how many answers hold it.
        self._things: dict[int, tuple[int, int]] = {}
        self._holding: dict[Share, None] = {}

    def share(self) -> Share:
        """Return the share of a new answer, which holds nothing yet."""
        return Share(self)

    def add(self, share: Share, thing: object, size: Callable[[], int]) -> None:
        """Count something that an answer holds; see :meth:`Share.hold`."""
        known, holders = self._things.get(id(thing), (0, 0))
        if not holders:
            known = size()
            self.held += known
        self._things[id(thing)] = known, holders + 1
        self._holding[share] = None
        while self.held > self._most and len(self._things) > 1:
            slowest = min(self._holding, key=lambda holding: holding.since)
            slowest.give_up()

    def remove(self, thing: object) -> None:
        """Undo :meth:`add` for one of the answers that hold the thing."""
        size, holders = self._things.pop(id(thing))
        if holders > 1:
            self._things[id(thing)] = size, holders - 1
        else:
            self.held -= size

    def forget(self, share: Share) -> None:
        """Note that an answer holds nothing."""
        self._holding.pop(share, None)


class Share:
    """Counts what one answer holds, as part of what the process holds.

    Over the limit, the answer that has been waiting for its client longest is given up.

    Attributes:
        since: Since when the answer has been waiting for its client, in the event loop's time;
            infinite while it is not waiting.
        let_go: Called when the answer has to break off.
    """

    def __init__(self, unread: UnreadAnswers) -> None:
        """Begin with nothing."""
        self.since = math.inf
        self.let_go: Callable[[], None] = lambda: None
        self._unread = unread
        self._things: list[object] = []
        self._is_given_up = False

    @property
    def is_given_up(self) -> bool:
        """Whether the answer has to break off."""
        return self._is_given_up

    def hold(self, thing: object, size: Callable[[], int]) -> None:
        """Count something that this answer holds.

        Args:
            thing: What is held; recognised by its identity.
            size: Returns its size in bytes; called only if no other answer holds it yet.
        """
        if not self._is_given_up:
            self._things.append(thing)
            self._unread.add(self, thing, size)

    def drop(self, thing: object) -> None:
        """Undo :meth:`hold`."""
        for index, held in enumerate(self._things):
            if held is thing:
                del self._things[index]
                self._unread.remove(thing)
                break
        if not self._things:
            self._unread.forget(self)

    @contextmanager
    def holding(self, data: bytes) -> Iterator[None]:
        """Count bytes as held within the block."""
        with self.holding_all([(data, lambda: len(data))]):
            yield

    @contextmanager
    def holding_all(self, things: Iterable[tuple[object, Callable[[], int]]]) -> Iterator[None]:
        """Count several things, each with its size, as held within the block."""
        held: list[object] = []
        try:
            for thing, size in things:
                self.hold(thing, size)
                held.append(thing)
            yield
        finally:
            for thing in held:
                self.drop(thing)

    def give_up(self) -> None:
        """Break the answer off, since others need the room."""
        self._is_given_up = True
        self.close()
        self.let_go()

    def close(self) -> None:
        """Stop holding anything."""
        while self._things:
            self.drop(self._things[-1])


class AnswerMiddleware:
    """Passes answers on in pieces; the client has ``write_seconds`` to read each of them."""

    def __init__(self, app: ASGIApp, write_seconds: float, unread: UnreadAnswers) -> None:
        """Wrap ``app``."""
        self._app = app
        self._write_seconds = write_seconds
        self._unread = unread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on. If the client does not read its answer, that stays incomplete.

        The server then closes the connection, so that the client sees that the answer is cut off.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        share = state[_SHARE] = self._unread.share()
        try:
            await self._app(scope, receive, _Sending(send, self._write_seconds, share))
        except _NotTakenError:
            state["refused"] = "slow-client"
        finally:
            share.close()


class _Sending:
    """One answer on its way."""

    def __init__(self, send: Send, write_seconds: float, share: Share) -> None:
        self._send = send
        self._write_seconds = write_seconds
        self._share = share
        self._share.let_go = self._let_go
        self._is_events = False
        self._waiting: asyncio.Timeout | None = None
        self._is_let_go = False

    async def __call__(self, message: Message) -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start":
            # What was given up while it was being made is answered by an error.
            self._is_let_go = self._is_let_go and message["status"] < 500
            self._is_events = (b"content-type", SSE_TYPE.encode()) in message.get("headers", ())
        elif message["type"] == "http.response.body":
            if self._is_events and message.get("more_body"):
                await self._send(message)
                return
            if len(message.get("body", b"")) > PIECE_BYTES:
                await self._send_in_pieces(message)
                return
        await self._send_in_time(message)

    async def _send_in_pieces(self, message: Message) -> None:
        body: bytes = message["body"]
        with self._share.holding(body):
            for piece in in_pieces(body):
                await self._send_in_time({**message, "body": piece, "more_body": True})
            # Although this one is empty, the server accepts it only after the last piece was sent.
            await self._send_in_time({**message, "body": b""})

    async def _send_in_time(self, message: Message) -> None:
        self._share.since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._write_seconds) as self._waiting:
                if self._is_let_go:
                    raise _NotTakenError
                await self._send(message)
        except TimeoutError:
            raise _NotTakenError from None
        finally:
            self._waiting = None
            self._share.since = math.inf

    def _let_go(self) -> None:
        self._is_let_go = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())


def share_of(scope: Scope) -> Share:
    """Return what counts what a request holds, from before its answer until it has been sent."""
    share: Share = scope["state"][_SHARE]
    return share


def in_pieces(data: bytes) -> Iterator[bytes]:
    """Yield bytes in pieces of :data:`PIECE_BYTES`."""
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]
