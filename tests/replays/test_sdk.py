"""The private names of the SDK that tell whose a run is are there, and do what they did.

If one of these fails with a new version of the SDK, look at run_sign.py before the version is
allowed: new runs would get their sign in another way, and those under way would not be known.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from workflow_streams import WorkflowStream
from workflow_streams.host import run_sign
from workflow_streams.host.run_sign import FLAG, RunKind
from workflow_streams.log import wire

seen: list[tuple[bool, RunKind, int]] = []


@workflow.defn
class Teller:
    """Tells, outside of the sandbox, what its run is taken for."""

    @workflow.init
    def __init__(self) -> None:
        loop: Any = asyncio.get_running_loop()
        # The task of the workflow's own function is all that is ready in a quiet start.
        assert isinstance(loop._ready, deque)
        assert len(loop._ready) == len(loop._tasks) <= 1
        self.stream = WorkflowStream()
        sign = self.stream._sign  # pyright: ignore[reportPrivateUsage]
        seen.append((workflow.unsafe.is_replaying(), sign.kind, len(loop._tasks)))
        self.stream.topic("own").publish("init")

    @workflow.run
    async def run(self) -> None:
        self.stream.topic("own").publish("run")


async def events_of(client: Client, unique: Callable[[str], str]) -> list[HistoryEvent]:
    """Run a Teller, and replay it."""
    name = unique("teller")
    runner = UnsandboxedWorkflowRunner()
    async with Worker(client, task_queue=name, workflows=[Teller], workflow_runner=runner):
        handle = await client.start_workflow(Teller.run, id=name, task_queue=name)
        await handle.result()
    history = await handle.fetch_history()
    await Replayer(workflows=[Teller], workflow_runner=runner).replay_workflow(history)
    return list(history.events)


def kinds(events: list[HistoryEvent]) -> list[str]:
    return [
        str(event.WhichOneof("attributes")).removesuffix("_event_attributes") for event in events
    ]


async def test_the_flag_is_in_the_history_and_known_in_a_replay(
    client: Client, unique: Callable[[str], str]
) -> None:
    seen.clear()
    events = await events_of(client, unique)
    assert [(replaying, kind) for replaying, kind, _ in seen] == [
        (False, RunKind.FLAGGED),
        (True, RunKind.FLAGGED),
    ]
    [flags] = [
        list(event.workflow_task_completed_event_attributes.sdk_metadata.lang_used_flags)
        for event in events
        if event.HasField("workflow_task_completed_event_attributes")
    ]
    assert flags == [FLAG]
    assert kinds(events)[3:] == [
        "workflow_task_completed",
        "workflow_properties_modified",  # the opening record
        "workflow_properties_modified",  # what the constructor published
        "marker_recorded",
        "upsert_workflow_search_attributes",
        "workflow_properties_modified",  # what the run published
        "workflow_execution_completed",
    ]


async def test_with_an_sdk_that_is_not_known_the_sign_is_the_marker(
    client: Client, unique: Callable[[str], str], monkeypatch: Any
) -> None:
    seen.clear()
    monkeypatch.setattr(run_sign, "_PRIVATE_NAMES", ("_no_such_name",))
    events = await events_of(client, unique)
    assert [kind for _, kind, _ in seen] == [RunKind.MARKED, RunKind.MARKED]
    assert kinds(events)[3:6] == [
        "workflow_task_completed",
        "marker_recorded",
        "upsert_workflow_search_attributes",
    ]
    assert wire.PATCH_ID.encode() in events[4].SerializeToString()
    # Such a run replays where the SDK is known, too.
    monkeypatch.undo()
    replayer = Replayer(workflows=[Teller], workflow_runner=UnsandboxedWorkflowRunner())
    name = events[0].workflow_execution_started_event_attributes.original_execution_run_id
    async for found in client.list_workflows(f"RunId = '{name}'"):
        handle = client.get_workflow_handle(found.id, run_id=found.run_id)
        await replayer.replay_workflow(await handle.fetch_history())
        assert seen[-1][1] is RunKind.MARKED
