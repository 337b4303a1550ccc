"""Serves one side's workflow."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.worker import Worker

from ..sides import Side, connect, host_of
from .talk import Talk


async def run(
    talk: Talk, *, side: Side, address: str, task_queue: str, plain: bool = False
) -> None:
    """Serve until the benchmark says otherwise; ``plain`` leaves the plugin out."""
    client = await (Client.connect(address) if plain else connect(side, address))
    async with Worker(client, task_queue=task_queue, workflows=[host_of(side).Host]):
        talk.say(ready=True)
        await talk.word()
