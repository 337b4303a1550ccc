"""Reads and checks the query parameters and header fields of reads. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from starlette.datastructures import Headers, QueryParams

from ...events import Last
from ...log.positions import Position
from ..formats.offsets import END_MARK, ReadStart, parse_cursor, parse_start
from ..refusals.event_sources import AS_EVENTS, AS_STATUS, ERRORS_PARAMETER
from ..refusals.problems import InvalidRequestError
from .values import parse_integer, single

Live = Literal["long-poll", "sse"]
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReadQuery:
    """The parameters of a read.

    Attributes:
        start: Where to begin.
        live: How to wait for more; None to read only what is there.
        cursor: The client's cursor.
        topics: Topics asked for; empty for all.
        resumes: Whether the start comes from ``Last-Event-ID``.
        knows_end: Whether ``Last-Event-ID`` says that the client has been told the end.
        asked: The start, written as the value of ``offset``.
        wait_seconds: How long to wait for the workflow to be started.
    """

    start: ReadStart
    live: Live | None
    cursor: int | None
    topics: frozenset[str]
    resumes: bool = False
    knows_end: bool = False
    asked: str = "-1"
    wait_seconds: float = 0.0

    @property
    def named(self) -> int | Position:
        """The offset or position that the request names; 0 if it names none."""
        return self.start if isinstance(self.start, int | Position) else 0

    @property
    def offset(self) -> int:
        """The offset to begin at."""
        return self.named.offset if isinstance(self.named, Position) else self.named


def parse_read(query: QueryParams, headers: Headers) -> ReadQuery:
    """Read the parameters of a GET; unknown ones are ignored.

    Raises:
        InvalidRequestError: A parameter is malformed, or is given more than once.
    """
    live = parse_live(single(query, "live"))
    offset, last = single(query, "offset"), single(query, "last")
    if offset is not None and last is not None:
        raise InvalidRequestError("offset and last exclude each other.")
    last_event = headers.get("last-event-id") if live == "sse" else None
    if offset is None and last is None and not last_event and live is not None:
        raise InvalidRequestError("A live read needs an offset.")
    check_errors(single(query, ERRORS_PARAMETER))
    begins = parse_start(offset) if last is None else Last(parse_integer(last, "last"))
    asked = offset or ("-1" if last is None else _back(int(last)))
    if last_event:
        asked = last_event.removesuffix(END_MARK)
        begins = parse_start(asked)
    return ReadQuery(
        begins,
        live,
        parse_cursor(single(query, "cursor")),
        frozenset(query.getlist("topic")),
        resumes=bool(last_event),
        knows_end=last_event is not None and last_event.endswith(END_MARK),
        asked=asked,
        wait_seconds=parse_wait(query),
    )


def _back(count: int) -> str:
    """Return the ``offset`` that begins so many items back.

    For one item that is -1, which means the start and so lies further back.
    """
    return f"-{count}" if count else "now"


def parse_wait(query: QueryParams) -> float:
    """Read the ``wait`` parameter, in seconds; 0 without it.

    Raises:
        InvalidRequestError: It is not a number of seconds.
    """
    text = single(query, "wait")
    if text is None:
        return 0.0
    if _SECONDS.fullmatch(text) is None:
        raise InvalidRequestError("wait is a number of seconds, such as 30 or 0.5.")
    return float(text)


def check_errors(text: str | None) -> None:
    """Check the ``errors`` parameter; see :mod:`..refusals.event_sources`.

    Raises:
        InvalidRequestError: It has another value than the two that are allowed.
    """
    if text not in (None, AS_EVENTS, AS_STATUS):
        raise InvalidRequestError(f"{ERRORS_PARAMETER} is {AS_EVENTS} or {AS_STATUS}.")


def parse_live(text: str | None) -> Live | None:
    """Read the ``live`` parameter.

    Raises:
        InvalidRequestError: It is not a known mode.
    """
    match text:
        case None:
            return None
        case "long-poll" | "sse":
            return text
        case _:
            raise InvalidRequestError("live is long-poll or sse.")
