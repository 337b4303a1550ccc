"""The order promise: memory of the workflow, our reader and the contrib's reader agree."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.service import RPCError
from temporalio.worker import Worker

from workflow_streams import WorkflowStreamClient, wire

from .chaos import Chaos, ChaosInput
from .polling import polled_values

SEEDS = range(int(os.environ.get("CHAOS_SEEDS", "6")))


def batch(publisher: str, sequence: int, *values: str) -> RawValue:
    entries = [
        wire.entry_json("out", wire.encode_payload(wire.json_payload(f'"{v}"'.encode())))
        for v in values
    ]
    return RawValue(wire.batch_payload(entries, publisher, sequence))


async def publish(client: Client, workflow_id: str, name: str, dice: random.Random) -> None:
    """Send numbered batches, some twice, with signals and updates in between."""
    handle = client.get_workflow_handle(workflow_id)
    for sequence in range(1, 25):
        message = batch(name, sequence, f"{name} {sequence} a", f"{name} {sequence} b")
        for _ in range(dice.choice([1, 1, 2])):
            await handle.signal(wire.PUBLISH_SIGNAL, message)
        if dice.random() < 0.3:
            await handle.signal(Chaos.handler, sequence)
        if dice.random() < 0.1:
            # A run that is rolling over may drop an update that it has not yet taken.
            with suppress(RPCError, WorkflowUpdateFailedError):
                await handle.execute_update(Chaos.update, sequence)
        await asyncio.sleep(dice.random() * 0.02)


async def restart_workers(client: Client, queue: str, cached: int, dice: random.Random) -> None:
    """Run one worker after the other, until cancelled."""
    while True:
        worker = Worker(
            client,
            task_queue=queue,
            workflows=[Chaos],
            max_cached_workflows=cached,
            # Else the tasks of a worker that has gone wait 10 s for it.
            sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=100),
        )
        async with worker:
            await asyncio.sleep(0.3 + dice.random())


async def raw_values(stream: Any) -> list[tuple[int, bytes]]:
    return [(i.offset, i.data.payload.data) async for i in stream.subscribe(result_type=RawValue)]


@pytest.mark.parametrize("seed", SEEDS)
async def test_memory_and_history_agree(client: Client, unique: Any, seed: int) -> None:
    dice = random.Random(seed)
    workflow_id = unique("chaos")
    workers = asyncio.create_task(
        restart_workers(client, workflow_id, 0 if seed % 2 else 1000, dice)
    )
    try:
        handle = await client.start_workflow(
            Chaos.run,
            ChaosInput(),
            id=workflow_id,
            task_queue=workflow_id,
            start_signal=wire.PUBLISH_SIGNAL,
            start_signal_args=[batch("starter", 1, "with the start")],
        )
        ours = asyncio.create_task(raw_values(WorkflowStreamClient.create(client, workflow_id)))
        theirs = asyncio.create_task(polled_values(client, workflow_id))
        async with asyncio.TaskGroup() as group:
            for k in range(4):
                group.create_task(publish(client, workflow_id, f"p{k}", random.Random(seed + k)))
        result = asyncio.create_task(handle.result())
        while not result.done():
            with suppress(RPCError):
                await client.get_workflow_handle(workflow_id).signal(Chaos.finish)
            await asyncio.wait([result], timeout=0.5)
        memory = [(i, value.encode()) for i, value in enumerate(await result)]
        assert await asyncio.wait_for(ours, 20) == memory
        assert await asyncio.wait_for(theirs, 20) == memory
        again = await raw_values(WorkflowStreamClient.create(client, workflow_id))
        assert again == memory
        for k in range(4):
            mine = [v for _, v in memory if v.startswith(b'"p%d ' % k)]
            assert mine == [b'"p%d %d %c"' % (k, n, c) for n in range(1, 25) for c in b"ab"]
    finally:
        workers.cancel()
        with suppress(asyncio.CancelledError):
            await workers
