"""Serves a gateway whose worker cannot end, since a workflow of its cannot be put out of its cache.

Arguments: how it is served ("command" or "uvicorn"), Temporal's address, the port, the task queue.
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import uvicorn
from temporalio import workflow

from workflow_streams import connect
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.hosted import host as hosted
from workflow_streams.hosted import worker

from ...parents import end_with_the_tests


@workflow.defn(name=hosted.HOST_WORKFLOW, sandboxed=False)
class StuckHost:
    @workflow.run
    async def run(self, _: hosted.HostInput) -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except GeneratorExit:
                raise
            except BaseException:
                continue

    @workflow.signal
    def stumble(self) -> None:
        raise RuntimeError("a fault")


if __name__ == "__main__":
    end_with_the_tests()
    how, address, port, queue = sys.argv[1:]
    setattr(worker, "WorkflowStreamHost", StuckHost)  # noqa: B010 # what the worker runs
    if how == "command":
        from workflow_streams.cli import main

        sys.argv = ["workflow-streams", "gateway", "--port", port, "--host-task-queue", queue]
        main()
    settings = GatewaySettings(host_task_queue=queue, shutdown_seconds=1)
    app = create_app(partial(connect, target_host=address, tls=False, api_key=None), settings)
    uvicorn.run(app, port=int(port))
