"""Reads what the SDK's handles and descriptions hold under private or raw names only."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, WorkflowExecutionDescription, WorkflowHandle


def client_of(handle: WorkflowHandle[Any, Any]) -> Client:
    """Return the client that a handle makes its calls with."""
    client: Client = handle._client  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return client


def first_run_of(described: WorkflowExecutionDescription) -> str:
    """Return the first run of the chain that a run belongs to, through retry, cron and reset."""
    return described.raw_description.workflow_execution_info.first_run_id
