"""Mounted in an application that plain uvicorn serves, as its users start it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from workflow_streams.embedded.ports import free_port
from workflow_streams.testing.fixtures import StreamServer

from ...parents import ROOT
from .events import Event, EventSource, data_of
from .tokens import token

Unique = Callable[[str], str]

MODULE = "tests.gateway.http.uvicorn_process"
LARGE = b"x" * 6_000_000  # more than the kernels take in

APP = """
import os
from functools import partial

from fastapi import FastAPI

from workflow_streams import connect
from workflow_streams.gateway import GatewaySettings, create_app

VERSION = 1

gateway = create_app(
    partial(connect, target_host=os.environ["SERVER"], tls=False, api_key=None),
    # Nothing live ends by itself while a test lasts.
    GatewaySettings(
        host_task_queue=os.environ["QUEUE"],
        sse_seconds=3600,
        long_poll_seconds=3600,
        write_seconds=float(os.environ.get("WRITE_SECONDS", 3600)),
        keep_alive_seconds=float(os.environ.get("WRITE_SECONDS", 3600)),
    ),
)
app = FastAPI(lifespan=lambda _: gateway.router.lifespan_context(gateway))


@app.get("/version")
def version():
    return VERSION


if "MIDDLEWARE" in os.environ:

    @app.middleware("http")
    async def marked(request, call_next):
        response = await call_next(request)
        response.headers["x-marked"] = "yes"
        return response


app.mount("/streams", gateway)
"""


class Served:
    """An application that uvicorn serves in a process of its own, or in one that reloads it."""

    def __init__(self, folder: Path, server: str, *options: str, **environ: str) -> None:
        self.file = folder / "app.py"
        self.file.write_text(APP)
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", MODULE, "app:app", "--port", str(port), *options],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "SERVER": server, **environ},
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def stream(self, name: str) -> str:
        return f"{self.url}/streams/v1/stream/{name}"

    async def answers(self, http: httpx.AsyncClient, path: str, text: str) -> None:
        """Wait until it answers this with 200."""
        while True:
            try:
                answer = await http.get(f"{self.url}{path}")
                if (answer.status_code, answer.text) == (200, text):
                    return
            except httpx.TransportError:
                pass
            assert self.process.poll() is None, self.log
            await asyncio.sleep(0.05)

    async def ready(self, http: httpx.AsyncClient) -> None:
        await self.answers(http, "/streams/readyz", '{"status":"ready"}')

    async def gone(self) -> None:
        """Wait until the process has ended."""
        await asyncio.to_thread(self.process.wait, 100)
        assert "Traceback" not in self.log

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def serve(stream_server: StreamServer, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def serve(*options: str, **environ: str) -> Served:
        environ.setdefault("QUEUE", f"queue-{uuid.uuid4().hex[:8]}")
        started.append(Served(tmp_path, stream_server.address, *options, **environ))
        return started[-1]

    yield serve
    for served in started:
        served.end()


class Live:
    """What is told to one that follows a stream by events, and to one that waits for more."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http, self._url = http, url
        self.seen: list[Any] = []

    async def events(self) -> list[Event]:
        params = {"offset": "-1", "live": "sse"}
        told: list[Event] = []
        async with self._http.stream("GET", self._url, params=params) as response:
            async for event in EventSource(response).events():
                told.append(event)
                self.seen = data_of(told)
        return told

    async def poll(self) -> httpx.Response:
        return await self._http.get(self._url, params={"offset": "now", "live": "long-poll"})


@asynccontextmanager
async def looking(
    served: Served, http: httpx.AsyncClient, name: str
) -> AsyncIterator[tuple[asyncio.Task[list[Event]], asyncio.Task[httpx.Response]]]:
    """Make a stream of three items, and have somebody follow it and somebody wait."""
    url = served.stream(name)
    assert (await http.put(url, json=[1, 2])).status_code == 201
    live = Live(http, url)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(live.events())
        while live.seen != [1, 2]:
            await asyncio.sleep(0.02)
        # One by one, not when the answer is complete.
        assert (await http.post(url, json=[3])).status_code == 204
        while live.seen != [1, 2, 3]:
            await asyncio.sleep(0.02)
        waiting = group.create_task(live.poll())
        await viewers(served, http, 2)
        yield following, waiting


async def counted(
    served: Served, http: httpx.AsyncClient, name: str, count: int, label: str = ""
) -> None:
    """Wait until a metric is so high."""
    while True:
        lines = (await http.get(f"{served.url}/streams/metrics")).text.splitlines()
        found = [line for line in lines if line.startswith(name) and label in line]
        if sum(float(line.rpartition(" ")[2]) for line in found) == count:
            return
        await asyncio.sleep(0.05)


