"""What many viewers of a stream have in common is done once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from types import SimpleNamespace

import httpx
import pytest
from temporalio.client import Client

from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.gateway.following import event_writer
from workflow_streams.gateway.formats.frames import Shape

from ..security.wire import serving
from .events import Event
from .test_events import follow

VIEWERS = 50
ITEMS = 20


async def next_of(kind: str, viewers: list[AsyncIterator[Event]]) -> list[Event]:
    """Return the next event of a kind of each viewer, once all of them have got theirs."""

    async def of_one(events: AsyncIterator[Event]) -> Event:
        async for event in events:
            if event.kind == kind:
                return event
        raise AssertionError("the stream ended")

    return await asyncio.gather(*map(of_one, viewers))


async def test_an_event_is_read_once_and_encoded_once_for_all_viewers(
    client: Client,
    http: httpx.AsyncClient,
    unique: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded: list[bytes] = []
    encode = Shape.data_lines

    def counting(shape: Shape, body: bytes) -> Iterator[bytes]:
        encoded.append(body)
        return encode(shape, body)

    monkeypatch.setattr(Shape, "data_lines", counting)
    # Every 20 seconds events get another cursor, and are encoded anew for it.
    monkeypatch.setattr(event_writer, "time", SimpleNamespace(time=lambda: 1_800_000_000.0))
    app = create_app(client, GatewaySettings(host_task_queue=unique("queue")))
    value = app.state.metrics.registry.get_sample_value
    async with serving(app, lifespan="on") as port, AsyncExitStack() as viewers:
        url = f"http://127.0.0.1:{port}/v1/stream/{unique('stream')}"
        await http.put(url, json=["first"])
        sources = [
            await viewers.enter_async_context(follow(http, url, "now")) for _ in range(VIEWERS)
        ]
        events = [source.events() for source in sources]
        assert all(event.json["upToDate"] for event in await next_of("control", events))
        for number in range(ITEMS):
            assert (await http.post(url, json=[number])).status_code == 204
            got = await next_of("data", events)
            assert [event.json for event in got] == [[number]] * VIEWERS
            assert len({(event.id, event.text) for event in got}) == 1
            assert value("workflow_streams_readers") == 1
        assert encoded == [b"[%d]" % number for number in range(ITEMS)]
        # Who comes late has no reader of its own, either; what it missed is one event more.
        async with follow(http, url, "-1") as late:
            story = await late.until("upToDate")
            assert [event.json for event in story if event.kind == "data"] == [
                ["first", *range(ITEMS)]
            ]
            assert value("workflow_streams_readers") == 1
        assert len(encoded) == ITEMS + 1
        for one in events:
            await one.aclose()
