"""Ticker: the stream as a ring buffer, read by a fast and by a slow subscriber.

Shows that a subscriber which falls behind a truncation is told exactly what it lost: the stream
reports the gap, and reading goes on behind it. The fast subscriber, on the same stream in the
same process, loses nothing and is not slowed down.

Run: `uv run samples/run_worker.py`, and beside it `uv run samples/run_truncating_ticker.py`.
"""

from __future__ import annotations

import asyncio

from lifecycle import report_failure, run
from shared import TASK_QUEUE, TickerInput, TickEvent, new_workflow_id
from temporalio.client import Client
from workflows.ticker_workflow import TickerWorkflow

from workflow_streams import End, Gap, Item, WorkflowStreamClient, connect

LANE_WIDTH = 32
FAST, SLOW = 0, 1
SLOW_SECONDS_PER_ITEM = 1.5


def show(lane: int, text: str) -> None:
    """Print `text` in one of the two lanes."""
    lanes = ["", ""]
    lanes[lane] = text
    print("".join(f"{part:<{LANE_WIDTH}}" for part in lanes).rstrip())


async def subscribe(client: Client, workflow_id: str, lane: int, seconds_per_item: float) -> End:
    """Follow the ticks to the end, at a given pace, and return how the stream ended."""
    stream = WorkflowStreamClient.create(client, workflow_id)
    async for event in stream.topic("tick", type=TickEvent).follow():
        match event:
            case Item(data=TickEvent(n), offset=offset):
                show(lane, f"offset={offset} n={n}")
                await asyncio.sleep(seconds_per_item)
            case Gap(start=start, end=end, count=count):
                show(lane, f"↪ jumped offset={start} → {end} ({count} dropped)")
            case End():
                show(lane, "end of stream")
                return event
    raise AssertionError("a stream that is over always says so")


async def main() -> int:
    """Start a ticker and read it twice at once."""
    client = await connect()
    handle = await client.start_workflow(
        TickerWorkflow.run,
        TickerInput(count=30, keep_last=1, truncate_every=2, interval_ms=200),
        id=new_workflow_id("ticker"),
        task_queue=TASK_QUEUE,
    )
    show(FAST, "fast")
    show(SLOW, f"slow ({SLOW_SECONDS_PER_ITEM} s per item)")
    async with asyncio.TaskGroup() as tasks:
        fast = tasks.create_task(subscribe(client, handle.id, FAST, 0))
        tasks.create_task(subscribe(client, handle.id, SLOW, SLOW_SECONDS_PER_ITEM))
    if fast.result().outcome != "completed":
        return report_failure(fast.result())
    print(f"workflow result: {await handle.result()}")
    return 0


if __name__ == "__main__":
    run(main)
