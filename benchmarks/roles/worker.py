"""Serves one side's workflow."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.worker import Worker

from ..sides import Side, connect, host_of
from .talk import Talk


async def run(
    talk: Talk,
    *,
    side: Side,
    address: str,
    task_queue: str,
    plain: bool = False,
    cached: int = 1_000,
) -> None:
    """Serve until the benchmark says otherwise.

    Args:
        talk: The benchmark.
        side: Whose workflow.
        address: The server.
        task_queue: Where to serve.
        plain: Whether to leave the plugin out.
        cached: How many workflows stay in memory.
    """
    client = await (Client.connect(address) if plain else connect(side, address))
    workflows = [host_of(side).Host]
    async with Worker(
        client, task_queue=task_queue, workflows=workflows, max_cached_workflows=cached
    ):
        talk.say(ready=True)
        await talk.word()
