"""An activity that tells what it does on the stream of the workflow that runs it."""

from __future__ import annotations

import asyncio

from shared import ProgressEvent
from temporalio import activity

from workflow_streams import WorkflowStreamClient


@activity.defn
async def charge_card(order_id: str) -> str:
    """Charge the card for an order and return the charge id."""
    async with WorkflowStreamClient.from_within_activity() as stream:
        progress = stream.topic("progress", type=ProgressEvent)
        progress.publish(ProgressEvent("charging card..."))
        await asyncio.sleep(1)
        # Leaving the block sends what is buffered, so forcing a flush here is never needed.
        # It does no harm either: leaving waits for it.
        progress.publish(ProgressEvent("card charged"), force_flush=True)
    return f"charge-{order_id}"
