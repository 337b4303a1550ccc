"""Fixtures of all tests: a real server, a client, names that are free."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable

import pytest
from temporalio.client import Client

from workflow_streams.testing import stream_client, stream_server
from workflow_streams.testing.fixtures import StreamServer

__all__ = ["stream_client", "stream_server"]


@pytest.fixture
async def client(stream_server: StreamServer) -> AsyncIterator[Client]:
    """A client; afterwards, no task may be left but feeds that are about to stop."""
    before = asyncio.all_tasks()
    yield await stream_server.connect()
    async with asyncio.timeout(10):
        while left := asyncio.all_tasks() - before - {asyncio.current_task()}:
            await asyncio.wait(left, timeout=0.1)


@pytest.fixture
def unique() -> Callable[[str], str]:
    """Makes names that no other test has."""
    return lambda kind: f"{kind}-{uuid.uuid4().hex[:8]}"
