"""What is large is rendered bit by bit, once for all who ask for it, and held within a bound."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from temporalio.client import Client

from workflow_streams.gateway import GatewaySettings, LimitSettings, create_app
from workflow_streams.gateway.following.event_ids import StreamOffsets
from workflow_streams.gateway.formats.frames import Shape
from workflow_streams.gateway.layers import outgoing
from workflow_streams.read.walk import Slice
from workflow_streams.testing.fixtures import StreamServer

from ..security.test_unread_answers import Client as Idle
from ..security.wire import serving
from .events import Event
from .serving import metric, running_gateway
from .test_events import follow

Unique = Callable[[str], str]
MEBIBYTE = 1024 * 1024
BYTES = {"content-type": "application/octet-stream"}
PATIENT = 1000.0
MANY = 20_000


@asynccontextmanager
async def gateway_here(
    client: Client, unique: Unique, **settings: Any
) -> AsyncIterator[tuple[Starlette, int]]:
    """Serve a gateway in this process; yield it and its port."""
    app = create_app(client, GatewaySettings(host_task_queue=unique("queue"), **settings))
    async with serving(app, lifespan="on") as port:
        yield app, port


async def until(met: Callable[[], bool]) -> None:
    while not met():
        await asyncio.sleep(0.01)


@pytest.fixture
def idle() -> Iterator[Callable[[int, str], Idle]]:
    """Makes clients that read nothing unless they are told to."""
    made: list[Idle] = []

    def make(port: int, path: str) -> Idle:
        made.append(Idle(port, path, stays=True))
        return made[-1]

    yield make
    for one in made:
        one.socket.close()


@pytest.mark.parametrize("live", [False, True], ids=["answer", "events"])
async def test_other_requests_go_on_while_many_items_are_rendered_once_for_all(
    client: Client,
    http: httpx.AsyncClient,
    unique: Unique,
    monkeypatch: pytest.MonkeyPatch,
    live: bool,
) -> None:
    ticks = 0
    rendered: list[tuple[int, int]] = []
    pieces = Shape.pieces

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    def noting(shape: Shape, part: Slice, topics: Collection[str] | None) -> list[bytes]:
        rendered.append((ticks, len(part.entries)))
        return pieces(shape, part, topics)

    monkeypatch.setattr(Shape, "pieces", noting)
    values = list(range(MANY))
    async with gateway_here(client, unique) as (_, port):
        url = f"http://127.0.0.1:{port}/v1/stream/{unique('stream')}"
        await http.put(url, headers={"content-type": "application/json"})
        # It keeps the items in memory, so that all get the same.
        async with follow(http, url, "now") as source:
            events = source.events()
            assert (await anext(events)).json["upToDate"]
            assert (await http.post(url, json=values)).status_code == 204
            assert (await anext(events)).json == values
            assert sum(count for _, count in rendered) == MANY
            rendered.clear()
            if live:
                # What all viewers were to get has been rendered for the first of them.
                async with AsyncExitStack() as viewers:
                    for _ in range(5):
                        one = await viewers.enter_async_context(follow(http, url, "-1"))
                        assert (await one.until("upToDate"))[0].json == values
                assert rendered == []
                return
            # Another filter, for which nothing has been rendered yet.
            ticking = asyncio.create_task(tick())
            params = {"topic": ["default", "other"]}
            answers = await asyncio.gather(*(http.get(url, params=params) for _ in range(5)))
            ticking.cancel()
            assert [answer.json() for answer in answers] == [values] * 5
    assert sum(count for _, count in rendered) == MANY
    assert max(count for _, count in rendered) <= 500
    times = [at for at, _ in rendered]
    assert len(set(times)) == len(times)


async def test_event_streams_that_nobody_reads_are_bounded_together(
    stream_server: StreamServer,
    http: httpx.AsyncClient,
    unique: Unique,
    idle: Callable[[int, str], Idle],
) -> None:
    limits = {"max_unread_bytes": 30 * MEBIBYTE}
    with running_gateway(stream_server.address, limits=limits, write_seconds=PATIENT) as gateway:
        name = unique("large")
        await http.put(gateway.stream(name), headers=BYTES)
        content = b"x" * 9 * MEBIBYTE
        sent = await http.post(gateway.stream(name), headers=BYTES, content=content)
        assert sent.status_code == 204
        clients = [idle(gateway.port, f"/v1/stream/{name}?offset=-1&live=sse") for _ in range(6)]
        # Twelve MiB in base64 each: two of them have room.
        slow = 'workflow_streams_viewers_left_total{mode="sse",reason="slow"}'
        while await metric(http, gateway, slow) < 4:
            await asyncio.sleep(0.01)
        whole = 0
        for one in clients:
            if await metric(http, gateway, 'workflow_streams_viewers{mode="sse"}') > 0:
                whole += b"upToDate" in await read_until(one, b"upToDate")
        assert whole == 2
        assert await metric(http, gateway, slow) == 4


async def read_until(client: Idle, end: bytes) -> bytes:
    """Read until something comes, or the connection ends."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while end not in received[-MEBIBYTE:] and (part := await some(client)):
            received += part
    return bytes(received)


async def some(client: Idle) -> bytes:
    """Read what has come, or wait for it; nothing if the connection has ended."""
    return await asyncio.get_running_loop().sock_recv(client.socket, 65536)


