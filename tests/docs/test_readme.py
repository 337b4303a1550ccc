"""The README's workflow, activity and reader, run as they stand there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

TOLD = """\
0 status received
1 progress charging card...
2 progress card charged
3 status complete
over: completed
"""


async def test_what_the_readme_shows_does_what_it_says(
    client: Client,
    unique: Callable[[str], str],
    load: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    readme, name = load("README.md"), unique("readme")
    workflow = readme.OrderWorkflow
    async with Worker(
        client, task_queue=name, workflows=[workflow], activities=[readme.charge_card]
    ):
        await client.start_workflow(
            workflow.run, readme.OrderInput("order-1"), id=name, task_queue=name
        )
        # Live: the workflow runs while this reads.
        await asyncio.wait_for(readme.watch(client, name), 100)
        assert capsys.readouterr().out == TOLD
        assert await client.get_workflow_handle(name).result() == "charge-order-1"
    # And once more, with no worker.
    await asyncio.wait_for(readme.watch(client, name), 100)
    assert capsys.readouterr().out == TOLD


async def test_the_readme_tells_what_was_not_delivered(
    client: Client, unique: Callable[[str], str], load: Callable[[str], Any]
) -> None:
    readme, name = load("README.md"), unique("readme")
    assert await readme.notify(client, name, "hello") == f"there is no stream {name}"
    async with Worker(
        client, task_queue=name, workflows=[readme.OrderWorkflow], activities=[readme.charge_card]
    ):
        order = readme.OrderInput("order-1")
        await client.start_workflow(readme.OrderWorkflow.run, order, id=name, task_queue=name)
        await client.get_workflow_handle(name).result()
    told = await readme.notify(client, name, "hello")
    assert told.startswith("1 items were not delivered: ")
    assert "has ended" in told
