"""A worker in a process of its own, to be killed or stopped: `ADDRESS QUEUE`."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio.client import Client
from temporalio.worker import Worker

from .hosts import Host
from .tellers import Teller, tell


async def main() -> None:
    address, queue = sys.argv[1:]
    client = await Client.connect(address)
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[Host, Teller],
        activities=[tell],
        # The server hands tasks to a stopped process as long as one of its polls is open.
        max_concurrent_activity_task_polls=1,
        max_concurrent_workflow_task_polls=2,
        # Tasks that were meant for a worker before this one wait no longer for it.
        sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=100),
    )
    async with worker:
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
