"""Arguments of the public API, checked where they are given."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .errors import UsageError


def topic_name(name: str) -> str:
    """Return a topic's name; on the wire, a batch with any other would be dropped whole.

    Raises:
        UsageError: It is no str.
    """
    if not isinstance(name, str):
        raise UsageError(f"A topic's name is a str, not {name!r}.")
    return name


def is_whole(number: Any) -> bool:
    """Whether a number is an int; true and false are not, whatever Python says."""
    return isinstance(number, int) and not isinstance(number, bool)


def check_count(name: str, number: int | None) -> None:
    """Check a count, if one is given; ``name`` is the parameter's.

    Raises:
        ValueError: It is no int, or less than 1.
    """
    if number is not None and (not is_whole(number) or number < 1):
        raise ValueError(f"{name} must be a whole number, at least 1, not {number!r}")


def seconds_of(name: str, time: timedelta) -> float:
    """Return a time in seconds.

    Raises:
        UsageError: It is no timedelta; ``name`` is the parameter's.
    """
    if not isinstance(time, timedelta):
        raise UsageError(f"{name} is a timedelta, not {time!r}.")
    return time.total_seconds()
