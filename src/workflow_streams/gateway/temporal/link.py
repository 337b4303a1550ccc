"""The gateway's connection to Temporal: made in the background, with calls bounded in time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from ...errors import ServerUnavailableError
from ...hosted.worker import host_worker
from ...read.feeds.lookup import feeds_reading
from ...temporal.backoff import Backoff
from ...temporal.link import bounded
from .left_behind import leave_behind

T = TypeVar("T")
Connect = Callable[[], Awaitable[Client]]

logger = logging.getLogger("workflow_streams.gateway")

_FIRST_RETRY_SECONDS = 0.2
_LONGEST_RETRY_SECONDS = 5.0


class TemporalLink:
    """Connects, retrying until it succeeds, and runs the worker for hosted streams."""

    def __init__(
        self,
        client: Client | Connect,
        *,
        task_queue: str | None,
        call_seconds: float,
        prepare: Callable[[Client], Client] = lambda client: client,
    ) -> None:
        """Prepare.

        Args:
            client: A client, or a function that connects one.
            task_queue: The task queue on which to run a worker for hosted streams; None to run
                no worker.
            call_seconds: How long a call may take.
            prepare: Called with the client that was given; returns the one that is used.
        """
        self._client = prepare(client) if isinstance(client, Client) else None
        self._prepare = prepare
        self._connect: Connect | None = None if isinstance(client, Client) else client
        self._task_queue = task_queue
        self._call_seconds = call_seconds
        self._worker: Worker | None = None

    @property
    def client(self) -> Client:
        """The client.

        Raises:
            ServerUnavailableError: There is no connection yet.
        """
        if self._client is None:
            raise ServerUnavailableError("The gateway has no connection to Temporal yet")
        return self._client

    def readers(self) -> int:
        """How many histories are followed over this client."""
        return 0 if self._client is None else feeds_reading(self._client.service_client)

    async def run(self) -> None:
        """Connect and work until cancelled; the application owns the task that this runs in."""
        backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        while True:
            try:
                if self._client is None and self._connect is not None:
                    self._client = self._prepare(await self._connect())
                if self._task_queue is None:
                    return
                self._worker = host_worker(self.client, task_queue=self._task_queue)
                await self._worker.run()
                return
            except Exception as err:
                logger.warning("Not connected to Temporal; trying again: %s", err)
            await backoff.pause()

    def leave_behind(self, task: asyncio.Task[None]) -> None:
        """Stop waiting for the task that :meth:`run` runs in, since it does not end."""
        if self._worker is not None:
            leave_behind(self._worker, task)

    def disconnect(self) -> None:
        """Forget a client that was connected here; the next run may use another event loop."""
        if self._connect is not None:
            self._client = None

    async def call(self, call: Awaitable[T], workflow_id: str = "") -> T:
        """Await a call to Temporal, for as long as a call may take.

        Raises:
            WorkflowStreamError: The call failed; this is the package's own error for it.
        """
        return await bounded(call, self._call_seconds, workflow_id)

    async def is_ready(self, seconds: float) -> bool:
        """Whether Temporal answers within ``seconds``."""
        with suppress(TimeoutError, RPCError, RuntimeError, ServerUnavailableError):
            async with asyncio.timeout(seconds):
                return await self.client.service_client.check_health()
        return False
