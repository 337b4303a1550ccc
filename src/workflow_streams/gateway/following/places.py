"""Several streams in one event stream: what a request names, and where each of them stands. Pure.

An event stream has one id at a time, which a client sends back when it resumes. Here it holds the
place in each stream, in the order of the request::

    1f2e3d4c,17,-1,x

First a checksum of the streams' ids, so that the places of others are not taken for theirs; then
a place each: a token without its leading zeros, ``-1`` or ``now`` where nothing has been read yet,
and ``x`` where the end has been told.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, QueryParams

from ..formats.frames import STRETCH, Shape
from ..formats.offsets import parse_place
from ..refusals.problems import InvalidRequestError

MOST_STREAMS = 50
"""So many streams share one connection at most."""

OVER = "x"
"""The place in a stream whose end has been told."""

_DIGITS = 20

_Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class SeveralQuery:
    """What is asked for.

    Attributes:
        ids: Workflow ids. One may be there more than once.
        places: Where to begin in each of them, as the text of an ``offset`` or :data:`OVER`.
        topics: Topics asked for, of all streams; empty for all.
        resumes: Whether the places come from ``Last-Event-ID``.
    """

    ids: tuple[str, ...]
    places: tuple[str, ...]
    topics: frozenset[str]
    resumes: bool


def parse_several(query: QueryParams, headers: Headers) -> SeveralQuery:
    """Read the parameters of a request; unknown ones are ignored.

    Raises:
        InvalidRequestError: There are too many streams or none, or the places do not fit them.
    """
    ids = tuple(query.getlist("id"))
    if not 1 <= len(ids) <= MOST_STREAMS:
        raise InvalidRequestError(f"Name 1 to {MOST_STREAMS} streams, each by a parameter id.")
    last_event = headers.get("last-event-id")
    places = _resumed(last_event, ids) if last_event else _begun(query.getlist("offset"), ids)
    for place in places:
        if place != OVER:
            parse_place(place)
    return SeveralQuery(ids, places, frozenset(query.getlist("topic")), bool(last_event))


def _begun(offsets: list[str], ids: tuple[str, ...]) -> tuple[str, ...]:
    if len(offsets) <= 1:
        offsets = (offsets or ["-1"]) * len(ids)
    if len(offsets) != len(ids) or OVER in offsets:
        raise InvalidRequestError("Give one offset for all streams, or one for each, in order.")
    return tuple(offsets)


def _resumed(last_event: str, ids: tuple[str, ...]) -> tuple[str, ...]:
    checksum, *places = last_event.split(",")
    if checksum != _checksum(ids) or len(places) != len(ids):
        raise InvalidRequestError("Last-Event-ID is not one that was given out for these streams.")
    return tuple(place if place == OVER else _full(place) for place in places)


def _checksum(ids: Iterable[str]) -> str:
    return f"{zlib.crc32(json.dumps(list(ids)).encode()):08x}"


def _short(token: str) -> str:
    """Return a token without its leading zeros."""
    digits, mark, tag = token.partition("_")
    return (digits.lstrip("0") or "0") + mark + tag


def _full(place: str) -> str:
    """Invert :func:`_short`."""
    digits, mark, tag = place.partition("_")
    return (digits.zfill(_DIGITS) if digits.isdigit() else digits) + mark + tag


class Places:
    """Where a client stands in its streams, and what tells it so."""

    def __init__(self, query: SeveralQuery) -> None:
        """Begin where the client asks to."""
        self._ids = query.ids
        self._checksum = _checksum(query.ids)
        self._places = list(query.places)

    def __getitem__(self, index: int) -> str:
        """Return where the client is to go on in a stream, as the text of an ``offset``."""
        return self._places[index]

    def __setitem__(self, index: int, place: str) -> None:
        """Note where the client is to go on in a stream."""
        self._places[index] = place

    @property
    def all_over(self) -> bool:
        """Whether the end of each stream has been told."""
        return all(place == OVER for place in self._places)

    @property
    def event_id(self) -> str:
        """All places, as the id of an event."""
        return ",".join([self._checksum, *map(_short, self._places)])

    def told(self, events: bytes, index: int, shape: Shape, *, over: bool = False) -> bytes:
        """Return the events of one stream as events that name it, and move on in it.

        Args:
            events: As they are for those who read this stream alone.
            index: Which stream it is.
            shape: How its items look.
            over: Whether the last of the events tells the end.
        """
        told: list[_Bytes] = []
        # They may be large, and are copied once only.
        view = memoryview(events)
        at = 0
        while at < len(events):
            end = events.index(b"\n\n", at)
            if not events.startswith(b":", at):
                # Without an id, a stream that cannot be read yet leaves its place as it is.
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
        """Return an event in pieces; ``data`` begins after the name of its first line."""
        opened = b"id: %b\n%b\ndata:{%b," % (
            self.event_id.encode(), kind.encode(), self._names(index),
        )  # fmt: skip
        if kind == "event: control":
            # The object goes on after what it begins with here.
            return [opened, data[1:], b"\n\n"]
        content = _content(data, shape)
        return [opened, b'"streamNextOffset":"%b",' % token.encode(), *content, b"}\n\n"]

    def notice(self, fields: dict[str, Any], index: int | None = None) -> bytes:
        """Return a control event of the gateway's own: about one stream, or about all."""
        data = _json(fields)
        if index is not None:
            data = b"{%s,%s" % (self._names(index), data.removeprefix(b"{"))
        return self._event(b"event: control", data)

    def _names(self, index: int) -> bytes:
        # Members of an object that go before all others, so that a client finds out whose an
        # event is without parsing it.
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
        # An array may go over several lines; so may the object around it.
        return [b'"items":', data]
    if shape.base64_events:
        return [b'"base64":"', data, b'"']
    lines = bytes(data).removeprefix(b" ").replace(b"\ndata:  ", b"\ndata: ")
    text = lines.replace(b"\ndata:", b"\n").decode(errors="replace")
    escaped = (json.dumps(text[at : at + STRETCH])[1:-1] for at in range(0, len(text), STRETCH))
    return [b'"text":"', *(stretch.encode() for stretch in escaped), b'"']


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
