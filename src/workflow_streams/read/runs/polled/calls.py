"""What is asked of a workflow that hosts a stream as the contrib does, in any language."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError, TemporalError
from temporalio.service import RPCError, RPCStatusCode

from ....errors import CodecError, HostUnavailableError, StreamNotFoundError, WorkflowStreamError
from ....log import wire
from ....temporal.handles import client_of
from ....temporal.rpc import explain, is_transient
from ...history import outage
from ...history.pages import until_answered

T = TypeVar("T")
logger = logging.getLogger("workflow_streams")
Handle: TypeAlias = WorkflowHandle[Any, Any]

RETRY_SECONDS = 0.5
_FIRST_QUERY_SECONDS = 0.2
QUERY_SECONDS = 30.0

# What the server answers to a query that no worker takes.
_NO_ANSWER = frozenset(
    {
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.FAILED_PRECONDITION,
    }
)


async def head_of(handle: Handle, *, wait: bool = True) -> int:
    """Ask a contrib's host for its head; see :func:`asked`.

    Raises:
        StreamNotFoundError: The workflow hosts no stream.
        HostUnavailableError: There is no worker to ask.
    """
    try:
        head: int = await asked(handle, wire.OFFSET_QUERY, None, int, wait=wait)
        return head
    except WorkflowQueryFailedError as err:
        raise StreamNotFoundError(handle.id, f"hosts no stream: {err}") from err


async def asked(
    handle: Handle, query: str, argument: Any, result_type: Any, *, wait: bool = True
) -> Any:
    """Make a query; while the run is open, and with ``wait``, wait for a worker that answers.

    Raises:
        HostUnavailableError: No worker answers.
        WorkflowQueryFailedError: The workflow has no such query.
    """
    arguments = [] if argument is None else [argument]
    client = client_of(handle)
    clock = asyncio.get_running_loop().time
    give_up_at, patience = clock() + QUERY_SECONDS, _FIRST_QUERY_SECONDS
    while True:
        # Workers lose queries, and where the server has no room for one, the SDK is slow to try
        # again; so the first ones are given up early.
        limit = asyncio.timeout_at(min(clock() + patience, give_up_at))
        try:
            async with limit:
                with decoding(handle.id):
                    found = await handle.query(
                        query,
                        args=arguments,
                        result_type=result_type,
                        rpc_timeout=timedelta(seconds=QUERY_SECONDS),
                    )
            outage.answered(client, handle.id, way="poll")
            return found
        except TimeoutError as err:
            if not limit.expired():
                raise
            error: Exception = err
            refused, answer = False, "there is no answer in time"
        except RPCError as err:
            if err.status not in _NO_ANSWER and not is_transient(err):
                raise explain(err, handle.id) from err
            if err.status not in _NO_ANSWER:
                outage.failed(client, handle.id, err, way="poll")
            if err.status == RPCStatusCode.UNAVAILABLE:
                # The server is away, which says nothing about the worker.
                give_up_at = clock() + QUERY_SECONDS
            error, answer = err, err.message
            refused = err.status == RPCStatusCode.FAILED_PRECONDITION
            await asyncio.sleep(RETRY_SECONDS)
        if refused or clock() >= give_up_at:
            if not wait or await closed(handle):
                raise HostUnavailableError(
                    handle.id,
                    "holds no stream in its history. If a contrib hosts one, it takes a worker to "
                    f"read it, and none answers: {answer}",
                ) from error
            give_up_at = clock() + QUERY_SECONDS
        logger.info("Asking workflow %r is retried: %s", handle.id, answer)
        patience *= 2


async def closed(handle: Handle) -> bool:
    """Whether the run has closed."""
    described = await until_answered(handle.describe, client_of(handle), handle.id)
    return described.status != WorkflowExecutionStatus.RUNNING


def kind_of(error: WorkflowUpdateFailedError) -> str | None:
    """Return the type of the failure that an Update failed with."""
    return error.cause.type if isinstance(error.cause, ApplicationError) else None


@contextmanager
def decoding(workflow_id: str) -> Iterator[None]:
    """Make a :class:`CodecError` of what goes wrong with the data converter in a call."""
    try:
        yield
    except (TemporalError, WorkflowStreamError):
        raise
    except Exception as err:
        known = explain(err, workflow_id)
        if known is not err:
            raise known from err
        raise CodecError(
            workflow_id, f"the payload codec of this client refuses the stream: {err!r}"
        ) from err


def awaited(call: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """Return a call of the SDK's that raises ``CancelledError`` when it is cancelled."""

    async def calling() -> T:
        try:
            return await call()
        except WorkflowUpdateRPCTimeoutOrCancelledError as err:
            # The SDK makes one of both: being cancelled, and Temporal not answering.
            if isinstance(err.__cause__, asyncio.CancelledError):
                raise err.__cause__ from None
            raise

    return calling
