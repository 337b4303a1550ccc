"""A run's first record fits into the memo beside the workflow's own, and into its first task."""

from __future__ import annotations

import gc
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker

from tests.dense import dense
from tests.read.story import items, next_run, story
from tests.texts import encode_payload
from workflow_streams import WorkflowStream, WorkflowStreamState
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload
from workflow_streams.log.wire import PublisherState, RunRef, WireItem

PUBLISHERS = 2_000


@workflow.defn
class Crowded:
    """Has been handed a lot, rolls over once, and publishes before and after."""

    @workflow.init
    def __init__(self, state: WorkflowStreamState | None, own: list[int], rolls: int) -> None:
        self.stream = WorkflowStream(state)
        self.orders = 0

    @workflow.run
    async def run(self, state: WorkflowStreamState | None, own: list[int], rolls: int) -> int:
        topic = self.stream.topic("own", type=str)
        for size in own:
            topic.publish(dense(size))
        await workflow.wait_condition(lambda: bool(self.orders))
        if rolls:
            await self.stream.continue_as_new(lambda state: [state, [1], 0])
        return self.stream.head

    @workflow.signal
    def order(self) -> None:
        self.orders += 1


def data_of(text: str) -> str:
    return encode_payload(json_payload(json.dumps(text).encode()))


def batch(publisher: str, sequence: int, text: str) -> RawValue:
    entries = [entry_of("out", json_payload(json.dumps(text).encode()))]
    return RawValue(batch_payload(entries, publisher, sequence))


def publisher_id(number: int) -> str:
    return f"{number:04} {'x' * 80}"


def crowded() -> WorkflowStreamState:
    """What a run hands over whose publishers are as many as there is room for."""
    now = datetime.now(UTC)
    return WorkflowStreamState(
        head=10,
        base_offset=10,
        base=10,
        publishers={
            publisher_id(i): PublisherState(7, now - timedelta(milliseconds=i))
            for i in range(PUBLISHERS)
        },
        runs=[RunRef(f"{i:08}-aaaa-bbbb-cccc-0123456789ab", 10) for i in range(500)],
        written=json.dumps({f"source {i}": [0, 1] for i in range(2_000)}, separators=(",", ":")),
    )


@pytest.mark.parametrize(("memo", "newest_known"), [(1_900_000, True), (2_029_000, False)])
async def test_a_state_that_does_not_fit_beside_the_workflows_own_memo_is_taken_over_in_part(
    client: Client, unique: Any, memo: int, newest_known: bool
) -> None:
    """The server would end a workflow whose memo has over 2 MiB."""
    name = unique("crowded")
    handle = await client.start_workflow(
        Crowded.run, args=[crowded(), [], 1], id=name, task_queue=name, memo={"mine": "y" * memo}
    )
    first = handle.first_execution_run_id
    assert first is not None
    await handle.signal(wire.PUBLISH_SIGNAL, batch(publisher_id(0), 7, "of the newest"))
    await handle.signal(wire.PUBLISH_SIGNAL, batch(publisher_id(PUBLISHERS - 1), 7, "again"))
    # That the state is carried on and recorded once more is part of the test.
    await handle.signal(Crowded.order)
    async with Worker(client, task_queue=name, workflows=[Crowded]):
        again = client.get_workflow_handle(name)
        last = await next_run(again, first)
        await again.signal(Crowded.order)
        head = await again.result()
    told = ["again", dense(1)] if newest_known else ["of the newest", "again", dense(1)]
    assert head == 10 + len(told)
    assert await story(client, name, from_offset=10) == [
        *items(*told, start=10),
        ("end", "completed", head),
    ]
    for run in (first, last):
        history = await client.get_workflow_handle(name, run_id=run).fetch_history()
        await Replayer(workflows=[Crowded]).replay_workflow(history)


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
@pytest.mark.parametrize(("memo", "carried"), [(1_700_000, 400_000), (2_040_000, 0)])
async def test_a_run_whose_first_record_does_not_fit_at_all_fails_and_says_why(
    client: Client, unique: Any, memo: int, carried: int
) -> None:
    """Items of a run of the contrib stand in no history yet, so none of them may be left out."""
    name = unique("full")
    state = WorkflowStreamState([WireItem("out", data_of("c" * carried))] if carried else [])
    handle = await client.start_workflow(
        Crowded.run, args=[state, [], 0], id=name, task_queue=name, memo={"mine": "y" * memo}
    )
    async with Worker(client, task_queue=name, workflows=[Crowded]):
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, ApplicationError)
    assert raised.value.cause.type == "MemoFullError"
    assert "this workflow's own memo" in str(raised.value.cause)
    gc.collect()  # The SDK warns here that it has not run the workflow, and in no other test.


async def test_what_a_run_takes_over_counts_in_its_first_task(client: Client, unique: Any) -> None:
    """The server would end a workflow whose task brings over 4 MiB."""
    name = unique("heavy")
    state = WorkflowStreamState([WireItem("out", data_of("c" * 900_000))])
    async with Worker(client, task_queue=name, workflows=[Crowded]):
        handle = await client.start_workflow(
            Crowded.run, args=[state, [1_100_000] * 2, 0], id=name, task_queue=name
        )
        with pytest.raises(WorkflowFailureError) as raised:
            await handle.result()
    assert isinstance(raised.value.cause, ApplicationError)
    assert raised.value.cause.type == "TaskFullError"
    assert [len(line[1]) for line in await story(client, name)][:-1] == [900_000, 1_100_000]


@workflow.defn
class Cutter:
    """Truncates in a loop, an item at a time."""

    @workflow.init
    def __init__(self, items: int) -> None:
        self.stream = WorkflowStream()

    @workflow.run
    async def run(self, items: int) -> str:
        self.stream.topic("own", type=int).publish_many(range(items))
        try:
            for i in range(items):
                self.stream.truncate(i + 1)
        except ApplicationError as err:
            return str(err.type)
        return "all"


async def test_truncations_count_in_a_task_too(client: Client, unique: Any) -> None:
    name = unique("cutter")
    async with Worker(client, task_queue=name, workflows=[Cutter]):
        handle = await client.start_workflow(Cutter.run, 20_000, id=name, task_queue=name)
        assert await handle.result() == "TaskFullError"
