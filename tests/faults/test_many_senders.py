"""Many that send a little each take as much care of a run as one that sends much."""

from __future__ import annotations

import asyncio
import base64
import random
import zlib
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from workflow_streams import WorkflowStreamClient, errors
from workflow_streams.publish import pacing
from workflow_streams.testing.fixtures import StreamServer

from .hosts import hosting, start_host

KIBIBYTE = 1024
MEBIBYTE = 1024 * KIBIBYTE
FULL = 4 * MEBIBYTE
# It cannot be compressed by more than a quarter, which base64 takes.
VALUE = base64.b85encode(random.Random(1).randbytes(240 * KIBIBYTE)).decode()
ON_THE_WIRE = len(zlib.compress(VALUE.encode(), 1))
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def soon_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "_FULL_BYTES", FULL)


async def publish_two(
    client: Client, workflow_id: str, patience: timedelta = timedelta(seconds=1)
) -> bool:
    """Publish half a MiB and be gone; return whether it was taken."""
    stream = WorkflowStreamClient.create(client, workflow_id, max_retry_duration=patience)
    try:
        async with stream:
            for _ in range(2):
                stream.topic("t", type=str).publish(VALUE)
    except errors.PublishTimeoutError as err:
        assert isinstance(err.__cause__, errors.RunFullError)
        return False
    return True


async def size_of(client: Client, workflow_id: str) -> int:
    described = await client.get_workflow_handle(workflow_id).describe()
    assert described.status == WorkflowExecutionStatus.RUNNING
    return described.raw_description.workflow_execution_info.history_size_bytes


async def test_publishers_that_come_and_go_stop_before_the_run_is_full(
    client: Client, unique: Any
) -> None:
    workflow_id = await start_host(client, unique("idle"))
    taken = [await publish_two(client, workflow_id) for _ in range(14)]
    assert taken[:4] == [True] * 4
    assert taken[-4:] == [False] * 4
    assert FULL <= await size_of(client, workflow_id) < FULL + 2 * MEBIBYTE
    await client.get_workflow_handle(workflow_id).terminate()


async def test_publishers_that_come_at_once_stop_before_the_run_is_full(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[int] = []
    check = pacing.check_room

    def counted(workflow_id: str, size: int, coming: int = 0) -> None:
        try:
            check(workflow_id, size, coming)
        except errors.RunFullError:
            refused.append(size)
            raise

    monkeypatch.setattr(pacing, "check_room", counted)
    workflow_id = await start_host(client, unique("idle"))
    publishers = [asyncio.create_task(publish_two(client, workflow_id, HOUR)) for _ in range(40)]
    while len(refused) < 2 * len(publishers):
        await asyncio.sleep(0.05)
    assert FULL <= await size_of(client, workflow_id) < FULL + 2 * MEBIBYTE
    await client.get_workflow_handle(workflow_id).terminate()
    taken = await asyncio.gather(*publishers, return_exceptions=True)
    # Those that waited for room learn that there will be none.
    assert {type(end) for end in taken if end is not True} == {errors.PublishError}


async def test_publishers_in_processes_of_their_own_look_before_they_begin(
    client: Client, stream_server: StreamServer, unique: Any
) -> None:
    """Each has a connection of its own, and nothing else in common."""
    workflow_id = await start_host(client, unique("idle"))
    taken = []
    for _ in range(14):
        taken.append(await publish_two(await stream_server.connect(), workflow_id))
    assert taken[-4:] == [False] * 4
    assert FULL <= await size_of(client, workflow_id) < FULL + 2 * MEBIBYTE
    await client.get_workflow_handle(workflow_id).terminate()


async def test_small_batches_and_those_after_a_look_cost_no_look(
    client: Client, stream_server: StreamServer, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[str] = []
    look = pacing.Pace._look

    async def counted(self: pacing.Pace, handle: Any) -> Any:
        looks.append(handle.id)
        return await look(self, handle)

    monkeypatch.setattr(pacing.Pace, "_look", counted)
    async with hosting(client, unique("host")) as workflow_id:
        for _ in range(4):
            async with WorkflowStreamClient.create(client, workflow_id) as stream:
                stream.topic("t", type=str).publish(VALUE[:500])
        assert looks == []
        for _ in range(4):
            async with WorkflowStreamClient.create(client, workflow_id) as stream:
                stream.topic("t", type=str).publish(VALUE[: 10 * KIBIBYTE])
        assert looks == [workflow_id]


async def test_of_those_that_have_sent_nothing_for_longest_nothing_is_kept(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "_MOST_PACES", 10)
    handles = [client.get_workflow_handle(f"workflow-{k}") for k in range(30)]
    paces = [pacing.pace_of(handle) for handle in handles]
    assert pacing.pace_of(handles[-10]) is paces[-10]
    assert pacing.pace_of(handles[0]) is not paces[0]
    assert len(pacing._paces[client.service_client]) == 10
