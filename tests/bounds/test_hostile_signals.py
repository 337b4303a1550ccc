"""What anybody may signal, and what a workflow does with that: no run is stuck by it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.common import RawValue
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import Worker

from tests.dense import dense
from tests.read.hosts import Host, hosting
from tests.read.story import items, next_run, run_id_of, story
from tests.texts import encode_payload
from workflow_streams import WorkflowStream, WorkflowStreamClient, WorkflowStreamState
from workflow_streams.log import wire
from workflow_streams.log.payloads import json_payload
from workflow_streams.testing.fixtures import StreamServer


def publishing(**fields: Any) -> RawValue:
    return RawValue(json_payload(json.dumps(fields).encode()))


def one(text: str) -> list[dict[str, str]]:
    data = encode_payload(json_payload(json.dumps(text).encode()))
    return [{"topic": "t", "data": data}]


@workflow.defn
class Counter:
    """Tells how many items have come once it is told to."""

    @workflow.init
    def __init__(self) -> None:
        self.stream = WorkflowStream()
        self.done = False

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self.done)
        return self.stream.head

    @workflow.signal
    def finish(self) -> None:
        self.done = True


@pytest.mark.parametrize("topics", ["one", "many"])
async def test_very_many_tiny_items_fit_into_one_task(
    client: Client, unique: Any, topics: str
) -> None:
    """Ten signals of nearly 1 MB, as a worker finds that has been away."""
    name = unique("tiny")
    handle = await client.start_workflow(Counter.run, id=name, task_queue=name)
    for number in range(10):
        names = (f"{number * 25_000 + i:x}" if topics == "many" else "" for i in range(25_000))
        entries = ",".join(f'{{"topic":"{name}","data":""}}' for name in names)
        text = f'{{"items":[{entries}],"publisher_id":"","sequence":0}}'
        await handle.signal(wire.PUBLISH_SIGNAL, RawValue(json_payload(text.encode())))
    await handle.signal(Counter.finish)
    async with Worker(client, task_queue=name, workflows=[Counter]):
        assert await handle.result() == 250_000


async def test_a_name_that_not_all_converters_can_write_does_not_stop_a_rollover(
    stream_server: StreamServer, unique: Any
) -> None:
    client = await stream_server.connect(data_converter=pydantic_data_converter)
    name = unique("names")
    async with hosting(client, name) as handle:
        before = await run_id_of(handle)
        half = "\ud800"
        for fields in (
            {"items": one("lost"), "publisher_id": half, "sequence": 1},
            {"items": one("lost"), "publisher_id": "p", "sequence": 1, "order": half},
            {"items": one("a"), "publisher_id": "p", "sequence": 10**99},
            {"items": one("b"), "publisher_id": "\U0001f600", "sequence": 1, "tag": half},
        ):
            await handle.signal(wire.PUBLISH_SIGNAL, publishing(**fields))
        await handle.signal(Host.order, "roll")
        await next_run(handle, before)
        await handle.signal(Host.publish, ["c"])
        await handle.signal(Host.order, "finish")
        await handle.result()
    assert await story(client, name) == [*items("a", "b", "c"), ("end", "completed", 3)]


async def test_a_poll_without_an_argument_does_not_stop_the_workflow(
    client: Client, unique: Any
) -> None:
    name = unique("null")
    async with hosting(client, name) as handle:
        for given in ([None], []):
            with pytest.raises((WorkflowUpdateFailedError, RPCError)):
                await handle.execute_update(wire.POLL, args=given)
            with pytest.raises(WorkflowQueryFailedError):
                await handle.query(wire.POLL, args=given)
        await handle.signal(Host.publish, ["a"])
        await handle.signal(Host.order, "finish")
        await handle.result()
    assert await story(client, name) == [*items("a"), ("end", "completed", 1)]


@dataclass
class TickerInput:
    stream_state: WorkflowStreamState | None = None


@workflow.defn
class Ticker:
    """Publishes until the run is to roll over, and then once more."""

    @workflow.init
    def __init__(self, ticker: TickerInput) -> None:
        self.stream = WorkflowStream(ticker.stream_state)
        self.ticks = self.stream.topic("ticks", type=int)

    @workflow.run
    async def run(self, ticker: TickerInput) -> int:
        if ticker.stream_state is None:
            while not self.stream.rollover_due:
                self.ticks.publish_many(range(100))
                for tick in range(100):
                    self.ticks.publish(tick)
                await workflow.sleep(0.001)
            await self.stream.continue_as_new(lambda state: [TickerInput(state)])
        return self.stream.head


async def test_half_a_batch_holds_a_rollover_up_for_a_few_hundred_events_only(
    client: Client, unique: Any
) -> None:
    name = unique("torn")
    handle = await client.start_workflow(Ticker.run, TickerInput(), id=name, task_queue=name)
    fragment = publishing(tag="x", part=[0, 2], text='{"items":[')
    await handle.signal(wire.PUBLISH_SIGNAL, fragment)
    async with Worker(client, task_queue=name, workflows=[Ticker]):
        head = await handle.result()
    first = client.get_workflow_handle(name, run_id=handle.first_execution_run_id)
    # The server suggests it at 4,096 events; it would end the run at 51,200.
    assert 4_000 < (await first.describe()).history_length < 6_000
    stream = WorkflowStreamClient.create(client, name)
    assert await stream.get_offset() == head


@workflow.defn
class Large:
    @workflow.init
    def __init__(self) -> None:
        self.stream = WorkflowStream()

    @workflow.run
    async def run(self) -> str:
        topic = self.stream.topic("t", type=str)
        topic.publish("first")
        try:
            topic.publish(dense(1_400_000))
        except ApplicationError as err:
            assert err.type == "MemoFullError"
            topic.publish(f"too large: {err.message[:10]}")
            if workflow.memo_value("mine", type_hint=str)[0] == "z":
                try:
                    topic.publish_many([dense(20_000)] * 10)
                except ApplicationError as several:
                    return several.type or ""
        await workflow.sleep(0.001)
        topic.publish(dense(300_000))
        return "done"


async def test_an_item_that_does_not_fit_beside_the_workflows_own_memo_is_refused(
    client: Client, unique: Any
) -> None:
    """The server would end a workflow whose memo has over 2 MiB."""
    name = unique("memo")
    async with Worker(client, task_queue=name, workflows=[Large]):
        memo = {"mine": "y" * 400_000}
        handle = await client.start_workflow(Large.run, id=name, task_queue=name, memo=memo)
        assert await handle.result() == "done"
        plain = await client.start_workflow(Large.run, id=f"{name}-2", task_queue=name)
        assert await plain.result() == "done"
        memo = {"mine": "z" * 1_850_000}
        fuller = await client.start_workflow(Large.run, id=f"{name}-3", task_queue=name, memo=memo)
        assert await fuller.result() == "MemoFullError"
    told = [line[1] for line in await story(client, name)][:-1]
    assert [told[0], told[1], len(told[2])] == ["first", "too large: An item of", 300_000]
    told = [line[1] for line in await story(client, f"{name}-2")][:-1]
    assert [len(text) for text in told] == [5, 1_400_000, 300_000]
