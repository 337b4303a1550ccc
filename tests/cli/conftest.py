"""Fixtures: the command at the test server, and streams for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from workflow_streams.testing.fixtures import StreamServer

from .command import Cli
from .hosts import Streams, workflows


@pytest.fixture
def cli(stream_server: StreamServer) -> Cli:
    """The command, at the test server."""
    return Cli(stream_server.address)


@pytest.fixture
async def streams(client: Client, unique: Callable[[str], str]) -> AsyncIterator[Streams]:
    """Makes streams, with a worker that hosts them."""
    queue = unique("cli")
    async with Worker(client, task_queue=queue, workflows=workflows):
        yield Streams(client, queue)
