"""The contrib's client as a reader that outlives restarts of the worker."""

from __future__ import annotations

import temporalio.contrib.workflow_streams as contrib
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.service import RPCError

# The server's words when a task failed, when a worker left with the update, and when none stayed
# for long enough to answer.
_PASSING = ("task failure", "context canceled", "Timeout expired")


async def polled_values(
    client: Client, workflow_id: str, values: list[tuple[int, bytes]] | None = None
) -> list[tuple[int, bytes]]:
    """Read to the end, into `values`; the contrib's client gives up when a task fails."""
    values = [] if values is None else values
    while True:
        stream = contrib.WorkflowStreamClient.create(client, workflow_id)
        start = values[-1][0] + 1 if values else 0
        try:
            items = stream.subscribe(from_offset=start, result_type=RawValue)
            async for item in items:
                values.append((item.offset, item.data.payload.data))
            return values
        except RPCError as err:
            if not any(words in err.message for words in _PASSING):
                raise
