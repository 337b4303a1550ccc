"""Lists streams from Temporal's visibility store."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionAsyncIterator
from temporalio.service import RPCError, RPCStatusCode

from ...errors import CodecError
from ...hosted.host import HOST_WORKFLOW
from ...log import wire
from ...read.runs.gone import is_gone
from ...temporal.rpc import explain
from ..columns import Columns
from ..exits import Exit
from ..output import Output, say
from ..session import ActionError, status_of
from ..text import shown
from .connection import open_client
from .executions import host_of, members_of, seconds, state_of
from .rendering import json_line

State = Literal["running", "closed", "all"]

_CONDITIONS: dict[State, str] = {
    "running": "ExecutionStatus = 'Running'",
    # A run that was continued as new does not count as closed, since its stream goes on.
    "closed": "ExecutionStatus NOT IN ('Running', 'ContinuedAsNew')",
    "all": "ExecutionStatus != 'ContinuedAsNew'",
}
_TITLES = ("ID", "STATE", "TYPE", "HOST", "STARTED", "CLOSED", "EVENTS")
_LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which streams to list, and how; see the command's options."""

    state: State
    contrib: list[str]
    query: str | None
    limit: int | None
    as_json: bool


async def list_streams(wanted: Listing) -> int:
    """Write a line for each stream; return the exit status."""
    output, limit, count = Output(), wanted.limit, 0
    titles = [title for title in _TITLES if title != "HOST" or wanted.contrib]
    table = Columns(*titles, right=["EVENTS"])
    client = await open_client()
    query = visibility_query(wanted.state, wanted.contrib, wanted.query)
    # Ask for one more than is shown, to know whether there are more.
    page_size = _LARGEST_PAGE if limit is None else min(_LARGEST_PAGE, limit + 1)
    async with aclosing(_pages(client, query, page_size)) as pages:
        async for page in pages:
            streams = page if limit is None else page[: limit - count]
            if wanted.as_json:
                output.write("".join(json_line(**stream) for stream in streams))
            elif streams:
                rows = [[_row(stream)[title] for title in titles] for stream in streams]
                output.write(table.lines(rows, head=not count, style=output.style))
            count += len(streams)
            if len(streams) < len(page):
                say(f"there are more than {limit}; --limit shows more")
                break
    if not count and not wanted.as_json:
        say("there are none")
    return Exit.DONE


async def _pages(
    client: Client, query: str, page_size: int
) -> AsyncGenerator[list[dict[str, Any]]]:
    """Yield streams, one of the server's pages at a time."""
    found = client.list_workflows(query, page_size=page_size)
    seen: set[str] = set()
    while True:
        page: list[dict[str, Any]] = []
        for stream in await _next_page(found):
            # An id may have been used before. The first workflow listed is the newest: the stream.
            if stream.id not in seen and not await _is_gone(stream):
                page.append(_members(stream))
            seen.add(stream.id)
        yield page
        if not found.next_page_token:
            return


async def _next_page(pages: WorkflowExecutionAsyncIterator) -> list[WorkflowExecution]:
    try:
        await pages.fetch_next_page()
    except RPCError as err:
        if err.status == RPCStatusCode.INVALID_ARGUMENT:
            raise ActionError(f"the server refuses the filter: {err.message}", Exit.USAGE) from err
        raise ActionError(err.message, status_of(explain(err, "*"))) from err
    return list(pages.current_page or ())


def visibility_query(state: State, contrib: Sequence[str], more: str | None) -> str:
    """Return the list filter that finds streams."""
    streams = f"TemporalChangeVersion = {_quoted(wire.PATCH_ID)}"
    for workflow_type in contrib:
        streams += f" OR WorkflowType = {_quoted(workflow_type)}"
    query = f"({streams}) AND {_CONDITIONS[state]}"
    return f"{query} AND ({more})" if more else query


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


async def _is_gone(stream: WorkflowExecution) -> bool:
    """Whether a stream made over HTTP has been deleted or has expired."""
    if stream.workflow_type != HOST_WORKFLOW:
        return False
    try:
        return await is_gone(stream)
    except CodecError:
        return False  # not readable without the codec, so show it


def _members(stream: WorkflowExecution) -> dict[str, Any]:
    about = {"id": stream.id, "type": stream.workflow_type, "task_queue": stream.task_queue}
    found = about | members_of(stream) | {"host": host_of(stream)}
    if found["state"] == "running":
        # The visibility store gets these only when the workflow ends.
        found |= {"events": None, "size_bytes": None}
    return found


def _row(found: dict[str, Any]) -> dict[str, str]:
    return {
        "ID": shown(found["id"]),
        "STATE": state_of(found),
        "TYPE": shown(found["type"]),
        "HOST": found["host"],
        "STARTED": seconds(found["started"]),
        "CLOSED": seconds(found["closed"]),
        "EVENTS": "-" if found["events"] is None else str(found["events"]),
    }
