"""Lists streams from Temporal's visibility store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from temporalio.client import WorkflowExecution, WorkflowExecutionAsyncIterator
from temporalio.service import RPCError, RPCStatusCode

from ... import wire
from ...rpc import explain
from ..columns import Columns
from ..exits import Exit
from ..output import Output, say
from ..session import ActionError
from ..text import shown
from .connection import open_client
from .rendering import iso, json_line, short_time

State = Literal["running", "closed", "all"]

_CONDITIONS: dict[State, str] = {
    "running": "ExecutionStatus = 'Running'",
    # A run that has been continued is none that has ended: its stream goes on.
    "closed": "ExecutionStatus NOT IN ('Running', 'ContinuedAsNew')",
    "all": "ExecutionStatus != 'ContinuedAsNew'",
}
_TITLES = ("ID", "STATUS", "TYPE", "HOST", "STARTED", "ENDED", "EVENTS")
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
    output, limit = Output(), wanted.limit
    titles = [title for title in _TITLES if title != "HOST" or wanted.contrib]
    table = Columns(*titles, right=["EVENTS"])
    client = await open_client()
    # One more than is shown tells whether there are more.
    page_size = _LARGEST_PAGE if limit is None else min(_LARGEST_PAGE, limit + 1)
    query = visibility_query(wanted.state, wanted.contrib, wanted.query)
    pages, count = client.list_workflows(query, page_size=page_size), 0
    while True:
        page = await _next_page(pages)
        streams = page if limit is None else page[: limit - count]
        if wanted.as_json:
            output.write("".join(json_line(**_members(stream)) for stream in streams))
        elif page or not count:
            rows = [[_row(stream)[title] for title in titles] for stream in streams]
            output.write(table.lines(rows, head=not count, style=output.style))
        count += len(streams)
        if len(streams) < len(page):
            say(f"there are more than {limit}; --limit shows more")
            return Exit.DONE
        if not pages.next_page_token:
            return Exit.DONE


async def _next_page(pages: WorkflowExecutionAsyncIterator) -> list[WorkflowExecution]:
    try:
        await pages.fetch_next_page()
    except RPCError as err:
        if err.status == RPCStatusCode.INVALID_ARGUMENT:
            raise ActionError(f"the server refuses the filter: {err.message}", Exit.USAGE) from err
        raise explain(err, "*") from err
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


def _members(stream: WorkflowExecution) -> dict[str, Any]:
    return {
        "workflow_id": stream.id,
        "run_id": stream.run_id,
        "workflow_type": stream.workflow_type,
        "status": _status(stream),
        "host": _host(stream),
        "task_queue": stream.task_queue,
        "start_time": iso(stream.start_time),
        "close_time": None if stream.close_time is None else iso(stream.close_time),
        "events": stream.history_length,
        "size_bytes": stream.raw_info.history_size_bytes,
    }


def _row(stream: WorkflowExecution) -> dict[str, str]:
    return {
        "ID": shown(stream.id),
        "STATUS": _status(stream),
        "TYPE": shown(stream.workflow_type),
        "HOST": _host(stream),
        "STARTED": short_time(stream.start_time),
        "ENDED": short_time(stream.close_time) if stream.close_time else "-",
        "EVENTS": str(stream.history_length),
    }


def _status(stream: WorkflowExecution) -> str:
    return "unknown" if stream.status is None else stream.status.name.lower()


def _host(stream: WorkflowExecution) -> str:
    versions = stream.search_attributes.get("TemporalChangeVersion", [])
    return "workflow_streams" if wire.PATCH_ID in versions else "contrib"
