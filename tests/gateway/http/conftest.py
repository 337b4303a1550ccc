"""A gateway for the tests of a module, and a client for each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from workflow_streams.testing.fixtures import StreamServer

from .serving import GatewayProcess, running_gateway


@pytest.fixture(scope="module")
def gateway(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    settings = {"long_poll_seconds": 2.0, "page_bytes": 256 * 1024, "wait_seconds": 0.5}
    with running_gateway(stream_server.address, **settings) as gateway:
        yield gateway


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=100) as client:
        yield client


@pytest.fixture
def new_stream(gateway: GatewayProcess, unique: Callable[[str], str]) -> Callable[[], str]:
    """Makes URLs of streams that are not there yet."""
    return lambda: gateway.stream(unique("stream"))
