"""What the gateway leans on in uvicorn beyond its documented interface is there.

`gateway/connections.py` extends uvicorn's HTTP protocols, since nothing else bounds the time for a
request's head; `gateway/leaving.py` looks for the server that runs; a text is kept out of the log.
If one of these fails with a new version, look at these before the version is allowed.
"""

from __future__ import annotations

import logging
import tomllib
from typing import Any

import h11
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.gateway.security.wire import connected, exchange, get, serving
from workflow_streams.gateway import leaving
from workflow_streams.gateway.connections import bounded_protocol
from workflow_streams.gateway.layers.limit_settings import LimitSettings
from workflow_streams.gateway.telemetry.logs import UnfinishedFilter

from ...parents import ROOT

PARSERS = pytest.mark.parametrize("parser", ["h11", "httptools"])


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def unfinished(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


def test_what_the_gateway_extends_has_an_upper_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, requirements in (
        ("temporalio", project["dependencies"]),
        ("uvicorn", project["optional-dependencies"]["gateway"]),
    ):
        [bounds] = [text for text in requirements if text.startswith(name)]
        assert ",<" in bounds


@PARSERS
async def test_a_connection_has_the_members_that_are_used(
    parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parser == "h11":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    bounded: Any = bounded_protocol(LimitSettings(), write_seconds=30)
    made: list[Any] = []
    seen: list[str] = []

    class Watched(bounded):  # type: ignore[misc]
        """Notes which methods uvicorn and its parser call that the gateway overrides."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            made.append(self)

        def __getattribute__(self, name: str) -> Any:
            seen.append(name)
            return super().__getattribute__(name)

    async with serving(hello, http=Watched) as port, connected(port) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx")
        answer = await reader.readuntil(b"hello")
        assert answer.startswith(b"HTTP/1.1 200")
        [protocol] = made
        assert protocol.transport.get_write_buffer_size() == 0
        assert protocol.loop.time() > 0
        assert protocol.cycle.response_complete is True
        assert protocol.reading_head()
        if parser == "h11":
            assert protocol.conn.their_state is h11.IDLE
    assert {"connection_made", "data_received", "connection_lost"} <= set(seen)
    if parser == "httptools":
        assert {
            "on_message_begin",
            "on_header",
            "on_headers_complete",
            "on_body",
            "on_message_complete",
        } <= set(seen)


async def test_the_server_that_runs_is_found_and_tells_that_it_ends() -> None:
    found: list[uvicorn.Server | None] = []
    ending: list[bool] = []

    async def looking(scope: Scope, receive: Receive, send: Send) -> None:
        server = leaving._uvicorn_here()
        found.append(server)
        assert server is not None
        ending.append(leaving._is_ending(server))
        await hello(scope, receive, send)

    async with serving(looking) as port:
        assert (await exchange(port, get("/"))).status == 200
        [server] = found
        assert server is not None
        # With either of these it counts as ending: it was told to, or listens no more.
        assert server.should_exit is False
        assert [socket.is_serving() for socket in server.servers] == [True]
        assert ending == [False]
    assert leaving._is_ending(server)


@PARSERS
async def test_what_is_said_of_an_answer_left_unfinished_is_known(
    parser: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("uvicorn.error")
    monkeypatch.setattr(logger, "filters", [])
    monkeypatch.setattr(logger, "propagate", False)
    said: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = said.append  # type: ignore[method-assign]
    monkeypatch.setattr(logger, "handlers", [handler])
    async with serving(unfinished, http=parser) as port, connected(port) as (reader, writer):
        writer.write(get("/"))
        await reader.read()
    errors = [record for record in said if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert not UnfinishedFilter().filter(errors[0])
