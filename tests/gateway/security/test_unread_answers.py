"""Clients that do not take in what they ask for hold a connection, but not for ever, nor much."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from workflow_streams.gateway.connections import MOST_PIPELINED, server_options
from workflow_streams.gateway.layers.limit_settings import LimitSettings
from workflow_streams.gateway.layers.limits import ConnectionLimits, LimitMiddleware
from workflow_streams.gateway.layers.outgoing import AnswerMiddleware, UnreadAnswers
from workflow_streams.testing.fixtures import StreamServer

from ..http.serving import metric, running_gateway
from .layered import Layered
from .wire import Answer, exchange, get, parse

MEBIBYTE = 1024 * 1024
# More than the system takes for a client that reads nothing.
LARGE = 12 * MEBIBYTE
PATIENT = 100.0


class Answering:
    """A server of large answers, and what a test looks into."""

    def __init__(
        self, *, write_seconds: float, most_unread: int = 100 * MEBIBYTE, **limits: Any
    ) -> None:
        settings = LimitSettings(**limits)
        self.write_seconds = write_seconds
        self.settings = settings
        self.connections = ConnectionLimits(settings)
        self.unread = UnreadAnswers(most_unread)
        self.refused: list[str] = []
        self.some_calls = 0
        self.app = Starlette(
            routes=[
                Route("/large", self.large),
                Route("/parts", self.parts),
                Route("/small", self.small),
                Route("/some", self.some),
            ],
            middleware=[
                Middleware(LimitMiddleware, settings, self.connections),
                Middleware(self.noting),
                Middleware(AnswerMiddleware, write_seconds, self.unread),
            ],
        )
        self.server: uvicorn.Server

    def noting(self, app: Any) -> Any:
        async def noted(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)
            if slug := scope.get("state", {}).get("refused"):
                self.refused.append(slug)

        return noted

    async def large(self, _request: Request) -> Response:
        return Response(b"x" * LARGE)

    async def small(self, _request: Request) -> Response:
        return Response(b"small")

    async def some(self, _request: Request) -> Response:
        self.some_calls += 1
        return Response(b"x" * 65536)

    async def parts(self, _request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(LARGE // 65536):
                yield b"x" * 65536

        return StreamingResponse(parts())

    @asynccontextmanager
    async def serving(self, **options: Any) -> AsyncIterator[int]:
        told = {"log_config": None, "access_log": False, "lifespan": "off", **options}
        self.server = uvicorn.Server(uvicorn.Config(self.app, timeout_graceful_shutdown=1, **told))
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port: int = listening.getsockname()[1]
            task = asyncio.create_task(self.server.serve(sockets=[listening]))
            await until(lambda: self.server.started)
            try:
                yield port
            finally:
                self.server.should_exit = True
                await task

    def options(self, kind: str) -> dict[str, Any]:
        """Options of plain uvicorn with one of its two parsers, or those of the gateway's own."""
        own = server_options(self.settings, self.write_seconds)
        return own if kind == "own" else {"http": kind}


async def until(met: Callable[[], bool]) -> None:
    while not met():
        await asyncio.sleep(0.005)


class Client:
    """A client that reads only what it is told to."""

    def __init__(self, port: int, path: str, *, stays: bool = False) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        self.socket.connect(("127.0.0.1", port))
        self.socket.setblocking(False)
        self.socket.send(staying(path) if stays else get(path))

    async def read(self, most: int = LARGE * 2) -> bytes:
        """Read so much, or to the end, or until the connection is reset."""
        loop = asyncio.get_running_loop()
        received = b""
        with suppress(ConnectionResetError):
            while (wanted := min(65536, most - len(received))) and (
                part := await loop.sock_recv(self.socket, wanted)
            ):
                received += part
        return received

    async def answer(self) -> Answer:
        return parse(await self.read())


def staying(path: str) -> bytes:
    """A request of one who asks for more on the same connection."""
    return get(path).replace(b"connection: close\r\n", b"")


KINDS = ["h11", "httptools", "own"]


@pytest.fixture
def client() -> Any:
    made: list[Client] = []

    def make(port: int, path: str = "/large", **how: bool) -> Client:
        made.append(Client(port, path, **how))
        return made[-1]

    yield make
    for one in made:
        one.socket.close()


