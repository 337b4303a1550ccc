"""Answers on their way out: a client that takes nothing in is let go, and what it holds is bounded.

A server takes as much of an answer as it is given, and the request is over for the application
while all of it still waits for the client. So an answer is given to it piece by piece: before it
takes one, it waits until those before it have left, for the most part. The request then lasts as
long as its answer does, and counts as a connection so long.

Event streams have no end to wait for. They look after themselves (see :mod:`..reading.patrol`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..event_sources import SSE_TYPE

PIECE_BYTES = 64 * 1024
"""As much as uvicorn holds of a connection before it has the application wait."""


class _NotTakenError(Exception):
    """The client has not taken in what it was sent, or was the slowest when room was needed."""


class UnreadAnswers:
    """How much of all answers together a process holds while their clients take them in."""

    def __init__(self, most: int) -> None:
        """Hold at most so many bytes, answers of up to 64 KiB not counted."""
        self._most = most
        self.held = 0
        self._sending: dict[_Sending, int] = {}

    @contextmanager
    def holding(self, answer: _Sending, size: int) -> Iterator[None]:
        """Count an answer for the time of the block.

        Over the limit, the answer whose client has been waited for longest breaks off, which may
        be this one.
        """
        self._sending[answer] = size
        self.held += size
        try:
            while self.held > self._most and len(self._sending) > 1:
                self._let_go(min(self._sending, key=lambda sending: sending.since))
            yield
        finally:
            self._forget(answer)

    def _let_go(self, answer: _Sending) -> None:
        self._forget(answer)
        answer.let_go()

    def _forget(self, answer: _Sending) -> None:
        self.held -= self._sending.pop(answer, 0)


class AnswerMiddleware:
    """Passes answers on in pieces, each of which the client has so long to take in."""

    def __init__(self, app: ASGIApp, write_seconds: float, unread: UnreadAnswers) -> None:
        """Wrap ``app``."""
        self._app = app
        self._write_seconds = write_seconds
        self._unread = unread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; its answer stays incomplete if the client does not take it in.

        The server then closes the connection, so that the client sees that it is incomplete.
        """
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, _Sending(send, self._write_seconds, self._unread))
        except _NotTakenError:
            scope.setdefault("state", {})["refused"] = "slow-client"


class _Sending:
    """One answer on its way.

    Attributes:
        since: Since when the client is waited for, in the event loop's time.
    """

    def __init__(self, send: Send, write_seconds: float, unread: UnreadAnswers) -> None:
        self.since = asyncio.get_running_loop().time()
        self._send = send
        self._write_seconds = write_seconds
        self._unread = unread
        self._is_events = False
        self._waiting: asyncio.Timeout | None = None
        self._is_let_go = False

    async def __call__(self, message: Message) -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start":
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
        with self._unread.holding(self, len(body)):
            for at in range(0, len(body), PIECE_BYTES):
                piece = {"body": body[at : at + PIECE_BYTES], "more_body": True}
                await self._send_in_time({**message, **piece})
            # The server takes it, empty as it is, only when the last piece has left.
            await self._send_in_time({**message, "body": b""})

    async def _send_in_time(self, message: Message) -> None:
        self.since = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._write_seconds) as self._waiting:
                if self._is_let_go:
                    raise _NotTakenError
                await self._send(message)
        except TimeoutError:
            raise _NotTakenError from None
        finally:
            self._waiting = None

    def let_go(self) -> None:
        """Break off, since the room is needed."""
        self._is_let_go = True
        if self._waiting is not None:
            self._waiting.reschedule(asyncio.get_running_loop().time())
