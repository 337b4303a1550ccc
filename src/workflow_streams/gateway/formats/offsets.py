"""Offset tokens and cursors, as written in URLs and headers. Pure.

A token is a position of the library: the offset in decimal, padded with zeros so that tokens sort
as strings, and a tag that distinguishes streams and their restarts. A plain number works as well.
"""

from __future__ import annotations

import random
import re
from typing import Literal

from ...errors import InvalidOffsetError
from ...events import Last
from ...log.positions import Position, parse_position, position_at
from ..refusals.problems import InvalidRequestError

ReadStart = int | Position | Last | Literal["start", "now"]
"""Where a read begins: an offset, the position where another read stopped, some offsets before the
head, the earliest retained item, or the head."""

END_MARK = ".end"
"""Follows the token in the id of an event that tells the end of a stream. A client that sends this
id back has been told the end."""

# Other servers of the protocol write two numbers. If the second is zero, the first says it all. So
# the one token that clients hard-code, the zero, works here as well.
_TWO_NUMBERS = re.compile(r"([0-9]{1,20})_0{1,20}", re.ASCII)
# In the protocol, -1 means the start. It is handled before this pattern is used.
_BACK = re.compile(r"-[1-9][0-9]{0,18}", re.ASCII)

# Durable Streams 10.1: intervals since 2024-10-09 00:00 UTC.
_CURSOR_EPOCH = 1_728_432_000
_CURSOR_SECONDS = 20
_CURSOR_JITTER_SECONDS = 3600
_CURSOR = re.compile(r"[0-9]{1,18}", re.ASCII)


def token_of(offset: int, tag: str = "") -> str:
    """Return the token of an offset; see :func:`workflow_streams.log.positions.tag_of`."""
    return position_at(offset, tag)


def parse_offset(text: str) -> int | Position:
    """Read what :func:`token_of` has written; leading zeros may be left out.

    Raises:
        InvalidRequestError: The text is not a token.
    """
    two_numbers = _TWO_NUMBERS.fullmatch(text)
    try:
        return parse_position(text if two_numbers is None else two_numbers[1])
    except InvalidOffsetError:
        raise InvalidRequestError("The offset is not one that this gateway gave out.") from None


def parse_start(text: str | None) -> ReadStart:
    """Read the ``offset`` parameter; None, for no parameter, means the start.

    Raises:
        InvalidRequestError: It is not a token, ``now`` or a negative number.
    """
    if text is None or text == "-1":
        return "start"
    if text == "now":
        return "now"
    if _BACK.fullmatch(text) is not None:
        return Last(-int(text))
    return parse_offset(text)


def parse_cursor(text: str | None) -> int | None:
    """Read the ``cursor`` parameter.

    Raises:
        InvalidRequestError: It is not a cursor.
    """
    if not text:
        return None
    if _CURSOR.fullmatch(text) is None:
        raise InvalidRequestError("The cursor is not one that this gateway gave out.")
    return int(text)


def next_cursor(given: int | None, now: float) -> str:
    """Return the cursor of a live answer: the current interval, or one past ``given``.

    Args:
        given: The client's cursor. The new one is always greater; otherwise caches could serve
            the same empty answer for ever (Durable Streams 10.1).
        now: Unix time.
    """
    current = int((now - _CURSOR_EPOCH) // _CURSOR_SECONDS)
    if given is None or given < current:
        return str(current)
    return str(given + -(-random.randint(1, _CURSOR_JITTER_SECONDS) // _CURSOR_SECONDS))
