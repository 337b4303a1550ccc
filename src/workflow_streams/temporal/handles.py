"""Reads what the SDK's handles hold under private names only."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, WorkflowHandle


def client_of(handle: WorkflowHandle[Any, Any]) -> Client:
    """Return the client that a handle makes its calls with."""
    client: Client = handle._client  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return client