Make = Callable[..., Client]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_counts_as_a_connection_until_it_has_been_taken_in(
    kind: str, client: Make
) -> None:
    gate = Answering(write_seconds=PATIENT, max_connections_per_client=3)
    async with gate.serving(**gate.options(kind)) as port:
        idle = [client(port), client(port, "/parts"), client(port)]
        await until(lambda: gate.connections.open == 3)
        assert (await exchange(port, get("/small"))).status == 429
        # It is given to the client whole, as long as that goes on.
        answer = await idle[0].answer()
        assert (answer.status, len(answer.body)) == (200, LARGE)
        await until(lambda: gate.connections.open == 2)
        assert (await exchange(port, get("/small"))).body == b"small"
        # One that leaves makes room as well.
        idle[1].socket.close()
        await until(lambda: gate.connections.open == 1)
        assert len((await idle[2].answer()).body) == LARGE
        await until(lambda: gate.connections.open == 0)
    assert (gate.unread.held, gate.refused) == (0, [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", ["/large", "/parts"])
async def test_a_client_that_takes_nothing_in_is_let_go(
    kind: str, path: str, client: Make, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Answering(write_seconds=0.3)
    async with gate.serving(**gate.options(kind)) as port:
        idle = client(port, path)
        await until(lambda: gate.refused == ["slow-client"])
        assert (gate.connections.open, gate.unread.held) == (0, 0)
        if kind == "own":
            # Also of what was left for it, though it is still there, and silent.
            await until(lambda: not gate.server.server_state.connections)
            assert not caplog.records
        assert len(await idle.read()) < LARGE


async def test_a_client_that_reads_a_little_now_and_then_is_let_go(client: Make) -> None:
    gate = Answering(write_seconds=0.5)
    async with gate.serving(**gate.options("own")) as port:
        slow = client(port)

        async def trickle() -> int:
            taken = 0
            while part := await slow.read(100):
                taken += len(part)
                await asyncio.sleep(0.02)
            return taken

        trickling = asyncio.create_task(trickle())
        await until(lambda: gate.refused == ["slow-client"])
        await until(lambda: not gate.server.server_state.connections)
        trickling.cancel()
        await asyncio.wait({trickling})


async def test_the_client_that_has_been_waited_for_longest_gives_way(client: Make) -> None:
    gate = Answering(write_seconds=PATIENT, most_unread=2 * LARGE)
    async with gate.serving(**gate.options("own")) as port:
        clients: list[Client] = []
        for count in range(1, 6):
            clients.append(client(port))
            await until(lambda count=count: len(gate.refused) == max(0, count - 2))  # type: ignore[misc]
            await until(lambda count=count: gate.unread.held == min(count, 2) * LARGE)  # type: ignore[misc]
        whole = [len(await one.read()) > LARGE for one in clients]
        assert whole == [False, False, False, True, True]
    assert gate.refused == ["slow-client"] * 3


async def test_an_answer_that_is_larger_than_the_room_is_given_alone(client: Make) -> None:
    gate = Answering(write_seconds=PATIENT, most_unread=LARGE - 1)
    async with gate.serving(**gate.options("own")) as port:
        assert len((await client(port).answer()).body) == LARGE
        first, second = client(port), client(port)
        await until(lambda: gate.refused == ["slow-client"])
        whole = [len(await one.read()) > LARGE for one in (first, second)]
        assert sorted(whole) == [False, True]


async def test_many_answers_on_one_connection_are_one_connection(client: Make) -> None:
    """Small ones, asked for one after the other, of which none is read."""
    gate = Answering(write_seconds=0.3)
    async with gate.serving(**gate.options("own")) as port:
        greedy = client(port, "/some", stays=True)
        sent = 1
        while not gate.refused:
            # A client that is further ahead is cut off for that.
            if sent < 400 and sent - gate.some_calls < MOST_PIPELINED // 2:
                await asyncio.get_running_loop().sock_sendall(greedy.socket, staying("/some"))
                sent += 1
            await asyncio.sleep(0.001)
        assert gate.refused == ["slow-client"]
        assert 1 < gate.some_calls < 400
        await until(lambda: not gate.server.server_state.connections)
        assert gate.connections.open == 0


async def test_what_needs_no_waiting_is_one_message() -> None:
    """Most answers are small, and go as they are made."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    layered = Layered()
    app = AnswerMiddleware(layered.app, PATIENT, UnreadAnswers(1))
    scope = {"type": "http", "method": "GET", "path": "/html", "headers": [], "query_string": b""}
    await app(scope, receive, send)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_pages_of_a_stream_that_nobody_reads_are_bounded(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Callable[[str], str], client: Make
) -> None:
    with running_gateway(
        stream_server.address,
        limits={"max_connections_per_client": 3},
        write_seconds=2.0,
        page_bytes=LARGE,
    ) as gateway:
        name = unique("large")
        headers = {"content-type": "application/octet-stream"}
        assert (await http.put(gateway.stream(name), headers=headers)).status_code == 201
        for _ in range(LARGE // (4 * MEBIBYTE)):
            content = b"x" * 4 * MEBIBYTE
            sent = await http.post(gateway.stream(name), headers=headers, content=content)
            assert sent.status_code == 204
        url = f"/v1/stream/{name}?offset=-1"
        idle = [client(gateway.port, url) for _ in range(3)]
        # They are counted as long as nobody takes their answers in, and that is not long.
        connections = "workflow_streams_http_connections"
        while await metric(http, gateway, connections) < 4:
            await asyncio.sleep(0.01)
        assert (await http.get(gateway.stream(name))).status_code == 429
        while (
            await metric(http, gateway, 'workflow_streams_requests_refused_total{reason="slow-c')
            < 3
        ):
            await asyncio.sleep(0.01)
        assert (await http.head(gateway.stream(name))).status_code == 200
        assert [len(await one.read()) < LARGE for one in idle] == [True] * 3
        assert "Traceback" not in gateway.log
