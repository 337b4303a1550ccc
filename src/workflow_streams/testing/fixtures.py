"""Pytest fixtures: a server for the whole session, a client for each test."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import Client

from ..embedded import EmbeddedServer
from ..temporal.connection import connect

try:
    import pytest
except ImportError as err:
    raise ImportError(
        "workflow_streams.testing needs pytest: pip install 'workflow-streams[testing]'"
    ) from err


@dataclass(frozen=True, slots=True)
class StreamServer:
    """A server for tests to use."""

    address: str
    connect_settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    async def connect(self, **overrides: Any) -> Client:
        """Return a client connected to it; takes the arguments of ``workflow_streams.connect``."""
        settings = {"target_host": self.address, **self.connect_settings}
        return await connect(**{**settings, **overrides})


@contextmanager
def running_server() -> Iterator[StreamServer]:
    """Yield the server of ``TEMPORAL_ADDRESS``, or else one that is started for the block."""
    address = os.environ.get("TEMPORAL_ADDRESS")
    if address:
        yield StreamServer(address)
        return
    with _background_loop() as loop:
        server = EmbeddedServer()
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield StreamServer(server.address, server.connect_settings)
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()


@contextmanager
def _background_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop that outlives those of the tests."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="stream server", daemon=True)
    thread.start()
    try:
        yield loop
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
    """A client connected to :func:`stream_server`; clients work on any event loop."""
    # In a thread, since the test's own event loop may already be running in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, stream_server.connect()).result()
