"""Publishers that never pause leave their workflow room to roll over, and never end it."""

from __future__ import annotations

import asyncio
import base64
import random
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, Interceptor, OutboundInterceptor, WorkflowExecutionStatus
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from workflow_streams import (
    End,
    Item,
    WorkflowStream,
    WorkflowStreamClient,
    WorkflowStreamState,
    errors,
)
from workflow_streams.log import wire
from workflow_streams.log.compact import compact_payloads
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload
from workflow_streams.log.wire import Batch
from workflow_streams.publish import pacing
from workflow_streams.testing.fixtures import StreamServer

from .hosts import Host, hosting, start_host

MEBIBYTE = 1024 * 1024
# The server ends a workflow at 50 MiB of history.
ENOUGH_TO_END_IT = 54 * MEBIBYTE
# It hardly becomes shorter when it is compressed.
VALUE = base64.b85encode(random.Random(1).randbytes(240_000)).decode()
ON_THE_WIRE = len(zlib.compress(VALUE.encode(), 1))


@dataclass
class RollingInput:
    stream_state: WorkflowStreamState | None = None


@workflow.defn
class Rolling:
    """Rolls over whenever it is due, as hosts that live long do."""

    @workflow.init
    def __init__(self, host: RollingInput) -> None:
        self.stream = WorkflowStream(host.stream_state)
        self.closed = False

    @workflow.run
    async def run(self, host: RollingInput) -> int:
        await workflow.wait_condition(lambda: self.closed or self.stream.rollover_due)
        if not self.closed:
            await self.stream.continue_as_new(lambda state: [RollingInput(state)])
        return self.stream.head

    @workflow.signal
    def close(self) -> None:
        self.closed = True


async def publish_until_the_end(stream: WorkflowStreamClient, name: str, count: int) -> None:
    async with stream:
        for first in range(0, count, 20):
            publish(stream, name, range(first, min(count, first + 20)))
            await stream.flush()


def publish(stream: WorkflowStreamClient, name: str, numbers: Iterable[int]) -> None:
    for number in numbers:
        stream.topic(name).publish([number, VALUE])


async def numbers(client: Client, workflow_id: str) -> tuple[dict[str, list[int]], str]:
    """Return what each topic holds, in order, and how the stream ended."""
    found: dict[str, list[int]] = {}
    async for event in WorkflowStreamClient.create(client, workflow_id).follow(result_type=list):
        match event:
            case Item(topic=topic, data=[number, _]):
                found.setdefault(topic, []).append(number)
            case End(outcome=outcome):
                return found, outcome
            case _:
                raise AssertionError(event)
    raise AssertionError("no end")


async def test_who_never_pauses_lets_the_workflow_roll_over(client: Client, unique: Any) -> None:
    name, publishers = unique("rolling"), 2
    count = ENOUGH_TO_END_IT // ON_THE_WIRE // publishers + 1
    async with Worker(client, task_queue=name, workflows=[Rolling]):
        handle = await client.start_workflow(Rolling.run, RollingInput(), id=name, task_queue=name)
        async with asyncio.TaskGroup() as group:
            for k in range(publishers):
                stream = WorkflowStreamClient.create(client, name)
                group.create_task(publish_until_the_end(stream, str(k), count))
        await client.get_workflow_handle(name).signal(Rolling.close)
        assert await client.get_workflow_handle(name).result() == publishers * count
        assert (await handle.describe()).run_id != handle.first_execution_run_id
        found, outcome = await numbers(client, name)
    assert outcome == "completed"
    assert found == {str(k): list(range(count)) for k in range(publishers)}


