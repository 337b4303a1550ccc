"""Several streams in one event stream: the request's parameters, and the offset in each. Pure.

A client that resumes an event stream sends back the id of the last event. Here this id holds the
offset in each stream, in the order of the request::

    1f2e3d4c,17,-1,x

First comes a checksum of the streams' ids, so that the offsets in other streams are not mistaken
for offsets in these. Then comes an offset for each stream: a token without leading zeros, ``-1`` or
``now`` if nothing has been read yet, and ``x`` if the end has been told.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, QueryParams

from ..formats.frames import STRETCH, Shape
from ..formats.offsets import parse_start
from ..refusals.event_sources import ERRORS_PARAMETER
from ..refusals.problems import InvalidRequestError
from ..requests.reads import check_errors
from ..requests.values import single

MOST_STREAMS = 50
"""How many streams may share one connection."""

OVER = "x"
"""The offset in a stream whose end has been told."""

_DIGITS = 20

_Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class SeveralQuery:
    """What is asked for.

    Attributes:
        ids: Workflow ids. An id may occur more than once.
        offsets: Where to begin in each of them, as the value of an ``offset`` or :data:`OVER`.
        topics: Topics asked for, in all streams; empty for all.
        resumes: Whether the offsets come from ``Last-Event-ID``.
    """

    ids: tuple[str, ...]
    offsets: tuple[str, ...]
    topics: frozenset[str]
    resumes: bool


def parse_several(query: QueryParams, headers: Headers) -> SeveralQuery:
    """Read the parameters of a request; unknown ones are ignored.

    Raises:
        InvalidRequestError: There are no streams or too many, the offsets do not fit them, or
            ``errors`` has an unknown value.
    """
    check_errors(single(query, ERRORS_PARAMETER))
    ids = tuple(query.getlist("id"))
    if not 1 <= len(ids) <= MOST_STREAMS:
        raise InvalidRequestError(f"Name 1 to {MOST_STREAMS} streams, each by a parameter id.")
    last_event = headers.get("last-event-id")
    offsets = _resumed(last_event, ids) if last_event else _begun(query.getlist("offset"), ids)
    for offset in offsets:
        if offset != OVER:
            parse_start(offset)
    return SeveralQuery(ids, offsets, frozenset(query.getlist("topic")), bool(last_event))


def _begun(offsets: list[str], ids: tuple[str, ...]) -> tuple[str, ...]:
    if len(offsets) <= 1:
        offsets = (offsets or ["-1"]) * len(ids)
    if len(offsets) != len(ids) or OVER in offsets:
        raise InvalidRequestError("Give one offset for all streams, or one for each, in order.")
    return tuple(offsets)


def _resumed(last_event: str, ids: tuple[str, ...]) -> tuple[str, ...]:
    checksum, *offsets = last_event.split(",")
    if checksum != _checksum(ids) or len(offsets) != len(ids):
        raise InvalidRequestError("Last-Event-ID is not one that was given out for these streams.")
    return tuple(offset if offset == OVER else _full(offset) for offset in offsets)


def _checksum(ids: Iterable[str]) -> str:
    return f"{zlib.crc32(json.dumps(list(ids)).encode()):08x}"


def _short(token: str) -> str:
    """Return a token without its leading zeros."""
    digits, mark, tag = token.partition("_")
    return (digits.lstrip("0") or "0") + mark + tag


def _full(offset: str) -> str:
    """Return an offset with the leading zeros of its token; the inverse of :func:`_short`."""
    digits, mark, tag = offset.partition("_")
    return (digits.zfill(_DIGITS) if digits.isdigit() else digits) + mark + tag


class StreamOffsets:
    """Where a client stands in its streams, and the events that tell it so."""

    def __init__(self, query: SeveralQuery) -> None:
        """Begin where the client asks to."""
        self._ids = query.ids
        self._checksum = _checksum(query.ids)
        self._offsets = list(query.offsets)

    def __getitem__(self, index: int) -> str:
        """Return where the client has to resume in a stream, as the value of an ``offset``."""
        return self._offsets[index]

    def __setitem__(self, index: int, offset: str) -> None:
        """Set where the client has to resume in a stream."""
        self._offsets[index] = offset

    @property
    def all_over(self) -> bool:
        """Whether the end of each stream has been told."""
        return all(offset == OVER for offset in self._offsets)

    @property
    def event_id(self) -> str:
        """All offsets, as the id of an event."""
        return ",".join([self._checksum, *map(_short, self._offsets)])

    def told(self, events: bytes, index: int, shape: Shape, *, over: bool = False) -> bytes:
        """Rewrite the events of one stream so that they name it, and move on in that stream.

        Args:
            events: The events as they would be sent to a client that reads this stream alone.
            index: Which stream it is.
            shape: How its items look.
            over: Whether the last of the events tells the end.
        """
        told: list[_Bytes] = []
        # The events may be large, so copy them only once.
        view = memoryview(events)
        at = 0
        while at < len(events):
            end = events.index(b"\n\n", at)
            if not events.startswith(b":", at):
                # An event without an id, of a stream that cannot be read yet, does not move on.
                token = self[index]
                if events.startswith(b"id: ", at):
                    token, at = _line(events, at)
                    token = token.removeprefix("id: ")
                kind, at = _line(events, at)
                self[index] = OVER if over and end + 2 == len(events) else token
                told += self._told(kind, view[at + len("data:") : end], index, token, shape)
            at = end + 2
        return b"".join(told)

    def _told(
        self, kind: str, data: memoryview, index: int, token: str, shape: Shape
    ) -> list[_Bytes]:
        """Return an event in pieces; ``data`` begins after the first "data:"."""
        opened = b"id: %b\n%b\ndata:{%b," % (
            self.event_id.encode(), kind.encode(), self._names(index),
        )  # fmt: skip
        if kind == "event: control":
            # The members of the original object follow after those that were put first.
            return [opened, data[1:], b"\n\n"]
        content = _content(data, shape)
        return [opened, b'"streamNextOffset":"%b",' % token.encode(), *content, b"}\n\n"]

    def notice(self, fields: dict[str, Any], index: int | None = None) -> bytes:
        """Return a control event that the gateway adds: about one stream, or about all."""
        data = _json(fields)
        if index is not None:
            data = b"{%s,%s" % (self._names(index), data.removeprefix(b"{"))
        return self._event(b"event: control", data)

    def _names(self, index: int) -> bytes:
        # These members come before all others, so that a client can tell which stream an event
        # belongs to without parsing it.
        return b'"index":%d,"stream":%s' % (index, json.dumps(self._ids[index]).encode())

    def _event(self, kind: bytes, data: bytes) -> bytes:
        return b"id: %b\n%b\ndata:%b\n\n" % (self.event_id.encode(), kind, data)


def _line(events: bytes, at: int) -> tuple[str, int]:
    """Return the line that begins there, and where the next one does."""
    end = events.index(b"\n", at)
    return events[at:end].decode(), end + 1


def _content(data: memoryview, shape: Shape) -> list[_Bytes]:
    """Return the data of an event as a member of an object, in pieces."""
    if shape.json:
        # An array may span several lines, and so may the object around it.
        return [b'"items":', data]
    if shape.base64_events:
        return [b'"base64":"', data, b'"']
    lines = bytes(data).removeprefix(b" ").replace(b"\ndata:  ", b"\ndata: ")
    text = lines.replace(b"\ndata:", b"\n").decode(errors="replace")
    escaped = (json.dumps(text[at : at + STRETCH])[1:-1] for at in range(0, len(text), STRETCH))
    return [b'"text":"', *(stretch.encode() for stretch in escaped), b'"']


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
