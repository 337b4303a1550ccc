"""An event stream of several streams, as the tests read it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from .events import Event, EventSource
from .serving import GatewayProcess


def number(token: str) -> int:
    """The offset in a token."""
    return int(token.partition("_")[0])


@asynccontextmanager
async def following(
    http: httpx.AsyncClient,
    gateway: GatewayProcess,
    ids: Iterable[str],
    *offsets: str,
    topics: Iterable[str] = (),
    **more: Any,
) -> AsyncIterator[EventSource]:
    params = {"id": list(ids), "offset": list(offsets), "topic": list(topics)}
    url = f"{gateway.url}/v1/streams/events"
    async with http.stream("GET", url, params=params, **more) as response:
        assert response.status_code == 200, (await response.aread()).decode()
        yield EventSource(response)


async def until(source: EventSource, seen: list[Event], done: Callable[[], bool]) -> list[Event]:
    """Read on until something is so."""
    async with asyncio.timeout(100):
        async for event in source.events():
            seen.append(event)
            if done():
                return seen
    raise AssertionError(f"the connection ended: {[event.text for event in seen]}")


async def first(source: EventSource) -> Event:
    """Read one event."""
    seen: list[Event] = []
    [event] = await until(source, seen, lambda: bool(seen))
    return event


def is_level(seen: list[Event], name: str, head: int) -> Callable[[], bool]:
    """Whether the events have come to a stream's head."""

    def level() -> bool:
        told = [e.json for e in seen if e.kind == "control" and e.json.get("stream") == name]
        return any(t.get("upToDate") and number(t["streamNextOffset"]) == head for t in told)

    return level


def items_by_stream(events: Iterable[Event]) -> dict[str, list[Any]]:
    items: dict[str, list[Any]] = defaultdict(list)
    for event in events:
        if event.kind == "data":
            told = event.json
            items[told["stream"]] += told["items"] if "items" in told else [told["text"]]
    return dict(items)


def of(events: Iterable[Event], name: str) -> list[dict[str, Any]]:
    """What control events tell of a stream beside its place."""
    return [
        {k: v for k, v in e.json.items() if k not in ("streamCursor", "runs")}
        for e in events
        if e.kind == "control" and e.json.get("stream") == name
    ]
