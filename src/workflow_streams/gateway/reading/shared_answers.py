"""Answers that several requests share, so that what all of them ask for is read and made once.

Each read of what is there already takes one of few turns, and reads the history by itself. If
hundreds of clients ask for the same old part of a stream at the same time, most of them would not
have their turn in time. So a request waits for the answer to the same one that is in work already.
What is shared is there once, and counts once with what the process holds for its clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from ...events import Gap, Rewind
from ...read.waiting import ended
from ..layers.outgoing import PIECE_BYTES, Share, UnreadAnswers
from ..refusals import NoTurnError


@dataclass(frozen=True, slots=True)
class Made:
    """An answer, as far as it is the same for all who ask for it.

    Attributes:
        body: Its body, compressed if ``headers`` say so.
        headers: Its header fields, but for those on caches.
        varies: Whether it depends on ``Accept-Encoding``.
        etag: Its entity tag.
        lasting: Whether it never changes.
        is_part: Whether the stream goes on after it, so that what comes later does not change it.
        items: How many items it holds.
        size: Length of the body before it was compressed.
        notices: The gaps and rewinds that it tells of.
    """

    body: bytes
    headers: Mapping[str, str]
    varies: bool
    etag: str
    lasting: bool
    is_part: bool
    items: int
    size: int
    notices: tuple[Gap | Rewind, ...]


Make = Callable[[Share], Coroutine[Any, Any, Made]]


class SharedAnswers:
    """The answers that are being made."""

    def __init__(self, unread: UnreadAnswers) -> None:
        """Begin with none; what they hold counts with ``unread``."""
        self._unread = unread
        self._works: dict[Hashable, _Work] = {}

    @property
    def waiting(self) -> int:
        """How many requests wait for one."""
        return sum(work.waiting for work in self._works.values())

    def __contains__(self, key: Hashable) -> bool:
        """Whether such an answer is being made."""
        return key in self._works

    async def get(
        self, key: Hashable, make: Make, share: Share, *, length: int, patience: float
    ) -> Made:
        """Return an answer, made for this request or for another one that asked for the same.

        Args:
            key: What is asked for.
            make: Makes the answer, and counts what it takes with the share that it is given.
            share: Counts what this request holds.
            length: How long the history of the stream's run was when the stream was looked up. An
                answer that reaches to the head has to show all of that.
            patience: For how many seconds to try again if another request had no turn.

        Raises:
            NoTurnError: This request's turn did not come in time.
            WorkflowStreamError: The stream cannot be read.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            work = self._works.get(key)
            is_own = work is None
            if work is None:
                work = self._works[key] = _Work(make, self._unread.share(), length)
            work.waiting += 1
            try:
                await asyncio.wait({work.task})
                made = work.task.result()
                if is_own or made.is_part or work.length >= length:
                    if len(made.body) > PIECE_BYTES:
                        share.hold(made.body, lambda made=made: len(made.body))  # type: ignore[misc]
                    return made
            except NoTurnError:
                # It waited for the turn of the client whose request came first.
                if is_own or loop.time() >= until:
                    raise NoTurnError from None
            finally:
                work.waiting -= 1
                if self._works.get(key) is work and (work.task.done() or not work.waiting):
                    del self._works[key]
                if not work.waiting:
                    await work.aclose()


class _Work:
    """Makes one answer, for as long as somebody waits for it.

    Attributes:
        waiting: How many requests do.
        length: How long the history was when the stream was looked up.
        task: Makes it.
    """

    def __init__(self, make: Make, share: Share, length: int) -> None:
        self.waiting = 0
        self.length = length
        self._share = share
        self.task = asyncio.create_task(make(share), name="make a shared answer")

    async def aclose(self) -> None:
        """Stop; whoever waited holds the answer by now."""
        try:
            await ended(self.task)
        finally:
            self._share.close()
