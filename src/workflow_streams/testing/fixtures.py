"""Pytest fixtures: a server for the whole session, a client for each test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from temporalio.client import Client

from ..connection import connect
from ..embedded import server_or_environment

try:
    import pytest
except ImportError as err:
    raise ImportError(
        "workflow_streams.testing needs pytest: pip install 'workflow-streams[testing]'"
    ) from err


@dataclass(frozen=True)
class StreamServer:
    """A server that tests may use."""

    address: str

    async def connect(self, **overrides: Any) -> Client:
        """Return a client connected to it; arguments as for ``workflow_streams.connect``."""
        return await connect(**{"target_host": self.address, **overrides})


@contextmanager
def running_server() -> Iterator[StreamServer]:
    """Run the server on an event loop of its own, so that it outlives those of the tests."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stream server", daemon=True)
    thread.start()
    server = server_or_environment()
    try:
        address = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result()
        try:
            yield StreamServer(address)
        finally:
            leaving = server.__aexit__(None, None, None)
            asyncio.run_coroutine_threadsafe(leaving, loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="session")
def stream_server() -> Iterator[StreamServer]:
    """The server of ``TEMPORAL_ADDRESS``, or an embedded one for the session."""
    with running_server() as server:
        yield server


@pytest.fixture
def stream_client(stream_server: StreamServer) -> Client:
    """A client connected to :func:`stream_server`, for any event loop."""
    return asyncio.run(stream_server.connect())