async def test_a_batch_whose_rest_never_comes_does_not_hold_the_run_until_it_is_full(
    client: Client, unique: Any
) -> None:
    name = unique("torn")
    count = 38 * MEBIBYTE // ON_THE_WIRE
    async with Worker(client, task_queue=name, workflows=[Rolling]):
        handle = await client.start_workflow(Rolling.run, RollingInput(), id=name, task_queue=name)
        item = random.Random(2).randbytes(wire.FRAGMENT_BYTES * 2)
        entry = entry_of("t", json_payload(item))
        fragment, *_ = compact_payloads(Batch([entry], "", 0, "torn"))
        await handle.signal(wire.PUBLISH_SIGNAL, RawValue(fragment))
        await publish_until_the_end(WorkflowStreamClient.create(client, name), "t", count)
        await client.get_workflow_handle(name).signal(Rolling.close)
        assert await client.get_workflow_handle(name).result() == count
        assert (await handle.describe()).run_id != handle.first_execution_run_id
        assert await numbers(client, name) == ({"t": list(range(count))}, "completed")


async def test_a_run_that_does_not_roll_over_is_left_before_the_server_ends_it(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "_FULL_BYTES", 4 * MEBIBYTE)
    count = 40
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(
            client, workflow_id, max_retry_duration=timedelta(seconds=1)
        )
        publish(stream, "t", range(count))
        with pytest.raises(errors.PublishTimeoutError) as raised:
            await stream.flush()
        assert isinstance(raised.value.__cause__, errors.RunFullError)
        assert raised.value.__cause__.workflow_id == workflow_id
        assert 4 * MEBIBYTE <= raised.value.__cause__.size < 6 * MEBIBYTE
        assert raised.value.uncertain == 0
        taken = count - raised.value.undelivered
        assert 0 < taken < count
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert await numbers(client, workflow_id) == ({"t": list(range(taken))}, "completed")


async def test_what_waits_for_room_is_sent_once_the_workflow_has_rolled_over(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "_FULL_BYTES", 4 * MEBIBYTE)
    count = 20
    async with hosting(client, unique("host")) as workflow_id:
        handle = client.get_workflow_handle(workflow_id)
        stream = WorkflowStreamClient.create(client, workflow_id)
        publish(stream, "t", range(count))
        flushing = asyncio.create_task(stream.flush())
        while not await is_full(handle):
            await asyncio.sleep(0.05)
        assert not flushing.done()
        await handle.signal(Host.roll)
        await flushing
        await handle.signal(Host.close)
        assert await numbers(client, workflow_id) == ({"t": list(range(count))}, "completed")


async def is_full(handle: Any) -> bool:
    info = (await handle.describe()).raw_description.workflow_execution_info
    return bool(info.history_size_bytes >= 4 * MEBIBYTE)


async def test_without_a_worker_it_is_not_waited_for_again_and_again(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    wait = pacing.Pace._wait

    async def counted(self: Any, handle: Any, first: Any, seconds: float) -> Any:
        waits.append(seconds)
        return await wait(self, handle, first, seconds)

    monkeypatch.setattr(pacing.Pace, "_wait", counted)
    workflow_id = await start_host(client, unique("idle"))
    stream = WorkflowStreamClient.create(
        client, workflow_id, max_retry_duration=timedelta(seconds=2)
    )
    publish(stream, "t", range(20))
    await stream.flush()  # 8 MB
    assert waits == [0.5]
    assert (await client.get_workflow_handle(workflow_id).describe()).status == (
        WorkflowExecutionStatus.RUNNING
    )
    await client.get_workflow_handle(workflow_id).terminate()


class _NoLooking(Interceptor):
    """What a client meets that may signal, and no more."""

    def __init__(self) -> None:
        self.looks = 0

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        outer = self

        class Outbound(OutboundInterceptor):
            async def describe_workflow(self, input: Any) -> Any:
                outer.looks += 1
                raise RPCError("not permitted", RPCStatusCode.PERMISSION_DENIED, b"")

        return Outbound(next)


async def test_who_may_not_look_publishes_all_the_same(
    client: Client, stream_server: StreamServer, unique: Any
) -> None:
    blind = _NoLooking()
    async with hosting(client, unique("host")) as workflow_id:
        sender = await Client.connect(stream_server.address, interceptors=[blind])
        stream = WorkflowStreamClient.create(sender, workflow_id)
        publish(stream, "t", range(20))
        await stream.flush()
        assert blind.looks == 2  # whether it hosts a stream, and whether there is room
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert await numbers(client, workflow_id) == ({"t": list(range(20))}, "completed")
