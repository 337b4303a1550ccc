"""An event stream, read as the specification says (WHATWG HTML, 9.2.6)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass
class Event:
    kind: str
    text: str
    id: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def parse_events(data: bytes) -> list[Event]:
    """Parse a whole stream of complete events; comments and unknown fields are left out."""
    text = data.decode().replace("\r\n", "\n").replace("\r", "\n")
    assert text.endswith("\n\n")
    events: list[Event] = []
    last_id = ""
    for block in text[:-2].split("\n\n"):
        kind, lines = "message", []
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                lines.append(value)
            elif name == "id":
                last_id = value
        if lines:
            events.append(Event(kind, "\n".join(lines), last_id))
    return events


class EventSource:
    """Follows an event stream as a browser does, but does not reconnect by itself."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.raw = b""
        self.last_id = ""

    async def events(self) -> AsyncIterator[Event]:
        buffer = b""
        async for chunk in self.response.aiter_raw():
            self.raw += chunk
            buffer += chunk
            whole, end, buffer = buffer.rpartition(b"\n\n")
            for event in parse_events(whole + end) if end else []:
                self.last_id = event.id
                yield event

    async def until(self, *fields: str) -> list[Event]:
        """Read up to the first control event that has one of these fields; then stop."""
        seen: list[Event] = []
        async for event in self.events():
            seen.append(event)
            if event.kind == "control" and any(name in event.json for name in fields):
                return seen
        raise AssertionError(f"the stream ended without {fields}: {seen}")

    async def rest(self) -> list[Event]:
        return [event async for event in self.events()]


def data_of(events: list[Event]) -> list[Any]:
    """Return all values in the data events of a JSON stream."""
    return [value for event in events if event.kind == "data" for value in event.json]
