"""What is compared: this package, the contrib, and the server alone."""

from __future__ import annotations

import importlib
from datetime import timedelta
from types import ModuleType
from typing import Any, Literal

from temporalio.client import Client

Side = Literal["ours", "contrib", "floor"]

SIDES: tuple[Side, ...] = ("ours", "contrib", "floor")

LIBRARIES: dict[Side, str] = {
    "ours": "workflow_streams",
    "contrib": "temporalio.contrib.workflow_streams",
}

# No batch of the contrib may be larger: it sends its whole buffer as one signal, and the server
# takes 2 MiB. Ours splits by itself.
CONTRIB_CHUNK = 2_000


def host_of(side: Side) -> ModuleType:
    """Return the module with the side's workflow."""
    return importlib.import_module(f"benchmarks.hosts.{side}")


def stream_client(side: Side, client: Client, workflow_id: str, **options: Any) -> Any:
    """Make the side's `WorkflowStreamClient`; both are called the same way."""
    library = importlib.import_module(LIBRARIES[side])
    return library.WorkflowStreamClient.create(client, workflow_id, **options)


async def connect(side: Side, address: str) -> Client:
    """Connect as a user of the side would."""
    if side == "ours":
        from workflow_streams import connect as connect_ours

        return await connect_ours(target_host=address, namespace="default")
    return await Client.connect(address)


def milliseconds(value: float) -> timedelta:
    """Return the options' form of a time in milliseconds."""
    return timedelta(milliseconds=value)
