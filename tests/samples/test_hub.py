"""Hub: publisher and subscriber apart, and a host that rolls over by itself."""

from __future__ import annotations

import asyncio
import base64
import random
import re
from collections.abc import Callable

import pytest
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient

from .conftest import Start

HEADLINES = [
    "rates held",
    "merger announced",
    "outage resolved",
    "earnings beat",
    "regulator opens probe",
]


@pytest.mark.usefixtures("worker")
def test_hub_passes_on_all_news_and_closes(start: Start) -> None:
    lines = start("run_external_publisher.py").finish()

    publisher = [line for line in lines if line.startswith("[publisher] ")]
    assert publisher == [
        *(f"[publisher] sent: {headline}" for headline in HEADLINES),
        "[publisher] signaled close",
    ]
    subscriber = [line for line in lines if line.startswith("[subscriber] ")]
    assert subscriber == [
        f"[subscriber] offset={n}: {headline}" for n, headline in enumerate(HEADLINES)
    ]
    for sent, received in zip(publisher, subscriber, strict=False):
        assert lines.index(sent) < lines.index(received)
    assert len(lines) == len(publisher) + len(subscriber) + 1
    assert re.fullmatch(r"workflow result: hub workflow-stream-hub-[0-9a-f]{8} closed", lines[-1])


@pytest.mark.usefixtures("worker")
async def test_hub_rolls_over_by_itself_and_readers_notice_nothing(
    client: Client, unique: Callable[[str], str], suffix: str
) -> None:
    hub_id = unique("hub")
    handle = await client.start_workflow(
        "HubWorkflow",
        {"hub_id": hub_id},
        id=hub_id,
        task_queue=f"workflow-stream-sample-task-queue{suffix}",
        result_type=str,
    )

    async def read() -> list[tuple[int, str]]:
        stream = WorkflowStreamClient.create(client, hub_id)
        return [(item.offset, item.data["headline"][:4]) async for item in stream.subscribe()]

    reading = asyncio.create_task(read())
    # The server suggests to roll over once a history has reached 4 MiB.
    async with WorkflowStreamClient.create(client, hub_id) as stream:
        for n in range(16):
            # Its text cannot be compressed.
            text = base64.b64encode(random.Random(n).randbytes(300_000)).decode()
            await stream.topic("news").send({"headline": f"{n:04} {text}"})
    runs = {handle.first_execution_run_id, (await handle.describe()).run_id}
    assert len(runs) == 2
    await handle.signal("close")
    assert await handle.result() == f"hub {hub_id} closed"
    assert await reading == [(n, f"{n:04}") for n in range(16)]
