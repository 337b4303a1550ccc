"""The order promise: memory of the workflow, our reader and the contrib's reader agree.

Whatever comes between: restarts of the worker and of the run, duplicates, signals that are no
batch, truncation, a ring buffer, an activity that is retried.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import re
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.service import RPCError
from temporalio.worker import Worker

from workflow_streams import End, Gap, Item, Rewind, WorkflowStreamClient
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload

from .chaos import Chaos, ChaosInput, ChaosResult, flaky
from .polling import polled_values

MODES = ("all", "truncate", "ring")
JUNK: list[list[Any]] = [[], [1], ["text"], [{"items": 1}], [{"items": []}, 2]]
Line = tuple[int, bytes] | Gap | Rewind | End
SEEDS = range(int(os.environ.get("CHAOS_SEEDS", "6")))


def batch(publisher: str, sequence: int, *values: str) -> RawValue:
    entries = [entry_of("out", json_payload(f'"{v}"'.encode())) for v in values]
    return RawValue(batch_payload(entries, publisher, sequence))


async def publish(client: Client, workflow_id: str, name: str, dice: random.Random) -> int:
    """Send numbered batches, some twice, with signals and updates in between.

    Returns how many of the signals were malformed.
    """
    handle = client.get_workflow_handle(workflow_id)
    malformed = 0
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
        if dice.random() < 0.1:
            await handle.signal(wire.PUBLISH_SIGNAL, args=dice.choice(JUNK))
            malformed += 1
        await asyncio.sleep(dice.random() * 0.02)
    return malformed


async def restart_workers(client: Client, queue: str, cached: int, dice: random.Random) -> None:
    """Run one worker after the other, until cancelled.

    Each lives longer than the one before it, so that a slow machine comes to an end, too.
    """
    for longer in itertools.count():
        worker = Worker(
            client,
            task_queue=queue,
            workflows=[Chaos],
            activities=[flaky],
            max_cached_workflows=cached,
            # Else the tasks of a worker that has gone wait 10 s for it.
            sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=100),
        )
        async with worker:
            await asyncio.sleep((0.3 + dice.random()) * 1.1**longer)


async def told(stream: WorkflowStreamClient, start: int = 0) -> list[Line]:
    return [
        (event.offset, event.data.payload.data) if isinstance(event, Item) else event
        async for event in stream.follow(from_offset=start, result_type=RawValue)
    ]


def read(lines: list[Line], result: ChaosResult, start: int = 0) -> list[range]:
    """Check that a story is that of the memory; return what was taken back."""
    position, taken_back = start, list[range]()
    for i, line in enumerate(lines):
        match line:
            case Gap(first, end, reason):
                assert (first, reason) == (position, "truncated")
                assert end <= result.base
                position = end
            case Rewind(ranges, reason):
                assert reason == "attempt"
                taken_back += ranges
            case End(outcome, offset):
                assert (i, outcome, offset) == (len(lines) - 1, "completed", position)
            case offset, value:
                if position == start == 0:
                    # Who starts at 0 asks for what there is, and is told of no gap.
                    position = min(offset, result.base)
                assert (offset, value.decode()) == result.memory[position]
                position += 1
    assert position == len(result.memory)
    assert isinstance(lines[-1], End)
    return taken_back


def offsets_of(values: list[tuple[int, bytes]], result: ChaosResult) -> list[int]:
    """Check items of a reader that is told of nothing else; return their offsets."""
    offsets = [offset for offset, _ in values]
    assert offsets == sorted(set(offsets))
    assert [(o, v.decode()) for o, v in values] == [result.memory[o] for o in offsets]
    missed = set(range(len(result.memory))) - set(offsets)
    assert all(offset < result.base for offset in missed)
    return offsets


def superseded(memory: list[tuple[int, str]]) -> set[int]:
    """Offsets of what attempts wrote that were not the last ones of their run."""
    written: dict[str, dict[int, set[int]]] = {}
    for offset, value in memory:
        if found := re.fullmatch(r'"(run \d) attempt (\d+) (\d)"', value):
            run, attempt = found[1], int(found[2])
            written.setdefault(run, {}).setdefault(attempt, set()).add(offset)
    assert len(written) == 3
    for attempts in written.values():
        assert len(attempts.pop(max(attempts))) == 3
    return {offset for a in written.values() for offsets in a.values() for offset in offsets}


@pytest.mark.parametrize("seed", SEEDS)
async def test_memory_and_history_agree(client: Client, unique: Any, seed: int) -> None:
    dice = random.Random(seed)
    mode, workflow_id = MODES[seed % 3], unique("chaos")
    cached = 0 if seed % 2 else 1000
    tasks: list[asyncio.Task[Any]] = [
        asyncio.create_task(restart_workers(client, workflow_id, cached, dice))
    ]
    try:
        handle = await client.start_workflow(
            Chaos.run,
            ChaosInput(mode=mode),
            id=workflow_id,
            task_queue=workflow_id,
            task_timeout=timedelta(seconds=3),
            start_signal=wire.PUBLISH_SIGNAL,
            start_signal_args=[batch("starter", 1, "with the start")],
        )
        stream = WorkflowStreamClient.create(client, workflow_id)
        tasks += [
            ours := asyncio.create_task(told(stream)),
            theirs := asyncio.create_task(polled_values(client, workflow_id)),
        ]
        publishing = [
            asyncio.create_task(publish(client, workflow_id, f"p{k}", random.Random(seed + k)))
            for k in range(4)
        ]
        malformed = sum(await asyncio.gather(*publishing))
        done = asyncio.create_task(handle.result())
        while not done.done():
            with suppress(RPCError):
                await client.get_workflow_handle(workflow_id).signal(Chaos.finish)
            await asyncio.wait([done], timeout=0.5)
        result = await done
        memory, base = result.memory, result.base
        assert [offset for offset, _ in memory] == list(range(len(memory)))
        assert result.malformed == malformed
        assert (base == 0) == (mode == "all")
        for k in range(4):
            mine = [v for _, v in memory if v.startswith(f'"p{k} ')]
            assert mine == [f'"p{k} {n} {c}"' for n in range(1, 25) for c in "ab"]

        lines = await asyncio.wait_for(ours, 100)
        seen = [line[0] for line in lines if isinstance(line, tuple)]
        taken_back = [o for part in read(lines, result) for o in part]
        gone = superseded(memory)
        assert len(taken_back) == len(set(taken_back))
        assert gone & set(seen) <= set(taken_back) <= gone
        polled = offsets_of(await asyncio.wait_for(theirs, 100), result)
        if mode == "all":
            assert seen == polled == list(range(len(memory)))
        # Afterwards, exactly what is retained is there.
        for start in (0, 1):
            again = await told(stream, start)
            read(again, result, start)
            items = [line[0] for line in again if isinstance(line, tuple)]
            assert items == list(range(max(base, start), len(memory)))
            gap = Gap(start, base, "truncated")
            assert [line for line in again if isinstance(line, Gap)] == [gap] * (base > start > 0)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()
