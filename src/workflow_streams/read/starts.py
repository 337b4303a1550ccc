"""Where a walk may start."""

from __future__ import annotations

from typing import TypeAlias

from ..errors import InvalidOffsetError, UsageError
from ..events import Last
from ..log.positions import LARGEST_OFFSET, Position, parse_position

Start: TypeAlias = int | Last | Position


def start_after_waiting(start: Start) -> Start:
    """Return where to start in a workflow that has been waited for.

    Whatever it holds has come since, so that ``LATEST`` and ``Last(n)`` mean all of it.
    """
    return 0 if isinstance(start, Last) else start


def start_at(offset: int | Last, position: str | None = None) -> Start:
    """Return where a subscription starts that was given one of these.

    Raises:
        InvalidOffsetError: The offset is negative or no integer, or the position is none.
        UsageError: Both are given.
    """
    if position is not None:
        if offset != 0:
            raise UsageError("A subscription starts at from_offset or at from_position, not both.")
        return parse_position(position)
    number = offset.n if isinstance(offset, Last) else offset
    if type(number) is not int:
        raise InvalidOffsetError(offset, "must be an int or Last(n)")
    if number > LARGEST_OFFSET:
        raise InvalidOffsetError(offset, f"is past {LARGEST_OFFSET}, the largest offset there is")
    if number < 0:
        raise InvalidOffsetError(offset, "must not be negative; Last(n) starts n items back")
    return offset