async def viewers(served: Served, http: httpx.AsyncClient, count: int) -> None:
    """Wait until so many look on."""
    await counted(served, http, "workflow_streams_viewers{", count)


async def sent_away(
    following: asyncio.Task[list[Event]], waiting: asyncio.Task[httpx.Response]
) -> None:
    """See that both are told where to go on."""
    told, answer = await asyncio.wait_for(asyncio.gather(following, waiting), 100)
    assert data_of(told) == [1, 2, 3]
    assert told[-1].json["closing"] == "shutdown"
    assert told[-1].json["streamNextOffset"] == token(3)
    assert answer.status_code == 204
    assert answer.headers["stream-next-offset"] == token(3)


@pytest.mark.parametrize("middleware", [False, True], ids=["alone", "with middleware"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_sends_viewers_away_and_ends_the_process(
    serve: Callable[..., Served],
    http: httpx.AsyncClient,
    unique: Unique,
    middleware: bool,
    number: signal.Signals,
) -> None:
    served = serve(**({"MIDDLEWARE": "1"} if middleware else {}))
    await served.ready(http)
    assert ("x-marked" in (await http.get(f"{served.url}/version")).headers) == middleware
    async with looking(served, http, unique("stream")) as (following, waiting):
        served.process.send_signal(number)
        await sent_away(following, waiting)
    await served.gone()


async def test_a_reload_sends_viewers_away_and_the_new_process_serves_them(
    serve: Callable[..., Served], http: httpx.AsyncClient, unique: Unique
) -> None:
    served = serve("--reload")
    await served.ready(http)
    name = unique("stream")
    async with looking(served, http, name) as (following, waiting):
        served.file.write_text(APP.replace("VERSION = 1", "VERSION = 2"))
        await sent_away(following, waiting)
    await served.answers(http, "/version", "2")
    await served.ready(http)
    live = Live(http, served.stream(name))
    following = asyncio.create_task(live.events())
    await viewers(served, http, 1)
    assert (await http.post(served.stream(name), json=[4])).status_code == 204
    while live.seen != [1, 2, 3, 4]:
        await asyncio.sleep(0.02)
    served.process.send_signal(signal.SIGINT)
    assert (await following)[-1].json["closing"] == "shutdown"
    await served.gone()


async def test_a_limit_of_requests_sends_viewers_away(
    serve: Callable[..., Served], http: httpx.AsyncClient, unique: Unique
) -> None:
    """uvicorn then ends without having been told to."""
    served = serve("--limit-max-requests", "200")
    await served.ready(http)
    async with looking(served, http, unique("stream")) as (following, waiting):
        while not following.done():
            try:
                await http.get(f"{served.url}/version")
            except httpx.TransportError:
                break
        await sent_away(following, waiting)
    await served.gone()


async def test_behind_a_middleware_viewers_that_leave_are_noticed(
    serve: Callable[..., Served], http: httpx.AsyncClient, unique: Unique
) -> None:
    served = serve(MIDDLEWARE="1")
    await served.ready(http)
    async with looking(served, http, unique("stream")) as (following, waiting):
        for task, left in ((following, 1), (waiting, 0)):
            task.cancel()
            await viewers(served, http, left)
    assert "Traceback" not in served.log


@pytest.mark.parametrize("middleware", [False, True], ids=["alone", "with middleware"])
async def test_viewers_that_take_nothing_in_are_let_go(
    serve: Callable[..., Served], http: httpx.AsyncClient, unique: Unique, middleware: bool
) -> None:
    environ = {"MIDDLEWARE": "1"} if middleware else {}
    # uvicorn waits for connections that are being closed; this bounds it.
    served = serve("--timeout-graceful-shutdown", "1", WRITE_SECONDS="0.5", **environ)
    await served.ready(http)
    url = httpx.URL(served.stream(unique("stream")))
    headers = {"content-type": "text/plain"}
    assert (await http.put(url, content=LARGE, headers=headers)).status_code == 201
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect((url.host, url.port))
        slow.sendall(
            f"GET {url.path}?offset=-1&live=sse HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
        )
        left = "workflow_streams_viewers_left_total{"
        await counted(served, http, left, 1, 'reason="slow"')
        await viewers(served, http, 0)
        assert (await http.get(url)).content == LARGE
        served.process.send_signal(signal.SIGINT)
        await asyncio.to_thread(served.process.wait, 100)
