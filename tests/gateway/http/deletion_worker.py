"""Runs a worker for hosted streams that is soon missed when it is killed.

Arguments: Temporal's address and the task queue.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from workflow_streams import connect, hosted_deletion
from workflow_streams.hosted import run_host_worker


async def main(address: str, queue: str) -> None:
    hosted_deletion._HEARTBEAT = timedelta(seconds=2)
    client = await connect(target_host=address, tls=False, api_key=None)
    await run_host_worker(client, task_queue=queue)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
