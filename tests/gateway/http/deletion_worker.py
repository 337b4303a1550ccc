"""Runs a worker for hosted streams that deletes one run, and then stands still.

It is soon missed when it is killed. Arguments: Temporal's address and the task queue.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client

from workflow_streams import connect
from workflow_streams.hosted import deletion as hosted_deletion
from workflow_streams.hosted.worker import run_host_worker

from ...parents import end_with_the_tests

_delete_run = hosted_deletion.delete_run
_deleted: list[str] = []


async def delete_one_run(client: Client, workflow_id: str, run_id: str) -> None:
    if not _deleted:
        await _delete_run(client, workflow_id, run_id)
        _deleted.append(run_id)
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.2)


async def main(address: str, queue: str) -> None:
    hosted_deletion._HEARTBEAT = timedelta(seconds=2)
    hosted_deletion.delete_run = delete_one_run
    client = await connect(target_host=address, tls=False, api_key=None)
    await run_host_worker(client, task_queue=queue)


if __name__ == "__main__":
    end_with_the_tests()
    asyncio.run(main(*sys.argv[1:]))
