"""Calls to Temporal that are bounded in time and fail with this package's errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from temporalio.client import Client, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.service import RPCError

from ..errors import ServerUnavailableError
from .rpc import connect_failure, translate

T = TypeVar("T")


class Link(Protocol):
    """A way to Temporal: a client, and how long its calls may take."""

    @property
    def client(self) -> Client:
        """The client.

        Raises:
            ServerUnavailableError: There is no connection yet.
        """
        ...

    async def call(self, call: Awaitable[T], workflow_id: str = "") -> T:
        """Await a call to Temporal; see :func:`bounded`."""
        ...


@dataclass(frozen=True, slots=True)
class ClientLink:
    """The way of a client that is connected.

    Attributes:
        client: The client.
        call_seconds: How long one call may take.
    """

    client: Client
    call_seconds: float = 10.0

    async def call(self, call: Awaitable[T], workflow_id: str = "") -> T:
        """Await a call to Temporal; see :func:`bounded`."""
        return await bounded(call, self.call_seconds, workflow_id)


async def bounded(call: Awaitable[T], seconds: float, workflow_id: str = "") -> T:
    """Await a call to Temporal for at most ``seconds``.

    Args:
        call: The call.
        seconds: How long it may take.
        workflow_id: The workflow that it is about, for the error.

    Raises:
        WorkflowStreamError: What went wrong, in this package's terms.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await rpc(call, workflow_id)
    except TimeoutError as err:
        raise ServerUnavailableError("Temporal did not answer in time") from err
    except WorkflowUpdateRPCTimeoutOrCancelledError as err:
        # The SDK makes one of both: being cancelled, and Temporal not answering.
        if isinstance(err.__cause__, asyncio.CancelledError) and not limit.expired():
            raise err.__cause__ from None
        raise ServerUnavailableError("Temporal did not answer in time") from err


async def rpc(call: Awaitable[T], workflow_id: str) -> T:
    """Await ``call`` with its errors translated; may be the first call of a lazy client."""
    try:
        return await call
    except RPCError as err:
        raise translate(err, workflow_id) from err
    except RuntimeError as err:
        failure = connect_failure(err)
        if failure is None:
            raise
        raise failure from err
