"""Order: a workflow and its activity publish, one subscription reads two typed topics.

Shows typed topics (each item comes decoded to the type that its topic is bound to), publishing
from workflow code and from an activity on one ordered stream, and the end of the stream: the
reader is told when the workflow is over and how it ended. No "done" item, no sleep, no race.

Run: `uv run samples/run_worker.py`, and beside it `uv run samples/run_publisher.py`.
"""

from __future__ import annotations

from lifecycle import report_failure, run
from shared import TASK_QUEUE, OrderInput, ProgressEvent, StatusEvent, new_workflow_id
from workflows.order_workflow import OrderWorkflow

from workflow_streams import End, Item, WorkflowStreamClient, connect


async def main() -> int:
    """Order something and show what becomes of it."""
    client = await connect()
    handle = await client.start_workflow(
        OrderWorkflow.run,
        OrderInput("order-1"),
        id=new_workflow_id("order"),
        task_queue=TASK_QUEUE,
    )
    stream = WorkflowStreamClient.create(client, handle.id)
    stream.topic("status", type=StatusEvent)
    stream.topic("progress", type=ProgressEvent)
    async for event in stream.follow(["status", "progress"]):
        match event:
            case Item(data=StatusEvent(kind, order_id)):
                print(f"[status] {kind}: order={order_id}")
            case Item(data=ProgressEvent(message)):
                print(f"[progress] {message}")
            case End(outcome="completed"):
                print(f"workflow result: {await handle.result()}")
            case End():
                return report_failure(event)
    return 0


if __name__ == "__main__":
    run(main)