async def test_viewers_who_get_the_same_event_hold_it_once(
    client: Client, http: httpx.AsyncClient, unique: Unique, idle: Callable[[int, str], Idle]
) -> None:
    limits = LimitSettings(max_unread_bytes=30 * MEBIBYTE)
    async with gateway_here(client, unique, limits=limits, write_seconds=PATIENT) as (app, port):
        name = unique("shared")
        url = f"http://127.0.0.1:{port}/v1/stream/{name}"
        await http.put(url, headers=BYTES)
        clients = [idle(port, f"/v1/stream/{name}?offset=now&live=sse") for _ in range(10)]
        for one in clients:
            await read_until(one, b"upToDate")
        sent = await http.post(url, headers=BYTES, content=b"x" * 9 * MEBIBYTE)
        assert sent.status_code == 204
        unread = app.state.gateway.unread
        await until(lambda: unread.held > 0)
        for one in clients:
            assert b"upToDate" in await read_until(one, b"upToDate")
        await until(lambda: unread.held == 0)


async def test_one_connection_of_several_streams_holds_one_rendered_event(
    client: Client,
    http: httpx.AsyncClient,
    unique: Unique,
    idle: Callable[[int, str], Idle],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[int] = []
    tell = StreamOffsets.told

    def noting(offsets: StreamOffsets, events: bytes, *how: Any, **more: Any) -> bytes:
        told.append(len(events))
        return tell(offsets, events, *how, **more)

    monkeypatch.setattr(StreamOffsets, "told", noting)
    size = 4 * MEBIBYTE
    async with gateway_here(client, unique, write_seconds=PATIENT) as (app, port):
        names = [unique("large") for _ in range(4)]
        for name in names:
            url = f"http://127.0.0.1:{port}/v1/stream/{name}"
            await http.put(url, headers=BYTES)
            assert (await http.post(url, headers=BYTES, content=b"x" * size)).status_code == 204
        # One of them is there twice.
        ids = [*names, names[0]]
        query = "&".join(f"id={name}" for name in ids)
        one = idle(port, f"/v1/streams/events?{query}")
        unread = app.state.gateway.unread
        # What waits for its turn counts as well: the base64 of the items.
        await until(lambda: unread.held > 2 * size)
        await until(lambda: any(events > size for events in told))
        viewers = app.state.metrics.registry.get_sample_value
        # Four read what is there at once, and two of them may be those of one stream.
        while viewers("workflow_streams_readers") < len(names) - 1:
            await asyncio.sleep(0.01)
        assert len([events for events in told if events > size]) == 1
        received = b""
        while received.count(b"upToDate") < len(ids):
            part = await some(one)
            assert part
            received += part
        assert len([events for events in told if events > size]) == len(ids)
        await until(lambda: unread.held == 0)


async def test_what_waits_to_be_told_of_several_streams_counts_as_unread(
    client: Client, http: httpx.AsyncClient, unique: Unique, idle: Callable[[int, str], Idle]
) -> None:
    """One slow client with many large streams is let go, though it holds one event only."""
    # Less than one event and what waits behind it. How many more are read is a matter of time.
    limits = LimitSettings(max_unread_bytes=8 * MEBIBYTE)
    async with gateway_here(client, unique, limits=limits, write_seconds=PATIENT) as (app, port):
        names = [unique("large") for _ in range(5)]
        for name in names:
            url = f"http://127.0.0.1:{port}/v1/stream/{name}"
            await http.put(url, headers=BYTES)
            content = b"x" * 4 * MEBIBYTE
            assert (await http.post(url, headers=BYTES, content=content)).status_code == 204
        idle(port, "/v1/streams/events?" + "&".join(f"id={name}" for name in names))
        left = app.state.metrics.left.labels("sse", "slow")
        await until(lambda: left._value.get() == 1)
        await until(lambda: app.state.gateway.unread.held == 0)


async def test_events_are_written_in_pieces(
    client: Client, http: httpx.AsyncClient, unique: Unique
) -> None:
    """Sixteen thousand lines make an event several times as large as the item."""
    sizes: list[int] = []
    app = create_app(client, GatewaySettings(host_task_queue=unique("queue")))

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            sizes.append(len(message.get("body", b"")))
            await send(message)

        await app(scope, receive, noted)

    text = "\n" * MEBIBYTE
    async with serving(noting, lifespan="on") as port:
        url = f"http://127.0.0.1:{port}/v1/stream/{unique('text')}"
        await http.put(url, headers={"content-type": "text/plain"}, content=text)
        async with follow(http, url) as source:
            story: list[Event] = await source.until("upToDate")
        assert story[0].text == text
        # In an event of several streams it is a text in JSON.
        params = {"id": url.rpartition("/")[2]}
        several = url.replace("/stream/" + params["id"], "/streams/events")
        async with http.stream("GET", several, params=params) as answer:
            received = b""
            async for part in answer.aiter_raw():
                received += part
                if b"upToDate" in part:
                    break
        [data] = [b for b in received.split(b"\n\n") if b"event: data" in b]
        assert json.loads(data.partition(b"\ndata:")[2])["text"] == text
    assert max(sizes) <= outgoing.PIECE_BYTES
