"""Hub: the workflow only hosts the stream; publisher and subscriber are both outside.

Shows publishing from any process that can reach the server, a subscriber alongside that needs no
more than `subscribe()`, and a stream that ends when its host is told to close.

Run: `uv run samples/run_worker.py`, and beside it `uv run samples/run_external_publisher.py`.
"""

from __future__ import annotations

import asyncio
import sys

from lifecycle import run
from shared import TASK_QUEUE, HubInput, NewsEvent, new_workflow_id
from temporalio.client import Client, WorkflowFailureError
from workflows.hub_workflow import HubWorkflow

from workflow_streams import WorkflowStreamClient, connect

HEADLINES = [
    "rates held",
    "merger announced",
    "outage resolved",
    "earnings beat",
    "regulator opens probe",
]
SECONDS_BETWEEN_HEADLINES = 0.5


async def publish(client: Client, workflow_id: str) -> None:
    """Publish the news, then close the hub.

    Leaving the `async with` block sends what is still buffered, so the hub gets everything
    before it gets the signal. (To wait for an item and learn its offset, `await news.send(…)`.)
    """
    async with WorkflowStreamClient.create(client, workflow_id) as stream:
        news = stream.topic("news", type=NewsEvent)
        for headline in HEADLINES:
            news.publish(NewsEvent(headline))
            print(f"[publisher] sent: {headline}")
            await asyncio.sleep(SECONDS_BETWEEN_HEADLINES)
    await client.get_workflow_handle(workflow_id).signal(HubWorkflow.close)
    print("[publisher] signaled close")


async def subscribe(client: Client, workflow_id: str) -> None:
    """Print the news until the hub has closed."""
    stream = WorkflowStreamClient.create(client, workflow_id)
    async for item in stream.topic("news", type=NewsEvent).subscribe():
        print(f"[subscriber] offset={item.offset}: {item.data.headline}")


async def main() -> int:
    """Start a hub and run publisher and subscriber side by side."""
    client = await connect()
    workflow_id = new_workflow_id("hub")
    handle = await client.start_workflow(
        HubWorkflow.run, HubInput(workflow_id), id=workflow_id, task_queue=TASK_QUEUE
    )
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(publish(client, workflow_id))
        tasks.create_task(subscribe(client, workflow_id))
    try:
        print(f"workflow result: {await handle.result()}")
    except WorkflowFailureError as error:
        print(f"workflow failed: {error.cause}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    run(main)
