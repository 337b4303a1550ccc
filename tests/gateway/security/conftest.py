"""A gateway with a login, for all tests that ask it something."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import httpx
import pytest

from workflow_streams.testing.fixtures import StreamServer

from ..http.serving import GatewayProcess, running_gateway
from .gated import ENVIRON, JSON, bearer, publish


@pytest.fixture(scope="session")
def gateway(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    with running_gateway(
        stream_server.address,
        environ=ENVIRON,
        security={"leeway_seconds": 0, "cors_origins": ["https://app.example"]},
        long_poll_seconds=5.0,
    ) as gateway:
        yield gateway


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=100) as client:
        yield client


@pytest.fixture
async def stream(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Callable[[str], str]
) -> str:
    """A stream that is there, with the items 0 to 5, by turns of topic a and b."""
    workflow_id = unique("guarded")
    made = await http.put(gateway.stream(workflow_id), headers={**bearer(), **JSON})
    assert made.status_code == 201, made.text
    await publish(http, gateway, workflow_id, range(6))
    return workflow_id
