"""A worker for hosted streams, for tests that need no other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from temporalio.client import Client

from workflow_streams.hosted import host_worker


@pytest.fixture
async def queue(client: Client, unique: Callable[[str], str]) -> AsyncIterator[str]:
    """Task queue of a worker for hosted streams."""
    queue = unique("hosts")
    async with host_worker(client, task_queue=queue):
        yield queue
