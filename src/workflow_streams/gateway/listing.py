"""GET /v1/streams: which streams there are, from Temporal's visibility."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from temporalio.client import WorkflowExecution, WorkflowExecutionStatus

from .. import wire
from ..errors import StreamNotFoundError
from ..hosted import EXPIRED_MEMO_KEY, SETUP_MEMO_KEY, HostSetup
from .problems import InvalidRequestError
from .requests import parse_integer, path_of
from .security import Grant, authorize
from .sessions import Gateway, gateway_of

_MOST = 1000
_USUAL = 100
_STATES = {
    "running": 'ExecutionStatus = "Running"',
    "closed": 'ExecutionStatus != "Running" AND ExecutionStatus != "ContinuedAsNew"',
    "all": 'ExecutionStatus != "ContinuedAsNew"',
}
_TYPE_NAME = re.compile(r"[^\x00-\x1f\x7f\"'`\\]{1,200}")


async def streams(request: Request) -> Response:
    """List a page of streams, newest first, as far as the client may see them."""
    grant = await authorize(request, "list")
    gateway = gateway_of(request)
    query = query_of(request.query_params.get("state", "all"), request.query_params.getlist("type"))
    limit = parse_integer(request.query_params.get("limit", str(_USUAL)), "limit")
    if not 1 <= limit <= _MOST:
        raise InvalidRequestError(f"limit is from 1 to {_MOST}.")
    page = gateway.link.client.list_workflows(
        query, page_size=limit, next_page_token=parse_page(request.query_params.get("page"))
    )
    await gateway.link.call(page.fetch_next_page())
    seen: set[str] = set()
    entries: list[dict[str, Any]] = []
    for execution in page.current_page or ():
        if execution.id in seen:
            continue  # an earlier run under the same id
        seen.add(execution.id)
        entry = await _entry(gateway, execution, grant)
        if entry is not None:
            entries.append(entry)
    answer: dict[str, Any] = {"streams": entries}
    if page.next_page_token:
        answer["next_page"] = base64.urlsafe_b64encode(page.next_page_token).decode()
    return JSONResponse(answer, headers={"cache-control": "no-store"})


def query_of(state: str, types: list[str]) -> str:
    """Return the visibility query.

    Args:
        state: "running", "closed" or "all".
        types: Workflow types whose workflows are listed as well, which is how streams that the
            contrib hosts are found.

    Raises:
        InvalidRequestError: The state or a type is malformed.
    """
    if state not in _STATES:
        raise InvalidRequestError("state is running, closed or all.")
    hosts = [f'TemporalChangeVersion = "{wire.PATCH_ID}"']
    for name in types:
        if _TYPE_NAME.fullmatch(name) is None:
            raise InvalidRequestError("type is not the name of a workflow type.")
        hosts.append(f'WorkflowType = "{name}"')
    return f"({' OR '.join(hosts)}) AND {_STATES[state]}"


def parse_page(text: str | None) -> bytes | None:
    """Read the token of a page.

    Raises:
        InvalidRequestError: It is none that this gateway gave out.
    """
    if not text:
        return None
    try:
        return base64.b64decode(text, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError("page is not one that this gateway gave out.") from None


async def _entry(
    gateway: Gateway, execution: WorkflowExecution, grant: Grant
) -> dict[str, Any] | None:
    """Return what is told of a stream; None if the client must not see it, or it is gone."""
    if not grant.may_list(execution.id):
        return None
    setup = await execution.memo_value(SETUP_MEMO_KEY, None, type_hint=HostSetup)
    if setup is not None and await _is_gone(gateway, execution, setup):
        return None
    running = execution.status == WorkflowExecutionStatus.RUNNING
    status = execution.status.name.lower() if execution.status is not None else None
    entry = {
        "id": execution.id,
        "url": path_of(execution.id),
        "type": execution.workflow_type,
        "state": "running" if running else "closed",
        "outcome": None if running else status,
        "started": _text(execution.start_time),
        "closed": _text(execution.close_time),
    }
    if setup is not None:
        entry["content_type"] = setup.content_type
    return entry


async def _is_gone(gateway: Gateway, execution: WorkflowExecution, setup: HostSetup) -> bool:
    """Whether a stream that was made by PUT is no more, though its runs still stand."""
    if setup.deleted or await execution.memo_value(EXPIRED_MEMO_KEY, False):
        return True
    if execution.status != WorkflowExecutionStatus.TERMINATED:
        return False
    # Deleting puts another run in its place, which is not among the streams.
    handle = gateway.link.client.get_workflow_handle(execution.id)
    try:
        current = await gateway.link.call(handle.describe(), execution.id)
    except StreamNotFoundError:
        return True
    return current.run_id != execution.run_id


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")
