"""Turns items into bytes: bodies of answers, and server-sent events. Pure.

The bytes of JSON values and of other content go out as they were published. A payload that says it
is JSON but is not goes out as base64, like payloads of any other encoding.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from ...events import Gap, Rewind
from ...log.entries import MOST_TOPICS, USUAL_TOPIC
from ...log.media_types import JSON_TYPE, media_type
from ...read.walk import Slice
from .item_values import content, json_values
from .offsets import END_MARK, token_of

Topics = Collection[str] | None
"""A topic filter; None for all."""

_ANY_TYPE = "application/octet-stream"
_HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?", re.ASCII)

STRETCH = 3 * 64 * 1024
"""How many bytes are encoded at a time; a multiple of three, as base64 needs."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How a stream's items look to a client.

    Attributes:
        content_type: The content type of bodies: the one that the stream was made with, with its
            parameters.
        json: Whether it holds JSON values, so that a body is an array of them. Otherwise it holds
            bytes.
        envelopes: Whether each value is wrapped in an object with its offset, topic and time.
    """

    content_type: str
    json: bool
    envelopes: bool

    @property
    def base64_events(self) -> bool:
        """Whether events carry base64, since the content may not be text."""
        return not self.json and not media_type(self.content_type).startswith("text/")

    def pieces(self, part: Slice, topics: Topics) -> list[bytes]:
        """Return the items of a slice that pass the filter, each as its bytes."""
        if self.envelopes:
            return _envelopes(part, topics)
        chosen = [entry for entry in part.entries if topics is None or entry[0] in topics]
        if not self.json:
            return [content(kind, data) for _, kind, data in chosen]
        return [value for value, _ in json_values(chosen)]

    def joined(self, pieces: Iterable[bytes]) -> bytes:
        """Return pieces joined into one."""
        return (b"," if self.json else b"").join(pieces)

    def body(self, pieces: Iterable[bytes]) -> bytes:
        """Return the body that holds these pieces."""
        return b"[%b]" % self.joined(pieces) if self.json else self.joined(pieces)

    def event(self, pieces: Iterable[bytes], token: str) -> bytes:
        """Return the data event that holds these pieces. Its id is the token to resume at."""
        return data_event(b"".join(self.data_lines(self.body(pieces))), token)

    def data_lines(self, body: bytes) -> Iterator[bytes]:
        """Yield a body as the data lines of an event, :data:`STRETCH` bytes at a time."""
        if not self.base64_events:
            yield from _lines(body)
            return
        yield b"data:"
        for at in range(0, len(body), STRETCH):
            yield base64.b64encode(body[at : at + STRETCH])


ENVELOPES = Shape(JSON_TYPE, json=True, envelopes=True)
"""The shape of a stream that is hosted by a user's workflow."""


def passes(part: Slice, topics: Topics) -> bool:
    """Whether any item of a slice passes the filter."""
    return bool(part.entries) if topics is None else any(t in topics for t, _, _ in part.entries)


def shape_of(content_type: str) -> Shape:
    """Return the shape of a stream that was made with this content type.

    The content type becomes a header field, but may come from a history that no gateway has
    written. One that does not fit into a header field is replaced by that of arbitrary bytes.
    """
    if _HEADER_VALUE.fullmatch(content_type) is None:
        content_type = _ANY_TYPE
    return Shape(content_type, json=media_type(content_type) == JSON_TYPE, envelopes=False)


def data_event(lines: bytes, token: str) -> bytes:
    """Return the data event with these data lines. Its id is the token to resume at."""
    return b"id: %b\nevent: data\n%b\n\n" % (token.encode(), lines)


def control_event(fields: dict[str, Any], token: str) -> bytes:
    """Return a control event with these fields and the token to resume at, which is also its id.

    If the event tells the end of the stream, its id says so as well.
    """
    message = {"streamNextOffset": token, **fields}
    mark = END_MARK if "streamClosed" in fields else ""
    data = json.dumps(message, separators=(",", ":")).encode()
    return b"id: %b\nevent: control\ndata:%b\n\n" % ((token + mark).encode(), data)


KEEP_ALIVE = b": keep-alive\n\n"


def opening(retry_milliseconds: int) -> bytes:
    """Return the beginning of an event stream: how soon ``EventSource`` has to reconnect.

    No empty line follows, so that the line is part of the first event's block. From a block of its
    own, httpx-sse would make an event.
    """
    return b"retry: %d\n" % retry_milliseconds


def gap_fields(gap: Gap) -> dict[str, Any]:
    """Return a gap for control events and headers."""
    return {"start": token_of(gap.start), "end": token_of(gap.end), "reason": gap.reason}


def rewind_fields(rewind: Rewind) -> dict[str, Any]:
    """Return a rewind for control events and headers."""
    fields: dict[str, Any] = {
        "ranges": [{"start": token_of(r.start), "end": token_of(r.stop)} for r in rewind.ranges],
        "reason": rewind.reason,
        "nextOffset": token_of(rewind.next_offset),
    }
    if rewind.attempt:
        fields["attempt"] = rewind.attempt
    return fields


def _lines(data: bytes) -> Iterator[bytes]:
    """Yield ``data`` as data fields. Nothing in it can begin a field of another kind."""
    yield b"data:"
    begins_line, at = True, 0
    while at < len(data):
        stretch = data[at : at + STRETCH]
        at += len(stretch)
        if stretch.endswith(b"\r") and data.startswith(b"\n", at):
            at += 1
        text = stretch.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        # One replacement for all lines, since there may be many. A reader drops one space after the
        # colon, so a line that begins with a space gets another one.
        lines = text.replace(b"\n", b"\ndata:").replace(b"\ndata: ", b"\ndata:  ")
        yield b" " + lines if begins_line and lines.startswith(b" ") else lines
        begins_line = text.endswith(b"\n")


def _envelopes(part: Slice, topics: Topics) -> list[bytes]:
    time = _time_field(part.time)
    numbered = enumerate(part.entries, part.offset)
    chosen = [(offset, entry) for offset, entry in numbered if topics is None or entry[0] in topics]
    names = {topic: _topic(topic) for topic in {topic for _, (topic, _, _) in chosen}}
    values = json_values([entry for _, entry in chosen])
    return [
        b'{"offset":%d,"topic":%s%s,"data":%s%s}' % (offset, names[topic], time, value, more)
        for (offset, (topic, _, _)), (value, more) in zip(chosen, values, strict=True)
    ]


def _time_field(time: datetime | None) -> bytes:
    if time is None:
        return b""
    text = time.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return b',"time":"%s"' % text.encode()


def _topic(topic: str) -> bytes:
    return _usual_topic(topic) if len(topic) <= USUAL_TOPIC else json.dumps(topic).encode()


@lru_cache(maxsize=MOST_TOPICS)
def _usual_topic(topic: str) -> bytes:
    return json.dumps(topic).encode()
