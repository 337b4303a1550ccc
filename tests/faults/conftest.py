"""Fixtures of the fault tests: a network that fails, a server that is killed, and quiet."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.service import RetryConfig

from workflow_streams.embedded import EmbeddedServer
from workflow_streams.testing.fixtures import StreamServer

from .network import Network

ONE_ATTEMPT = RetryConfig(max_retries=1)
"""For clients that hand each failure on, rather than try for 10 seconds by themselves."""

FEW_ATTEMPTS = RetryConfig(initial_interval_millis=20, max_retries=3)
"""For the first call after a reset, which may go to the connection that is no more."""


@pytest.fixture(autouse=True)
def nothing_is_left_unobserved(caplog: pytest.LogCaptureFixture) -> Any:
    """Fail if asyncio complains: of errors never retrieved, of tasks destroyed while pending."""
    yield
    gc.collect()
    records = [*caplog.get_records("setup"), *caplog.get_records("call"), *caplog.records]
    complaints = [r.getMessage() for r in records if r.name == "asyncio"]
    assert complaints == []


@pytest.fixture
async def network(stream_server: StreamServer) -> AsyncIterator[Network]:
    """A network between the test server and clients that connect to its address."""
    async with Network(stream_server.address) as network:
        yield network


@pytest.fixture
async def mortal(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server of the test's own, on a file, to be killed and started again."""
    async with EmbeddedServer(db_filename=tmp_path / "streams.db") as server:
        yield server
