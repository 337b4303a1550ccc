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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers, QueryParams

from ..frames import Shape
from ..offsets import parse_place
from ..problems import InvalidRequestError

MOST_STREAMS = 50
"""So many streams share one connection at most."""

OVER = "x"
"""The place in a stream whose end has been told."""

_DIGITS = 20


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
        blocks = [b for b in events.split(b"\n\n") if b and not b.startswith(b":")]
        told: list[bytes] = []
        for block in blocks:
            *id_line, kind, data = block.split(b"\n", 1 + block.startswith(b"id: "))
            lines = data.split(b"\n")
            # Without an id, a stream that cannot be read yet leaves its place as it is.
            token = id_line[0].removeprefix(b"id: ").decode() if id_line else self[index]
            self[index] = OVER if over and block is blocks[-1] else token
            names = self._names(index)
            if kind == b"event: control":
                # The object goes on after what it begins with here.
                lines = [b"data:{%s,%s" % (names, lines[0].removeprefix(b"data:{"))]
            else:
                next_offset = b'"streamNextOffset":"%s"' % token.encode()
                lines = _data(lines, b"%s,%s" % (names, next_offset), shape)
            told.append(self._event(kind, lines))
        return b"".join(told)

    def notice(self, fields: dict[str, Any], index: int | None = None) -> bytes:
        """Return a control event of the gateway's own: about one stream, or about all."""
        data = _json(fields)
        if index is not None:
            data = b"{%s,%s" % (self._names(index), data.removeprefix(b"{"))
        return self._event(b"event: control", [b"data:" + data])

    def _names(self, index: int) -> bytes:
        # Members of an object that go before all others, so that a client finds out whose an
        # event is without parsing it.
        return b'"index":%d,"stream":%s' % (index, json.dumps(self._ids[index]).encode())

    def _event(self, kind: bytes, lines: Sequence[bytes]) -> bytes:
        return b"id: %s\n%s\n%s\n\n" % (self.event_id.encode(), kind, b"\n".join(lines))


def _data(lines: list[bytes], names: bytes, shape: Shape) -> list[bytes]:
    """Return the data of an event as the lines of an object."""
    if shape.json:
        # An array may go over several lines; so may the object around it.
        first = b'data:{%s,"items":%s' % (names, lines[0].removeprefix(b"data:"))
        whole = [first, *lines[1:]]
        return [*whole[:-1], whole[-1] + b"}"]
    key = "base64" if shape.base64_events else "text"
    content = b"\n".join(line.removeprefix(b"data:").removeprefix(b" ") for line in lines)
    value = _json({key: content.decode(errors="replace")})
    return [b"data:{%s,%s" % (names, value.removeprefix(b"{"))]


def _json(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
