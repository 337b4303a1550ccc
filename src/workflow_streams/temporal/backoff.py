"""Pauses between tries."""

from __future__ import annotations

import asyncio
import random


class Backoff:
    """Pauses that grow from try to try, each a little different, so that many do not try at once.

    Attributes:
        longest: The next pause is no longer than these seconds.
    """

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        """Begin with pauses of up to ``first_seconds``; double them up to ``longest_seconds``."""
        self._first = first_seconds
        self._limit = longest_seconds
        self.longest = first_seconds

    def reset(self) -> None:
        """Begin anew, after a success."""
        self.longest = self._first

    def next(self) -> float:
        """Return how many seconds to pause now: from half of the longest pause to all of it."""
        seconds = self.longest * random.uniform(0.5, 1)
        self.longest = min(2 * self.longest, self._limit)
        return seconds

    async def pause(self) -> None:
        """Pause."""
        await asyncio.sleep(self.next())
