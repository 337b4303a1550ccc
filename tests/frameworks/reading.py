"""A stream, read while its workflow runs and again when it is over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from tests.read.story import Line, following, story


async def played(
    client: Client,
    name: str,
    workflow: Callable[..., Any],
    argument: Any,
    *,
    reader: Client | None = None,
    **worker: Any,
) -> list[Line]:
    """Run the workflow to its end; return what readers are told, early and late ones the same.

    Args:
        client: The worker's.
        name: Id of the workflow, and task queue.
        workflow: Its run method.
        argument: What it is started with.
        reader: The readers' client, if it is another one.
        **worker: Further arguments of the worker.
    """
    reader = reader or client
    async with Worker(client, task_queue=name, **worker):
        handle = await client.start_workflow(workflow, argument, id=name, task_queue=name)
        async with following(reader, name) as early:
            await handle.result()
            lines = await early.end()
        assert await story(reader, name) == lines
    return lines
