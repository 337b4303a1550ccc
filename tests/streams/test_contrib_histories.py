"""Histories that the contrib's worker made, with all that its readers cause, replay under ours."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
import temporalio.contrib.workflow_streams as contrib
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateFailedError, WorkflowUpdateStage
from temporalio.worker import Replayer, Worker

from tests.faults.hosts import TASK_TIMEOUT
from tests.read.story import SECONDS, following, items, next_run, run_id_of, story
from workflow_streams.log import wire

from .polling import polled_values
from .switch_hosts import ContribHost, ContribInput, Host, OurHost

KEPT = 3


def working(client: Client, queue: str, host: type[Host]) -> Worker:
    """A worker that replays the run for each of its tasks."""
    return Worker(client, task_queue=queue, workflows=[host], max_cached_workflows=0)


async def answers(handle: WorkflowHandle[Any, Any]) -> set[str]:
    """How the polls in a history were answered."""
    kinds: set[str] = set()
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_execution_update_completed_event_attributes"):
            outcome = event.workflow_execution_update_completed_event_attributes.outcome
            if outcome.HasField("failure"):
                kinds.add(outcome.failure.application_failure_info.type)
            else:
                [page] = outcome.success.payloads
                kinds.add("items" if json.loads(page.data)["items"] else "nothing")
    return kinds


async def test_contrib_runs_with_readers_truncation_and_rollover_replay_and_go_on(
    client: Client, unique: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = unique("contrib")
    handle = client.get_workflow_handle(name)
    runs: list[str] = []
    seen: list[tuple[int, bytes]] = []
    expected: list[str] = []

    async with AsyncExitStack() as readers:

        async def read(*values: str) -> None:
            """Wait until both readers have these as well."""
            expected.extend(values)
            await mine.count(len(expected))
            async with asyncio.timeout(SECONDS):
                while len(seen) < len(expected):
                    await asyncio.sleep(0.01)

        async with working(client, name, ContribHost):
            await client.start_workflow(
                "Host",
                ContribInput(keep_last=KEPT),
                id=name,
                task_queue=name,
                task_timeout=TASK_TIMEOUT,
            )
            runs.append(await run_id_of(handle))
            theirs = asyncio.create_task(polled_values(client, name, seen))
            mine = await readers.enter_async_context(following(client, name))
            await read("init")
            await handle.signal(Host.work)
            await read("before", "after")
            await handle.signal(Host.truncate, 2)
            with pytest.raises(WorkflowUpdateFailedError):
                await handle.execute_update(wire.POLL, contrib.PollInput([], 1))
            await handle.signal(Host.work)
            await read("before", "after")
            waiting = await handle.start_update(
                wire.POLL,
                contrib.PollInput([], len(expected)),
                wait_for_stage=WorkflowUpdateStage.ACCEPTED,
                result_type=contrib.PollResult,
            )
            await handle.signal(Host.order, "roll")
            assert (await waiting.result()).items == []
            runs.append(await next_run(handle, runs[-1]))
            await read("init")
            await handle.signal(Host.work)
            await read("before", "after")
        assert await answers(client.get_workflow_handle(name, run_id=runs[0])) == {
            "items", "nothing", wire.TRUNCATED_OFFSET
        }  # fmt: skip

        async with working(client, name, OurHost):
            await handle.signal(Host.work)
            await read("before", "after")
            await handle.signal(Host.order, "roll")
            runs.append(await next_run(handle, runs[-1]))
            await read("init")
            await handle.signal(Host.order, "finish")
            await handle.result()
            expected.append("last")
            numbered = [(i, f'"{value}"'.encode()) for i, value in enumerate(expected)]
            assert await asyncio.wait_for(theirs, SECONDS) == numbered
            end = ("end", "completed", len(expected))
            assert await mine.end() == [*items(*expected), end]

    for run_id in runs:
        history = await client.get_workflow_handle(name, run_id=run_id).fetch_history()
        await Replayer(workflows=[OurHost]).replay_workflow(history)
    # A ring buffer was asked for all the time, and begins with the run that began under ours.
    kept = items(*expected[-KEPT:], start=len(expected) - KEPT)
    assert await story(client, name, runs[-1]) == [*kept, end]
    warned = [r for r in caplog.records if "keep_last" in r.getMessage()]
    assert {r.__dict__["temporal_workflow"]["run_id"] for r in warned} == {runs[1]}
