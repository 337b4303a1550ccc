"""A publisher in a process of its own, to be killed: `ADDRESS WORKFLOW COUNT`."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio.client import Client

from workflow_streams import WorkflowStreamClient


async def main() -> None:
    """Publish the numbers up to COUNT, from the stream's head on."""
    address, workflow_id, count = sys.argv[1:]
    client = await Client.connect(address)
    stream = WorkflowStreamClient.create(
        client, workflow_id, batch_interval=timedelta(milliseconds=20)
    )
    begin = await stream.get_offset()
    async with stream:
        for value in range(begin, int(count)):
            stream.topic("t").publish(value)
            await asyncio.sleep(0.005)


if __name__ == "__main__":
    asyncio.run(main())
