"""Looks streams up, and waits for those that are not there yet if the client asks for that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.requests import Request

from ...errors import ServerUnavailableError, StreamGoneError, StreamNotFoundError
from ...read.arrival import wait_for_workflow
from ...read.waiting import ended
from ..layers.limits import ConnectionLimits
from ..refusals.problems import NotStartedError, UnavailableError
from ..security import Grant
from ..sessions import Gateway
from ..temporal.streams import Stream
from .disconnects import unless_left


@asynccontextmanager
async def found_in_time(
    request: Request, gateway: Gateway, workflow_id: str, grant: Grant, wait_seconds: float
) -> AsyncIterator[tuple[Stream, bool]]:
    """Look a stream up, for the time of the block, and wait until its workflow has been started.

    Yields the stream, and whether it had to be waited for.

    Args:
        request: The request.
        gateway: The gateway that serves it.
        workflow_id: The stream's workflow.
        grant: What the client may do. This has been checked already, so that without permission
            nobody holds a connection or causes calls to Temporal.
        wait_seconds: How long the client wants to wait; the settings may limit this.

    Raises:
        NotStartedError: The workflow does not exist.
        StreamNotFoundError: It was not started in time.
        StreamGoneError: The stream is gone, and no other one was made in time.
        UnavailableError: The gateway is about to end.
        ClientGoneError: The client has left meanwhile.
        WorkflowStreamError: As :func:`..temporal.streams.found`.
    """
    until = time.monotonic() + min(wait_seconds, gateway.settings.wait_seconds)
    waited = False
    async with AsyncExitStack() as stack:
        while True:
            try:
                stream = await stack.enter_async_context(gateway.found(workflow_id))
                break
            except StreamNotFoundError as err:
                left = until - time.monotonic()
                if left <= 0 and isinstance(err, StreamGoneError):
                    raise
                if left <= 0:
                    raise NotStartedError(cause_for_log=str(err)) from err
            connections: ConnectionLimits = request.app.state.connections
            with connections.of_client(grant.client):
                await unless_left(request, _arrive(gateway, workflow_id, grant, left))
            waited = True
        yield stream, waited


async def _arrive(gateway: Gateway, workflow_id: str, grant: Grant, seconds: float) -> None:
    permitted = grant.seconds_left(time.time())
    if permitted is not None:
        seconds = min(seconds, permitted)
    arriving = asyncio.create_task(
        wait_for_workflow(gateway.link.client, workflow_id, None, seconds),
        name="wait for the workflow",
    )
    try:
        either: set[asyncio.Future[bool] | asyncio.Future[None]] = {arriving, gateway.closing}
        # While Temporal does not answer, it is not known whether the workflow exists.
        patience = seconds + gateway.settings.temporal_seconds
        await asyncio.wait(either, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if arriving.done():
            arriving.result()
            return
        if gateway.closing.done():
            raise UnavailableError("The gateway is about to end; ask another one.")
        raise ServerUnavailableError("Temporal did not answer in time")
    finally:
        await ended(arriving)
