"""How often streams are looked at whose readers have no waiting call.

A look is a short read of a history's end. Their rate is bounded over the whole process, and most of
them go to the streams that were lively last: how soon something comes shows best in how long ago
something came.
"""

from __future__ import annotations

LOOKS_PER_SECOND = 85
"""Looks of one connection in one namespace. With the waiting calls of 200 idle streams, which are
renewed every 20 s, and what else there is to ask, that stays below 100 calls a second."""

LEVEL_SECONDS = (60.0, 600.0, float("inf"))
"""A stream's level is the first of these within which it has been lively."""

# How long an item may take to be found while all looks that are wanted can be made.
_WANTED_SECONDS = (1.0, 4.0, 4.0)

# What a level is left by livelier ones at least, of what it would get if all streams were alike.
# Thousands of streams that are opened at once all count as lively, and none should go short for it.
_LEAST_SHARE = 0.75


def level_of(quiet_seconds: float) -> int:
    """Return the level of a stream in which nothing has happened for so long."""
    return next(level for level, limit in enumerate(LEVEL_SECONDS) if quiet_seconds <= limit)


class Looks:
    """Shares the looks out among streams, and spreads them. It has no clock of its own."""

    def __init__(self, per_second: float = LOOKS_PER_SECOND) -> None:
        """Begin with no streams."""
        self._per_second = per_second
        self._counts = [0] * len(LEVEL_SECONDS)
        self._next_at = 0.0

    def move(self, before: int | None, level: int | None) -> None:
        """Count a stream at another level than before; None is for one that is not looked at."""
        if before is not None:
            self._counts[before] -= 1
        if level is not None:
            self._counts[level] += 1

    def interval(self, level: int) -> float:
        """Return how many seconds should lie between two looks at a stream of this level."""
        wanted = [count / pause for count, pause in zip(self._counts, _WANTED_SECONDS, strict=True)]
        even = self._per_second / max(1, sum(self._counts))
        least = [count * even * _LEAST_SHARE for count in self._counts]
        left, share = self._per_second, 0.0
        for each in range(level + 1):
            kept = sum(map(min, wanted[each + 1 :], least[each + 1 :]))
            share = min(wanted[each], left - kept)
            left -= share
        return max(_WANTED_SECONDS[level], self._counts[level] / share if share else 0.0)

    def reserve(self, now: float) -> float:
        """Take the next look that is free; return how many seconds it is away."""
        at = max(now, self._next_at)
        self._next_at = at + 1 / self._per_second
        return at - now
