"""Arguments of the public API, checked where they are given."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .errors import InvalidCountError, UsageError


def topic_name(name: str) -> str:
    """Return a topic's name; on the wire, a batch with any other would be dropped whole.

    Raises:
        UsageError: It is no str.
    """
    if not isinstance(name, str):
        raise UsageError(f"A topic's name is a str, not {name!r}.")
    return name


def text_argument(name: str, text: Any) -> str:
    """Return a text that goes to the server, such as a workflow's id; ``name`` is the parameter's.

    Raises:
        UsageError: It is no str, or empty, or has no UTF-8.
    """
    if not isinstance(text, str):
        raise UsageError(f"{name} is a str, not {text!r}.")
    if not text:
        raise UsageError(f"{name} is empty.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name} is not UTF-8: {text!r} holds half a character.") from None
    return text


def is_whole(number: Any) -> bool:
    """Whether a number is an int; true and false are not, whatever Python says."""
    return isinstance(number, int) and not isinstance(number, bool)


def check_count(name: str, number: int | None) -> None:
    """Check a count, if one is given; ``name`` is the parameter's.

    Raises:
        InvalidCountError: It is no int, or less than 1 (a ValueError).
    """
    if number is not None and (not is_whole(number) or number < 1):
        raise InvalidCountError(name, number)


def seconds_of(name: str, time: timedelta) -> float:
    """Return a time in seconds.

    Raises:
        UsageError: It is no timedelta; ``name`` is the parameter's.
    """
    if not isinstance(time, timedelta):
        raise UsageError(f"{name} is a timedelta, not {time!r}.")
    return time.total_seconds()
