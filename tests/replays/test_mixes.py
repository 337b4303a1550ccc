"""What handlers see of a stream is the same when it happens and in each replay.

Random mixes of publishes, signals, updates and polls, before a worker is there and while one is,
in runs that roll over, are carried out by a worker that keeps its workflows in memory. Then each
run is replayed from its history; what its handlers saw has to be what they had seen.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import (
    Client,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
    WorkflowUpdateStage,
)
from temporalio.common import RawValue
from temporalio.service import RPCError
from temporalio.worker import Replayer, Worker
from temporalio.worker._workflow_instance import (
    _WorkflowLogicFlag,  # pyright: ignore[reportPrivateUsage]
)

from tests.read.hosts import Host, HostInput
from tests.read.story import next_run, run_id_of, story
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload

from .mix_host import Mix, MixInput, nap

SEEDS = range(int(os.environ.get("MIX_FIRST", "0")), int(os.environ.get("MIX_SEEDS", "12")))
SINGLE_BATCH = _WorkflowLogicFlag.PROCESS_WORKFLOW_ACTIVATION_JOBS_AS_SINGLE_BATCH
JUNK: list[list[Any]] = [[], [1], ["text"], [{"items": 1}], [{"items": []}, 2]]


def batch(publisher: str, sequence: int, count: int) -> RawValue:
    entries = [entry_of("out", json_payload(b'"%d"' % i)) for i in range(count)]
    return RawValue(batch_payload(entries, publisher, sequence))


class Sender:
    """Sends a random mix to one workflow."""

    def __init__(
        self, handle: WorkflowHandle[Any, Any], dice: random.Random, mix: MixInput
    ) -> None:
        self._handle = handle
        self._updates = ["ask", "ask_later"]
        if mix.own_handlers:
            self._updates.append("registered update")
        if not mix.own_task:
            self._updates.append("no such update")
        self._dice = dice
        self._sequence = 0
        self._number = 0

    async def send(self, count: int, pause: float) -> None:
        """Send so many messages, one after the other."""
        for _ in range(count):
            await self._one()
            await asyncio.sleep(self._dice.random() * pause)

    async def _one(self) -> None:
        self._number += 1
        roll = self._dice.random()
        if roll < 0.4:
            self._sequence += self._dice.choice([1, 1, 1, 0])
            message = batch("p", self._sequence, self._dice.randint(0, 4))
            await self._handle.signal(wire.PUBLISH_SIGNAL, message)
        elif roll < 0.45:
            await self._handle.signal(wire.PUBLISH_SIGNAL, args=self._dice.choice(JUNK))
        elif roll < 0.75:
            name = self._dice.choice(
                ["look_now", "look_later", "registered", "work_here", "tell_here"]
            )
            await self._handle.signal(name, self._number)
        elif roll < 0.93:
            await self._update(self._dice.choice(self._updates), self._number)
        else:
            offset = self._dice.randint(0, 30)
            await self._update(wire.POLL, wire.PollInput([], offset))

    async def _update(self, name: str, argument: Any) -> None:
        """Have an update admitted, and wait for no answer of it."""
        waiting = asyncio.create_task(
            self._handle.start_update(
                name, argument, wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                rpc_timeout=timedelta(seconds=0.1 + self._dice.random()),
            )
        )  # fmt: skip
        background.add(waiting)
        waiting.add_done_callback(background.discard)
        await asyncio.sleep(0.01)


background: set[asyncio.Task[Any]] = set()


@asynccontextmanager
async def working(
    client: Client, queue: str, *, cached: int = 1000, single_batch: bool = False
) -> AsyncIterator[None]:
    worker = Worker(
        client,
        task_queue=queue,
        workflows=[Mix, Host],
        activities=[nap],
        max_cached_workflows=cached,
        sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=200),
    )
    if single_batch:
        worker._set_default_workflow_logic_flag(SINGLE_BATCH, enabled=True)
    async with worker:
        yield


async def eventually(call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Make a call again until a worker answers it."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except RPCError:
                await asyncio.sleep(0.05)


def mix_of(dice: random.Random, name: str) -> MixInput:
    """Choose how the workflow behaves.

    What is begun in a constructor runs at another time in a replay, whatever it does, if the
    user's own code sets a patch marker in the first task or rejects an update there.
    """
    own_handlers, own_task = dice.random() < 0.5, dice.random() < 0.3
    return MixInput(
        rolls=dice.choice([0, 1, 2]),
        keep_last=dice.choice([None, None, 9]),
        own_handlers=own_handlers,
        own_task=own_task,
        patch=not own_handlers and not own_task and dice.random() < 0.4,
        other=f"{name} other" if dice.random() < 0.6 else None,
    )


@pytest.mark.parametrize("seed", SEEDS)
async def test_handlers_see_the_same_in_a_replay(
    client: Client, unique: Callable[[str], str], seed: int
) -> None:
    dice = random.Random(seed)
    name = unique("mix")
    mix = mix_of(dice, name)
    single_batch = dice.random() < 0.3
    if mix.other is not None:
        await client.start_workflow(Host.run, HostInput(), id=mix.other, task_queue=name)
    # Local activities make a task last; one that nears its timeout is done in several.
    task_timeout = timedelta(seconds=dice.choice([1, 10]))
    handle = await client.start_workflow(
        Mix.run, mix, id=name, task_queue=name, task_timeout=task_timeout
    )
    handle = client.get_workflow_handle(name)
    runs = [await run_id_of(handle)]
    sender = Sender(handle, dice, mix)
    try:
        if dice.random() < 0.8:
            await sender.send(dice.randint(1, 30), 0)
        async with working(client, name, single_batch=single_batch):
            for _ in range(mix.rolls):
                await sender.send(dice.randint(0, 25), 0.02)
                await handle.signal(Mix.roll)
                sending = asyncio.create_task(sender.send(dice.randint(5, 25), 0.005))
                runs.append(await next_run(handle, runs[-1]))
                await sending
            await sender.send(dice.randint(5, 25), 0.02)
            await handle.signal(Mix.finish)
            await sender_is_done()
            async with asyncio.timeout(60):
                await handle.result()
            seen = [
                await eventually(
                    lambda r=run: client.get_workflow_handle(name, run_id=r).query(Mix.sights)
                )
                for run in runs
            ]
        for run in runs:
            history = await client.get_workflow_handle(name, run_id=run).fetch_history()
            replayer = Replayer(workflows=[Mix])
            if single_batch:
                replayer._set_default_workflow_logic_flag(SINGLE_BATCH, enabled=True)
            await replayer.replay_workflow(history)
        async with working(client, name, cached=0):
            again = [
                await eventually(
                    lambda r=run: client.get_workflow_handle(name, run_id=r).query(Mix.sights)
                )
                for run in runs
            ]
        assert again == seen
        if mix.other is not None:
            await told_in_order(client, mix.other)
    except BaseException:
        if folder := os.environ.get("MIX_HISTORIES"):
            for i, run in enumerate([*runs, await run_id_of(handle)]):
                history = await client.get_workflow_handle(name, run_id=run).fetch_history()
                await asyncio.to_thread(
                    Path(folder, f"{seed}-{i}.json").write_text, history.to_json()
                )
        raise
    finally:
        for task in background:
            task.cancel()
        await sender_is_done()


async def told_in_order(client: Client, name: str) -> None:
    """Check that what the runs told another stream stands there once, and in order."""
    await client.get_workflow_handle(name).terminate()
    told: dict[int, list[int]] = {}
    for line in await story(client, name):
        if line[0] != "end":
            run, number = map(int, line[1].split())
            told.setdefault(run, []).append(number)
    assert told == {run: list(range(len(numbers))) for run, numbers in told.items()}
    assert list(told) == sorted(told, reverse=True)


async def sender_is_done() -> None:
    """Wait for all updates that are still under way."""
    if background:
        await asyncio.wait(background)
    for task in list(background):
        if not task.cancelled():
            with suppress(
                RPCError, WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
            ):
                task.result()
