"""Facts about a stream's workflow from Temporal, in the same words as the gateway uses."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from temporalio.client import WorkflowExecution, WorkflowExecutionStatus

from ...log import wire


def members_of(execution: WorkflowExecution) -> dict[str, Any]:
    """Return a run's facts as members of a JSON object."""
    running = execution.status == WorkflowExecutionStatus.RUNNING
    status = execution.status.name.lower() if execution.status is not None else None
    return {
        "run_id": execution.run_id,
        "state": "running" if running else "closed",
        "outcome": None if running else status,
        "started": iso(execution.start_time),
        "closed": None if execution.close_time is None else iso(execution.close_time),
        "events": execution.history_length,
        "size_bytes": execution.raw_info.history_size_bytes,
    }


def host_of(execution: WorkflowExecution) -> str:
    """Return which package hosts the stream."""
    versions = execution.search_attributes.get("TemporalChangeVersion", [])
    return "workflow_streams" if wire.PATCH_ID in versions else "contrib"


def state_of(found: dict[str, Any]) -> str:
    """Return in one word the state of a run, or how it ended."""
    return str(found["outcome"] or found["state"])


def iso(time: datetime) -> str:
    """Return a time in UTC, in the format of RFC 3339."""
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")


def seconds(time: str | None) -> str:
    """Return a time from :func:`iso`, cut to the second; "-" for None."""
    return "-" if time is None else f"{time[:19]}Z"
