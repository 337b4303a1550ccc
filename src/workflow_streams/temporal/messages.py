"""Texts of Temporal's server and SDK that decisions hang on, each with what recognizes it.

The server gives these failures no status or detail of their own, and the SDK no class, so only the
wording tells them from others. ``tests/temporal/test_messages.py`` has the real server or SDK say
each of them, and fails when the wording changes. Comments name the source: a package of
``temporalio/temporal`` (as of server 1.32) if not another.

Two things like these stand elsewhere:

- ``host/external/signalling.py`` knows how the SDK names a refused signal to workflow code. It
  runs in the sandbox, where this module is not loaded; the same tests cover it.
- ``host/run_sign.py`` knows private names of the SDK; see ``tests/replays/test_sdk.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from temporalio.client import WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

# service/history/consts: ErrSignalsLimitExceeded, INVALID_ARGUMENT.
_SIGNALS_USED_UP = "limit for signal events"
# service/history/workflow/update: Registry.checkTotalLimit, FAILED_PRECONDITION.
_UPDATES_USED_UP = "total number of distinct updates"
# service/history/workflow/update: workflowTaskFailErr, FAILED_PRECONDITION.
_TASK_FAILED = "unexpected workflow task failure"
# service/history/workflow/update: unprocessedUpdateFailure, the type of an application failure.
_UPDATE_PASSED_OVER = "UnprocessedUpdate"
# service/history/consts: ErrWorkflowCompleted, NOT_FOUND.
_RUN_ENDED = "already completed"
# gRPC for Go: "received message larger than max (5000000 vs. 4194304)", RESOURCE_EXHAUSTED.
_MESSAGE_TOO_LARGE = "larger than max"
# common: ErrBlobSizeExceedsLimit, INVALID_ARGUMENT.
_PAYLOAD_TOO_LARGE = "exceeds limit"
# temporalio/sdk-python: the bridge puts this before the status that the first call ended with.
_CONNECT_FAILED = "Failed client connect"
_CONNECT_REASON = re.compile(r'message: "([^"]+)"')
_CONNECT_DENIED = ("code: PermissionDenied", "code: Unauthenticated")
# The Go runtime's text for EADDRINUSE, on all systems that the development server is made for.
_PORT_TAKEN = "address already in use"


@dataclass(frozen=True, slots=True)
class FailedConnect:
    """Why a client could not connect.

    Attributes:
        reason: The failure, in the words of the server or of the network.
        denied: Whether the server refuses the credentials.
    """

    reason: str
    denied: bool


def signals_used_up(error: RPCError) -> bool:
    """Whether a signal is refused because the run has had its 10,000; the next run takes more."""
    return error.status == RPCStatusCode.INVALID_ARGUMENT and _SIGNALS_USED_UP in error.message


def updates_used_up(error: RPCError) -> bool:
    """Whether an Update is refused because the run has had its 2,000; the next run takes more."""
    return error.status == RPCStatusCode.FAILED_PRECONDITION and _UPDATES_USED_UP in error.message


def task_failed(error: BaseException | None) -> bool:
    """Whether an Update is refused because the workflow task that was to take it has failed.

    A task fails like this if it continues as new and a signal has come meanwhile. The same Update
    may succeed with the next task.
    """
    return (
        isinstance(error, RPCError)
        and error.status == RPCStatusCode.FAILED_PRECONDITION
        and _TASK_FAILED in error.message
    )


def update_passed_over(error: WorkflowUpdateFailedError) -> bool:
    """Whether the server rejects an Update that the worker left aside when it completed a task.

    Workers do so as a run ends; the next one may take the Update.
    """
    return isinstance(error.cause, ApplicationError) and error.cause.type == _UPDATE_PASSED_OVER


def run_ended(error: RPCError) -> bool:
    """Whether a workflow is not found because it has ended, rather than because there is none."""
    return error.status == RPCStatusCode.NOT_FOUND and _RUN_ENDED in error.message


def message_too_large(error: RPCError) -> bool:
    """Whether a call is over gRPC's limit of 4 MiB.

    Its status is that of rate limits, where another try helps; here it does not.
    """
    return _MESSAGE_TOO_LARGE in error.message


def payload_too_large(error: RPCError) -> bool:
    """Whether a call is over the server's limit for what is written to a history, 2 MiB."""
    return _PAYLOAD_TOO_LARGE in error.message


def query_unknown(error: WorkflowQueryFailedError, query: str) -> bool:
    """Whether a query failed because the workflow has no handler for it.

    Workers of all languages then name the query. Another failure, such as that of the workflow's
    code, tells nothing of its handlers.
    """
    return query in str(error)


def failed_connect(error: BaseException) -> FailedConnect | None:
    """Return why a client could not connect; None for any other error."""
    text = str(error)
    if not isinstance(error, RuntimeError) or not text.startswith(_CONNECT_FAILED):
        return None
    reason = _CONNECT_REASON.search(text)
    denied = any(code in text for code in _CONNECT_DENIED)
    return FailedConnect(reason[1] if reason else text, denied)


def port_taken(output: str) -> bool:
    """Whether a development server ended because a port that it wanted was taken."""
    return _PORT_TAKEN in output


def port_announced(output: str, port: int) -> bool:
    """Whether a development server says that it serves at the port."""
    return re.search(rf"Server:\s+\S+:{port}\b", output) is not None
