"""The worker of hosted streams: their hosts, and what is to be done when a stream is gone."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.worker import Worker

from ..arguments import text_argument
from ..temporal.plugin import WorkflowStreamsPlugin, has_plugin
from .deletion import WorkflowStreamDeletion, delete_runs, end_runs
from .forking.parting import WorkflowStreamParting, part_fork
from .host import HOST_TASK_QUEUE, WorkflowStreamHost

# Replays of four full runs at the same time on one processor take 2.4 s, of the 3 s that a task may
# take (HOST_TASK_TIMEOUT). Tasks that wait for their turn hold nothing back.
_TASKS_AT_ONCE = 4


def host_worker(client: Client, *, task_queue: str = HOST_TASK_QUEUE) -> Worker:
    """Return a worker for hosted streams, to be used as ``async with``.

    It runs :class:`WorkflowStreamHost`, and deletes what is left of streams that were deleted.

    Args:
        client: Temporal client.
        task_queue: Task queue that the gateways start hosted streams on.

    Raises:
        UsageError: The task queue is no text.
    """
    text_argument("task_queue", task_queue)
    plugins = [] if has_plugin(client.config().get("plugins", [])) else [WorkflowStreamsPlugin()]
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[WorkflowStreamHost, WorkflowStreamDeletion, WorkflowStreamParting],
        activities=[end_runs, delete_runs, part_fork],
        max_concurrent_workflow_tasks=_TASKS_AT_ONCE,
        # Nobody waits for deletions, and each poll is one of the calls of which only so many may
        # wait at the server.
        max_concurrent_activities=4,
        max_concurrent_activity_task_polls=1,
        plugins=plugins,
    )


async def run_host_worker(client: Client, *, task_queue: str = HOST_TASK_QUEUE) -> None:
    """Run a worker for hosted streams until cancelled; see :func:`host_worker`.

    A gateway runs one by itself unless told otherwise. Run more where many hosted streams are
    written at once, or where gateways have no permission to be workers.
    """
    await host_worker(client, task_queue=task_queue).run()
