"""GET /v1/streams: lists streams, as found by Temporal's visibility."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from temporalio.client import WorkflowExecution, WorkflowExecutionStatus

from ..errors import CodecError, StreamNotFoundError
from ..hosted.host import HostSetup
from ..log import wire
from ..read.runs.gone import is_gone
from ..temporal.codec import memo_value
from .refusals.problems import InvalidRequestError
from .requests.paths import path_of
from .requests.values import parse_integer, single
from .security import Authority, Grant, authorize
from .security.patterns import MAX_ID_BYTES
from .sessions import Gateway, gateway_of

_MOST = 1000
_USUAL = 100
# How many pages one request looks through for the first stream that the client may see.
_MOST_PAGES = 10
_MOST_PREFIXES = 20
_LONGEST_PREFIX = MAX_ID_BYTES
_MOST_TYPES = 20
# Characters that a visibility filter would need escaped. A prefix is cut before the first of them,
# and the rest of it is compared here.
_UNESCAPED = re.compile(r"[\x00-\x1f\x7f\"'`\\%_]")
_STATES = {
    "running": 'ExecutionStatus = "Running"',
    "closed": 'ExecutionStatus != "Running" AND ExecutionStatus != "ContinuedAsNew"',
    "all": 'ExecutionStatus != "ContinuedAsNew"',
}
_TYPE_NAME = re.compile(r"[^\x00-\x1f\x7f\"'`\\]{1,200}")


async def streams(request: Request) -> Response:
    """List a page of the streams that the client may see, in Temporal's order."""
    grant = await authorize(request, "list")
    gateway = gateway_of(request)
    params = request.query_params
    prefix = single(params, "prefix") or ""
    if len(prefix.encode()) > _LONGEST_PREFIX:
        raise InvalidRequestError(f"prefix has at most {_LONGEST_PREFIX:,} bytes in UTF-8.")
    state, limit_text = single(params, "state"), single(params, "limit")
    query = query_of(
        "all" if state is None else state, params.getlist("type"), prefixes_of(prefix, grant)
    )
    limit = _USUAL if limit_text is None else parse_integer(limit_text, "limit")
    if not 1 <= limit <= _MOST:
        raise InvalidRequestError(f"limit is from 1 to {_MOST}.")
    authority: Authority = request.app.state.authority
    page = single(params, "page")
    pages = gateway.link.client.list_workflows(
        query, page_size=limit, next_page_token=authority.pages.open(page) if page else None
    )
    entries: dict[str, dict[str, Any] | None] = {}
    for _ in range(_MOST_PAGES):
        await gateway.link.call(pages.fetch_next_page())
        for execution in pages.current_page or ():
            # The first run listed under an id is its newest.
            if execution.id not in entries and execution.id.startswith(prefix):
                entries[execution.id] = await _entry(gateway, execution, grant)
        if any(entries.values()) or not pages.next_page_token:
            break
    answer: dict[str, Any] = {"streams": [entry for entry in entries.values() if entry]}
    if pages.next_page_token:
        answer["next_page"] = authority.pages.seal(pages.next_page_token)
    return JSONResponse(answer, headers={"cache-control": "no-store"})


def prefixes_of(wanted: str, grant: Grant) -> frozenset[str]:
    """Return prefixes, one of which every id worth looking at begins with; empty for no bound.

    They rule out only ids that the client did not ask for or must not see, so that a token for a
    few among many streams finds them at once. Whether an id is shown is decided by the rules, not
    by these.
    """
    allowed = grant.listable_prefixes
    if any(wanted.startswith(prefix) for prefix in allowed):
        narrow = {wanted}
    else:
        narrow = {prefix for prefix in allowed if prefix.startswith(wanted)}
    plain = frozenset(map(_plain, narrow or {wanted}))
    if "" in plain or len(plain) > _MOST_PREFIXES:
        plain = frozenset({_plain(wanted)} - {""})
    return plain


def _plain(prefix: str) -> str:
    """Return the part of a prefix before the first character that would need an escape."""
    return _UNESCAPED.split(prefix, maxsplit=1)[0]


def query_of(state: str, types: list[str], prefixes: Collection[str] = ()) -> str:
    """Return the visibility query.

    Args:
        state: "running", "closed" or "all".
        types: Workflow types whose workflows are listed as well. This is how streams that the
            contrib hosts are found.
        prefixes: Only ids that begin with one of these, which need no escapes; empty for all.

    Raises:
        InvalidRequestError: The state or a type is malformed, or there are too many types.
    """
    if state not in _STATES:
        raise InvalidRequestError("state is running, closed or all.")
    if len(types) > _MOST_TYPES:
        raise InvalidRequestError(f"There are at most {_MOST_TYPES} parameters type.")
    hosts = [f'TemporalChangeVersion = "{wire.PATCH_ID}"']
    for name in types:
        if _TYPE_NAME.fullmatch(name) is None:
            raise InvalidRequestError("type is not the name of a workflow type.")
        hosts.append(f'WorkflowType = "{name}"')
    conditions = [f"({' OR '.join(hosts)})", _STATES[state]]
    if prefixes:
        ids = " OR ".join(f'WorkflowId STARTS_WITH "{prefix}"' for prefix in sorted(prefixes))
        conditions.append(f"({ids})")
    return " AND ".join(conditions)


async def _entry(
    gateway: Gateway, execution: WorkflowExecution, grant: Grant
) -> dict[str, Any] | None:
    """Return the entry of a stream; None if the client must not see it, or it is gone."""
    if not grant.may_list(execution.id):
        return None
    try:
        setup = await memo_value(execution, wire.SETUP_MEMO_KEY, HostSetup)
        if setup is not None and await _is_gone(gateway, execution):
            return None
    except CodecError:
        setup = None  # list it all the same, with what is known without the key
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


async def _is_gone(gateway: Gateway, execution: WorkflowExecution) -> bool:
    """Whether a stream that was made by PUT is gone, although its runs are still there."""
    if await is_gone(execution):
        return True
    if execution.status != WorkflowExecutionStatus.TERMINATED:
        return False
    # A deletion starts another run under the id, which is not listed as a stream.
    handle = gateway.link.client.get_workflow_handle(execution.id)
    try:
        current = await gateway.link.call(handle.describe(), execution.id)
    except StreamNotFoundError:
        return True
    return current.run_id != execution.run_id


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat().replace("+00:00", "Z")
