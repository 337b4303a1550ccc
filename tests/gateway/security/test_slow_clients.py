"""Clients that send nothing, or a byte now and then, do not hold their connections for ever."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from workflow_streams.gateway import connections
from workflow_streams.gateway.connections import server_options
from workflow_streams.gateway.layers.limit_settings import LimitSettings

from .layered import Layered
from .wire import connected, exchange, get, parse, serving

# Short for those that are to run into it; nothing that is to go well is that slow.
LIMITS = LimitSettings(head_seconds=0.4, max_header_bytes=2000, max_url_bytes=1000)
PATIENT = LimitSettings(head_seconds=2.0)

Options = Callable[[LimitSettings], dict[str, Any]]


@pytest.fixture(params=["h11", "httptools"])
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Options:
    """Makes the server's options, with either of uvicorn's two parsers."""
    if request.param == "h11":
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "httptools" else find(name)
        )
    parser = "H11Protocol" if request.param == "h11" else "HttpToolsProtocol"
    made = server_options(LIMITS)["http"]
    assert parser in [base.__name__ for base in made.__mro__]
    return server_options


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """Read until the server has closed or cut the connection."""
    received = b""
    while True:
        try:
            part = await reader.read(65536)
        except ConnectionResetError:
            return received
        if not part:
            return received
        received += part


@pytest.mark.parametrize(
    "sent", [b"", b"\r\n", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: x\r\nx: y\r\n"]
)
async def test_a_head_that_does_not_come_ends_the_connection(options: Options, sent: bytes) -> None:
    async with (
        serving(Layered().app, **options(LIMITS)) as port,
        connected(port) as (reader, writer),
    ):
        writer.write(sent)
        answer = await until_closed(reader)
        assert answer == b"" or parse(answer).status == 400  # h11 takes no empty line


async def test_a_head_that_comes_byte_by_byte_has_no_more_time(options: Options) -> None:
    async with (
        serving(Layered().app, **options(LIMITS)) as port,
        connected(port) as (reader, writer),
    ):
        closed = asyncio.create_task(until_closed(reader))
        for byte in b"GET / HTTP/1.1\r\nx: " + b"y" * 1000:
            if closed.done():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        assert await closed == b""


async def test_the_next_request_of_a_connection_has_the_same_time(
    options: Options,
) -> None:
    async with (
        serving(Layered().app, **options(PATIENT)) as port,
        connected(port) as (reader, writer),
    ):
        keep = get("/items/a").replace(b"connection: close", b"connection: keep-alive")
        for _ in range(3):
            writer.write(keep[:10])
            await asyncio.sleep(0.05)
            writer.write(keep[10:])
            head = await reader.readuntil(b"\r\n\r\n")
            assert parse(head).status == 200
            assert await reader.readexactly(7) == b"an item"
        writer.write(keep[:10])
        assert await until_closed(reader) == b""


async def test_requests_that_are_sent_ahead_are_answered_in_turn(options: Options) -> None:
    layered = Layered()
    keep = get("/items/a").replace(b"connection: close", b"connection: keep-alive")
    first = get("/stream").replace(b"connection: close", b"connection: keep-alive")
    async with (
        serving(layered.app, **options(PATIENT)) as port,
        connected(port) as (reader, writer),
    ):
        writer.write(first + keep * (connections.MOST_PIPELINED - 1) + get("/items/a"))
        layered.release.set()
        answers = await until_closed(reader)
    assert answers.count(b"HTTP/1.1 200") == connections.MOST_PIPELINED + 1
    assert answers.count(b"an item") == connections.MOST_PIPELINED


@pytest.mark.parametrize("body", [b"", b"content of one"], ids=["without a body", "with one"])
async def test_a_client_that_sends_many_requests_ahead_is_cut_off(body: bytes) -> None:
    layered = Layered()
    ahead = get("/items/a", method="POST" if body else "GET", body=body)
    ahead = ahead.replace(b"connection: close", b"connection: keep-alive")
    async with (
        serving(layered.app, **server_options(PATIENT)) as port,
        connected(port) as (reader, writer),
    ):
        writer.write(get("/stream").replace(b"connection: close", b"connection: keep-alive"))
        writer.write(ahead * 5000)
        # While the first one is still being answered.
        assert (await until_closed(reader)).count(b"HTTP/1.1") <= 1
        layered.release.set()


async def test_an_answer_may_take_longer_than_a_head(options: Options) -> None:
    layered = Layered()
    async with serving(layered.app, **options(LIMITS)) as port:
        asking = asyncio.create_task(exchange(port, get("/stream")))
        await asyncio.sleep(3 * LIMITS.head_seconds)
        assert not asking.done()
        layered.release.set()
        assert (await asking).body == b"firstsecond"


async def test_a_body_that_goes_on_slowly_may_take_longer_than_a_head(
    options: Options,
) -> None:
    layered = Layered()
    async with serving(layered.app, **options(LIMITS)) as port:
        raw = get("/items/a", method="PUT", body=b"x" * 12)
        async with connected(port) as (reader, writer):
            writer.write(raw[:-12])
            for _ in range(12):
                await asyncio.sleep(LIMITS.head_seconds / 4)
                writer.write(b"x")
            assert parse(await reader.read()).status == 200
    assert layered.bodies == [12]


async def test_the_rest_of_a_body_that_nobody_wants_cannot_hold_a_connection(
    options: Options,
) -> None:
    async with serving(Layered().app, **options(LIMITS)) as port:
        raw = get("/nothing", method="POST", body=b"x" * 1000)
        async with connected(port) as (reader, writer):
            writer.write(raw.replace(b"connection: close", b"connection: keep-alive")[:-900])
            assert (parse(await reader.readuntil(b"\r\n\r\n"))).status == 404
            closed = asyncio.create_task(until_closed(reader))
            for _ in range(800):
                if closed.done():
                    break
                writer.write(b"x")
                await asyncio.sleep(0.02)
            await closed


async def test_a_head_without_end_is_cut_off_at_the_limit(options: Options) -> None:
    # With all the time in the world: it is the size that ends it.
    small = LimitSettings(head_seconds=100, max_header_bytes=2000, max_url_bytes=1000)
    async with (
        serving(Layered().app, **options(small)) as port,
        connected(port) as (reader, writer),
    ):
        closed = asyncio.create_task(until_closed(reader))
        sent = 0
        writer.write(b"GET / HTTP/1.1\r\n")
        while not closed.done():
            try:
                writer.write(b"x: " + b"y" * 500 + b"\r\n")
                await writer.drain()
            except ConnectionError:
                break
            sent += 505
            assert sent < 1_000_000
            await asyncio.sleep(0.001)
        answer = await closed
        assert answer == b"" or parse(answer).status in (400, 431)


@pytest.mark.parametrize("trailer", [b"x: y\r\n" * 100, b"x" * 600, b"x: " + b"y" * 600])
async def test_trailers_without_end_are_cut_off_at_the_limit(
    options: Options, trailer: bytes
) -> None:
    small = LimitSettings(head_seconds=100, max_header_bytes=2000, max_url_bytes=1000)
    async with (
        serving(Layered().app, **options(small)) as port,
        connected(port) as (reader, writer),
    ):
        closed = asyncio.create_task(until_closed(reader))
        head = b"POST /items/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head + b"5\r\nhello\r\n0\r\n")
        sent = 0
        while not closed.done():
            try:
                writer.write(trailer)
                await writer.drain()
            except ConnectionError:
                break
            sent += len(trailer)
            assert sent < 1_000_000
            await asyncio.sleep(0.001)
        answer = await closed
        assert answer == b"" or parse(answer).status in (400, 431)


async def test_a_body_of_the_smallest_chunks_is_taken(options: Options) -> None:
    layered = Layered()
    small = LimitSettings(max_header_bytes=2000, max_url_bytes=1000)
    async with serving(layered.app, **options(small)) as port:
        head = b"POST /items/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
        chunks = b"1\r\nx\r\n" * 20_000
        trailers = b"0\r\nx-sum: 1\r\n\r\n"
        answer = await exchange(port, head + b"connection: close\r\n\r\n" + chunks + trailers)
    assert answer.status == 200
    assert layered.bodies == [20_000]


async def test_many_silent_clients_leave_room_for_one_that_asks(
    options: Options,
) -> None:
    async with serving(Layered().app, **options(LIMITS)) as port, AsyncExitStack() as open_:
        silent = [await open_.enter_async_context(connected(port)) for _ in range(200)]
        assert (await exchange(port, get("/items/a"))).status == 200
        assert [await until_closed(reader) for reader, _ in silent] == [b""] * 200
