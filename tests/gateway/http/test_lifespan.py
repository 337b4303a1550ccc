"""The life of a gateway application: begun again, begun twice, not begun, and told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from temporalio.client import Client

from workflow_streams.embedded.ports import free_port
from workflow_streams.errors import UsageError
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.testing.fixtures import StreamServer

from .events import EventSource, data_of, parse_events

Unique = Callable[[str], str]


@pytest.mark.parametrize("connected", [True, False], ids=["client", "function"])
def test_an_application_is_begun_again_on_another_event_loop(
    stream_server: StreamServer, stream_client: Client, unique: Unique, connected: bool
) -> None:
    settings = GatewaySettings(host_task_queue=unique("queue"), long_poll_seconds=0.5)
    app = create_app(stream_client if connected else stream_server.connect, settings)
    for _ in range(3):
        url = f"/v1/stream/{unique('stream')}"
        with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 1234)) as http:
            while http.get("/readyz").status_code != 200:
                pass
            assert http.put(url, json=[1, 2]).status_code == 201
            waited = http.get(url, params={"offset": "now", "live": "long-poll"})
            assert waited.status_code == 204
            assert http.post(url, json=[3], headers={"stream-closed": "true"}).status_code == 204
            told = http.get(url, params={"offset": "-1", "live": "sse"})
            events = parse_events(told.content.replace(b"retry: 500\n\n", b""))
            assert data_of(events) == [1, 2, 3]
            assert events[-1].json["streamClosed"] is True
            assert not any("closing" in e.json for e in events if e.kind == "control")
        assert app.state.gateway.is_leaving


async def test_an_application_that_runs_is_not_begun_a_second_time(
    client: Client, unique: Unique
) -> None:
    app = create_app(client, GatewaySettings(host_task_queue=unique("queue")))
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        with pytest.raises(UsageError, match="running already; make another one by create_app"):
            async with app.router.lifespan_context(app):
                raise AssertionError("begun twice")
        # The first one goes on as it was.
        url = f"/v1/stream/{unique('stream')}"
        assert (await http.put(url, json=[1])).status_code == 201
        assert (await http.get(url)).json() == [1]


async def test_mounted_in_one_that_does_not_run_its_lifespan_it_says_so(
    client: Client, unique: Unique
) -> None:
    name = unique("stream")
    app = Starlette(routes=[Mount("/gate", create_app(client))])
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/gate") as http,
    ):
        for method, path in (
            *((m, f"/v1/stream/{name}") for m in ("GET", "HEAD", "PUT", "DELETE")),
            ("GET", f"/v1/stream/{name}?offset=now&live=sse"),
            ("GET", "/v1/streams"),
        ):
            answer = await http.request(method, path)
            assert answer.status_code == 503, (method, path)
            if method != "HEAD":
                assert answer.json()["detail"] == (
                    "The gateway is not running. An application in which it is mounted has to run "
                    "its lifespan: gateway.router.lifespan_context(gateway)."
                )
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.get("/metrics")).status_code == 200


async def leaves(app: Starlette) -> None:
    while not app.state.gateway.is_leaving:
        await asyncio.sleep(0.01)


async def test_signals_reach_the_application_s_own_handlers_as_well_and_are_given_back(
    client: Client, unique: Unique
) -> None:
    """Some servers take signals by the event loop, others by the signal module."""
    app = create_app(client, GatewaySettings(host_worker=False))
    seen: list[str] = []

    def own(_number: int, _frame: object) -> None:
        seen.append("own")

    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGINT, own)
    loop.add_signal_handler(signal.SIGTERM, seen.append, "of the loop")
    try:
        of_the_loop = signal.getsignal(signal.SIGTERM)
        for number, told in ((signal.SIGINT, "own"), (signal.SIGTERM, "of the loop")):
            async with app.router.lifespan_context(app):
                while signal.getsignal(signal.SIGTERM) is of_the_loop:
                    await asyncio.sleep(0.01)
                assert not app.state.gateway.is_leaving
                for times in (1, 2):
                    os.kill(os.getpid(), number)
                    await leaves(app)
                    while seen != [told] * times:
                        await asyncio.sleep(0.01)
            assert signal.getsignal(signal.SIGINT) is own
            assert signal.getsignal(signal.SIGTERM) is of_the_loop
            seen.clear()
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGINT, before)


async def test_a_handler_that_came_later_is_left_where_it_is(client: Client) -> None:
    app = create_app(client, GatewaySettings(host_worker=False))
    seen: list[str] = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append("own"))
    try:
        async with app.router.lifespan_context(app):
            own = signal.getsignal(signal.SIGINT)
            while (gateways := signal.getsignal(signal.SIGINT)) is own:
                await asyncio.sleep(0.01)
            assert callable(gateways)

            def later(number: int, frame: object) -> None:
                seen.append("later")
                gateways(number, frame)

            signal.signal(signal.SIGINT, later)
            os.kill(os.getpid(), signal.SIGINT)
            await leaves(app)
        assert signal.getsignal(signal.SIGINT) is later
        os.kill(os.getpid(), signal.SIGINT)
        assert seen == ["later", "own"] * 2
    finally:
        signal.signal(signal.SIGINT, before)


async def test_a_server_in_a_thread_sends_viewers_away_when_it_is_told_to_end(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    settings = GatewaySettings(host_task_queue=unique("queue"), sse_seconds=3600)
    app = create_app(stream_server.connect, settings)
    port = free_port()
    config = uvicorn.Config(app, port=port, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        url = f"http://127.0.0.1:{port}/v1/stream/{unique('stream')}"
        while not server.started:
            await asyncio.sleep(0.01)
        while (await http.get(f"http://127.0.0.1:{port}/readyz")).status_code != 200:
            await asyncio.sleep(0.02)
        await http.put(url, json=[1])
        async with http.stream("GET", url, params={"offset": "-1", "live": "sse"}) as response:
            events = EventSource(response).events()
            while data_of([await anext(events)]) != [1]:
                pass
            server.should_exit = True
            rest = [event async for event in events]
            assert rest[-1].json["closing"] == "shutdown"
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join)
