"""Temporal's failures, translated to this package's errors. The only place that does."""

from __future__ import annotations

from temporalio.api.enums.v1 import ResourceExhaustedCause
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure, ResourceExhaustedFailure
from temporalio.service import RPCError, RPCStatusCode

from ..errors import (
    ConnectionFailedError,
    NamespaceNotFoundError,
    PermissionDeniedError,
    RequestRejectedError,
    ServerUnavailableError,
    StreamClosedError,
    StreamNotFoundError,
    WorkflowStreamError,
)
from . import messages

TRANSIENT = frozenset(
    {
        RPCStatusCode.ABORTED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.DATA_LOSS,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.INTERNAL,
        RPCStatusCode.OUT_OF_RANGE,
        RPCStatusCode.RESOURCE_EXHAUSTED,
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.UNKNOWN,
    }
)
"""Worth another try: what the SDK retries within a call, and the two codes of its own limit."""

FINAL = frozenset(
    {
        RPCStatusCode.ALREADY_EXISTS,
        RPCStatusCode.FAILED_PRECONDITION,
        RPCStatusCode.INVALID_ARGUMENT,
        RPCStatusCode.NOT_FOUND,
        # Not an error to gRPC; as one, it can only mean an answer that makes no sense.
        RPCStatusCode.OK,
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.UNAUTHENTICATED,
        RPCStatusCode.UNIMPLEMENTED,
    }
)
"""Waiting does not mend these."""


def is_transient(error: Exception) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, RPCError):
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            return messages.signals_used_up(error)
        return error.status in TRANSIENT and not messages.message_too_large(error)
    return isinstance(connect_failure(error), ServerUnavailableError)


def is_too_large(error: BaseException) -> bool:
    """Whether the server refuses what is sent for its size; also where that is the cause."""
    if isinstance(error, RPCError):
        return messages.message_too_large(error) or messages.payload_too_large(error)
    return error.__cause__ is not None and is_too_large(error.__cause__)


def translate(error: RPCError, workflow_id: str) -> WorkflowStreamError:
    """Return the error to raise, with ``error`` to be set as its cause."""
    match error.status:
        case RPCStatusCode.NOT_FOUND:
            return _not_found(error, workflow_id)
        case RPCStatusCode.PERMISSION_DENIED | RPCStatusCode.UNAUTHENTICATED:
            return PermissionDeniedError(
                f"Not permitted to use workflow {workflow_id!r}: {error.message}"
            )
        case RPCStatusCode.RESOURCE_EXHAUSTED:
            pass
        # What a lost connection looks like depends on when it is lost; the SDK itself ends a call
        # without an answer after 30 s, as CANCELLED.
        case status if status in TRANSIENT:
            return ServerUnavailableError(
                f"The Temporal server is unavailable ({error.status.name}): {error.message}"
            )
    return RequestRejectedError(
        f"The server refused a call for workflow {workflow_id!r} "
        f"({error.status.name}): {error.message}"
    )


def connect_failure(
    error: BaseException, address: str | None = None
) -> ConnectionFailedError | None:
    """Return the error to raise when a client could not connect; None for other errors.

    A lazy client connects in its first call. The SDK has no class of its own for this.
    """
    failed = messages.failed_connect(error)
    if failed is None:
        return None
    at = f" at {address}" if address else ""
    if failed.denied:
        return PermissionDeniedError(
            f"The Temporal server{at} refuses these credentials: {failed.reason}", address=address
        )
    return ServerUnavailableError(
        f"No Temporal server answers{at}: {failed.reason}. Start one with "
        "`workflow-streams dev`, or set TEMPORAL_ADDRESS.",
        address=address,
    )


def has_no_room_to_wait(error: BaseException) -> bool:
    """Whether a call is refused since its namespace has as many waiting calls as it may.

    Polls of workers count among these. Whether the call itself waits does not matter.
    """
    if not isinstance(error, RPCError) or error.status != RPCStatusCode.RESOURCE_EXHAUSTED:
        return False
    refusal = ResourceExhaustedFailure()
    return any(
        detail.Unpack(refusal)
        and refusal.cause == ResourceExhaustedCause.RESOURCE_EXHAUSTED_CAUSE_CONCURRENT_LIMIT
        for detail in error.grpc_status.details
    )


def may_not_look(error: BaseException) -> bool:
    """Whether this client may not look at workflows; one that may only send goes on without."""
    return isinstance(error, RPCError) and error.status in (
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.UNIMPLEMENTED,
    )


def explain(error: Exception, workflow_id: str) -> Exception:
    """Return this package's error for a failed call, caused by ``error``, or ``error`` itself."""
    known = translate(error, workflow_id) if isinstance(error, RPCError) else connect_failure(error)
    if known is None:
        return error
    known.__cause__ = error
    return known


def _not_found(error: RPCError, workflow_id: str) -> WorkflowStreamError:
    details = error.grpc_status.details
    if any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in details):
        return NamespaceNotFoundError(f"{error.message} (while using workflow {workflow_id!r})")
    if messages.run_ended(error):
        return StreamClosedError(workflow_id, "has ended and takes no more items")
    return StreamNotFoundError(workflow_id, f"not found: {error.message}")
