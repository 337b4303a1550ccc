"""What the SDK's handles know and have no public name for."""

from __future__ import annotations

from typing import Any

from temporalio.client import Client, WorkflowHandle


def client_of(handle: WorkflowHandle[Any, Any]) -> Client:
    """Return the client that a handle calls by."""
    client: Client = handle._client  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return client
