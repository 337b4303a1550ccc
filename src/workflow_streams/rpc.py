"""Temporal's RPC errors, translated to this package's. The only place that does."""

from __future__ import annotations

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.service import RPCError, RPCStatusCode

from .errors import (
    NamespaceNotFoundError,
    PermissionDeniedError,
    RequestRejectedError,
    ServerUnavailableError,
    StreamClosedError,
    StreamNotFoundError,
    WorkflowStreamError,
)

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
"""Worth another try: the same codes that the SDK itself retries, for longer than it does."""

# The server's words for a run that has had its 10,000 signals; the next run takes more.
_SIGNAL_LIMIT = "limit for signal events"
# RESOURCE_EXHAUSTED also stands for a message over gRPC's limit, which stays too large.
_TOO_LARGE = "larger than max"


def is_transient(error: RPCError) -> bool:
    """Whether the same call may succeed later."""
    if error.status == RPCStatusCode.INVALID_ARGUMENT:
        return _SIGNAL_LIMIT in error.message
    return error.status in TRANSIENT and _TOO_LARGE not in error.message


def translate(error: RPCError, workflow_id: str) -> WorkflowStreamError:
    """Return the error to raise, with ``error`` to be set as its cause."""
    match error.status:
        case RPCStatusCode.NOT_FOUND:
            return _not_found(error, workflow_id)
        case RPCStatusCode.PERMISSION_DENIED | RPCStatusCode.UNAUTHENTICATED:
            return PermissionDeniedError(
                f"Not permitted to use workflow {workflow_id!r}: {error.message}"
            )
        case RPCStatusCode.UNAVAILABLE | RPCStatusCode.DEADLINE_EXCEEDED:
            return ServerUnavailableError(f"The Temporal server is unavailable: {error.message}")
        case _:
            return RequestRejectedError(
                f"The server refused a call for workflow {workflow_id!r} "
                f"({error.status.name}): {error.message}"
            )


def _not_found(error: RPCError, workflow_id: str) -> WorkflowStreamError:
    details = error.grpc_status.details
    if any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in details):
        return NamespaceNotFoundError(f"{error.message} (while using workflow {workflow_id!r})")
    if "already completed" in error.message:
        return StreamClosedError(workflow_id, "has ended and takes no more items")
    return StreamNotFoundError(workflow_id, f"not found: {error.message}")
