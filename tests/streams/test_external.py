"""Workflow code publishes to another workflow's stream: in order, once, and losses are told."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import Replayer, Worker

from tests.payloads.codecs import encrypted_with
from tests.read.hosts import Host, HostInput
from tests.read.story import Line, following, items, next_run, roll_over, run_id_of, send, story
from tests.texts import encode_payload
from workflow_streams import ExternalWorkflowStream, errors
from workflow_streams.log import wire
from workflow_streams.log.payloads import json_payload
from workflow_streams.testing.fixtures import StreamServer

from .external_hosts import ContribHost, Family, Hasty, Misuser, Teller, TellerInput

WORKFLOWS: list[Any] = [Teller, Misuser, Family, Hasty, ContribHost, Host]
RETRIED = RetryPolicy(initial_interval=timedelta(milliseconds=10), maximum_attempts=3)


@asynccontextmanager
async def hosting(
    client: Client, name: str, host: HostInput | None = None, **how: Any
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """Run a Host, and a worker for it and for all that publish to it."""
    async with Worker(client, task_queue=name, workflows=WORKFLOWS, **how):
        await client.start_workflow(Host.run, host or HostInput(), id=name, task_queue=name)
        yield client.get_workflow_handle(name)


async def telling(
    client: Client, name: str, *script: tuple[str, Any], **how: Any
) -> WorkflowHandle[Any, Any]:
    """Start a Teller beside the Host of that name."""
    start = {key: how.pop(key) for key in list(how) if key != "own"}
    teller = TellerInput(name, list(script), **how)
    return await client.start_workflow(
        Teller.run, teller, id=f"{name} teller", task_queue=name, **start
    )


async def finish(client: Client, name: str) -> list[Line]:
    """Have a Host end; return what its readers are told."""
    await client.get_workflow_handle(name).signal(Host.order, "finish")
    return await story(client, name)


async def runs_of(client: Client, workflow_id: str) -> list[Any]:
    """Histories of all runs of a workflow, the last one first."""
    histories: list[Any] = []
    run_id: str | None = None
    while run_id != "":
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        histories.append(await handle.fetch_history())
        started = histories[-1].events[0].workflow_execution_started_event_attributes
        run_id = started.continued_execution_run_id
    return histories


async def replayed(client: Client, *workflow_ids: str) -> None:
    """Replay all runs of workflows."""
    for workflow_id in workflow_ids:
        for history in await runs_of(client, workflow_id):
            await Replayer(workflows=WORKFLOWS).replay_workflow(history)


async def signals_from(client: Client, workflow_id: str) -> int:
    """How many signals the last run of a workflow has sent."""
    kind = EventType.EVENT_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED
    history = (await runs_of(client, workflow_id))[0]
    return sum(event.event_type == kind for event in history.events)


async def test_a_child_publishes_to_the_stream_of_its_parent(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("family")
    script: list[tuple[str, Any]] = [
        ("publish", "a"), ("flush", 0), ("many", ["b", "c"]), ("publish", "d"),
    ]  # fmt: skip
    async with Worker(client, task_queue=name, workflows=WORKFLOWS):
        head = await client.execute_workflow(
            Family.run, TellerInput(None, script), id=name, task_queue=name
        )
    assert head == 5
    await replayed(client, name, f"{name} child")
    assert await story(client, name) == [
        *items("begun", "a", "b", "c", "d"),
        ("end", "completed", 5),
    ]


@pytest.mark.parametrize("cached", [0, 100])
async def test_items_stand_in_the_order_in_which_they_were_published(
    client: Client, unique: Callable[[str], str], cached: int
) -> None:
    """The server does not keep the order of signals that are on their way together."""
    name = unique("order")
    async with hosting(client, name, max_cached_workflows=cached):
        steps = [("loop", 300), ("flush", 0), ("many", ["x" * 200_000] * 5), ("publish", "last")]
        teller = await telling(client, name, *steps)
        assert await teller.result() == ["flushed"]
        lines = await finish(client, name)
    assert lines == [
        *items(*(f"loop {i}" for i in range(300)), *["x" * 200_000] * 5, "last"),
        ("end", "completed", 306),
    ]
    # The first item alone, those that came until it was taken, and large ones by their size.
    assert await signals_from(client, teller.id) == 7
    await replayed(client, teller.id)


async def test_a_retry_takes_back_what_the_failed_run_wrote_though_the_stream_has_rolled_over(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("retry")
    async with hosting(client, name) as host, following(client, name) as live:
        steps = [("publish", "a"), ("flush", 0), ("wait", 0), ("fail", 3), ("publish", "b")]
        teller = await telling(client, name, *steps, retry_policy=RETRIED)
        handle = client.get_workflow_handle(teller.id)
        await live.count(1)
        await roll_over(host)
        await send(client, name, "other")
        for told in (4, 6):
            run = await run_id_of(handle)
            await handle.signal(Teller.tell)
            await next_run(handle, run)
            await live.count(told)
        await handle.signal(Teller.tell)
        await handle.result()
        assert await finish(client, name) == await live.end()
    assert live.lines == [
        *items("a", "other"),
        ("rewind", [(0, 1)], "attempt", 2),
        *items("a", start=2),
        ("rewind", [(2, 3)], "attempt", 3),
        *items("a", "b", start=3),
        ("end", "completed", 5),
    ]
    await replayed(client, teller.id, name)


async def test_a_workflow_that_continues_as_new_goes_on_publishing(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("continue")
    async with hosting(client, name):
        steps = [("publish", "a"), ("publish", "b"), ("continue", 2), ("publish", "c")]
        teller = await telling(client, name, *steps)
        await teller.result()
        lines = await finish(client, name)
    assert lines == [
        *items("a", "b", "a", "b", "a", "b", "c"),
        ("end", "completed", 7),
    ]
    await replayed(client, teller.id)


async def test_a_stream_of_its_own_rolls_over_once_all_has_arrived_elsewhere(
    client: Client, unique: Callable[[str], str]
) -> None:
    """What comes in meanwhile is part of the state that is handed over."""
    name = unique("both")
    async with hosting(client, name):
        steps = [
            ("wait", 0), ("own", "x"), ("publish", "a"), ("own", "y"), ("publish", "b"),
            ("hand over", 2), ("publish", "c"), ("own", "z"),
        ]  # fmt: skip
        teller = await telling(client, name, *steps, own=True)
        handle = client.get_workflow_handle(teller.id)
        for i in range(3):
            before = await run_id_of(handle)
            await send(client, teller.id, f"out {i}")
            await handle.signal(Teller.tell)
            if i < 2:
                await send(client, teller.id, f"late {i}")
                await next_run(handle, before)
        await handle.result()
        lines = await finish(client, name)
    assert lines == [*items("a", "b", "a", "b", "a", "b", "c"), ("end", "completed", 7)]
    own = [line[1] for line in await story(client, teller.id)]
    assert [word for word in own if word in {"x", "y", "z"}] == ["x", "y"] * 3 + ["z"]
    # Each was sent when the one before had its offset.
    assert [word for word in own if " " in word] == [
        "out 0", "late 0", "out 1", "late 1", "out 2",
    ]  # fmt: skip
    await replayed(client, teller.id)


async def test_a_state_that_would_miss_items_is_not_handed_over(
    client: Client, unique: Callable[[str], str]
) -> None:
    """The end of the block cannot wait once the state has been taken."""
    name = unique("hasty")
    async with hosting(client, name):
        careful = await client.start_workflow(
            Hasty.run, args=[name, True, None], id=f"{name} careful", task_queue=name
        )
        await careful.result()
        hasty = await client.start_workflow(
            Hasty.run, args=[name, False, None], id=f"{name} hasty", task_queue=name
        )
        async for event in hasty.fetch_history_events(wait_new_event=True):
            failed = event.workflow_task_failed_event_attributes
            if failed.cause:
                assert "Await flush() before get_state()" in failed.failure.message
                break
        await hasty.terminate()
        lines = await finish(client, name)
    assert lines == [*items("a", "a"), ("end", "completed", 2)]


async def test_what_is_not_delivered_is_told_at_flush_and_at_the_next_publish_and_at_the_end(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("nobody")
    async with Worker(client, task_queue=name, workflows=WORKFLOWS):
        for end, count in (
            ([("flush", 0), ("many", ["c", "d"])], 2),
            ([("publish", "c"), ("wait", 0), ("publish", "d")], 3),
            ([], 2),
        ):
            teller = await telling(client, name, ("publish", "a"), ("publish", "b"), *end)
            await refused(teller)
            if ("wait", 0) in end:
                await client.get_workflow_handle(teller.id).signal(Teller.tell)
            with pytest.raises(WorkflowFailureError) as raised:
                await teller.result()
            error = raised.value.cause
            assert isinstance(error, ApplicationError)
            assert (error.type, error.details) == (errors.PublishError.__name__, (count,))
            assert f"Workflow {name!r}: {count} item(s) were not delivered" in str(error)
            assert isinstance(error.cause, ApplicationError)
            assert error.cause.type == "ExternalWorkflowExecutionNotFound"
            await replayed(client, teller.id)


async def refused(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until a signal was refused, and the workflow has been told so in a task of its own."""
    was_refused = False
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.HasField("signal_external_workflow_execution_failed_event_attributes"):
            was_refused = True
        if was_refused and event.HasField("workflow_task_completed_event_attributes"):
            return


async def test_a_workflow_can_go_on_when_the_stream_has_ended(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("ended")
    async with hosting(client, name) as host:
        steps = [
            ("publish", "a"),
            ("flush", 0),
            ("wait", 0),
            ("loop", 5),
            ("flush", 0),
            ("flush", 0),
        ]
        teller = await telling(client, name, *steps)
        async with following(client, name) as live:
            await live.count(1)
        await host.terminate()
        await client.get_workflow_handle(teller.id).signal(Teller.tell)
        assert await teller.result() == ["flushed", "PublishError 5", "flushed"]
    await replayed(client, teller.id)


async def test_a_failing_workflow_fails_for_its_own_reason_once_its_items_have_arrived(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("fails")
    async with hosting(client, name):
        teller = await telling(client, name, ("loop", 3), ("fail", 2))
        with pytest.raises(WorkflowFailureError, match="Workflow execution failed") as raised:
            await teller.result()
        assert "as the script says" in str(raised.value.cause)
        lines = await finish(client, name)
    assert lines == [*items("loop 0", "loop 1", "loop 2"), ("end", "completed", 3)]


async def test_a_cancelled_workflow_ends_once_its_items_have_arrived(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("cancelled")
    async with hosting(client, name):
        teller = await telling(client, name, ("loop", 5), ("wait", 0))
        async for event in teller.fetch_history_events(wait_new_event=True):
            if event.HasField("signal_external_workflow_execution_initiated_event_attributes"):
                break
        await teller.cancel()
        with pytest.raises(WorkflowFailureError) as raised:
            await teller.result()
        assert isinstance(raised.value.cause, CancelledError)
        lines = await finish(client, name)
    assert lines == [*items(*(f"loop {i}" for i in range(5))), ("end", "completed", 5)]
    await replayed(client, teller.id)


async def test_a_handler_that_runs_before_waits_until_it_may_publish(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("early")
    async with hosting(client, name):
        teller = await telling(
            client, name, ("publish", "a"), ("wait", 0),
            start_signal="pass_on", start_signal_args=["early"],
        )  # fmt: skip
        handle = client.get_workflow_handle(teller.id)
        await handle.signal(Teller.pass_on, "later")
        await handle.signal(Teller.tell)
        await teller.result()
        lines = await finish(client, name)
    assert lines == [*items("a", "early", "later"), ("end", "completed", 3)]
    await replayed(client, teller.id)


async def test_misuse_is_told_where_it_happens_and_harms_nothing_else(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("misuse")
    async with hosting(client, name):
        told = await client.execute_workflow(
            Misuser.run, name, id=f"{name} misuser", task_queue=name
        )
        lines = await finish(client, name)
    assert told == [
        "ApplicationError UsageError",
        "ApplicationError UsageError",
        "ApplicationError UsageError",
        "TopicTypeError",
        "UsageError",
        "ApplicationError ItemTooLargeError",
        "ApplicationError EncodeError",
        "ApplicationError EncodeError",
        "ApplicationError BufferFullError",
        "UsageError",
        "UsageError",
    ]
    assert lines == [*items("at last"), ("end", "completed", 1)]
    with pytest.raises(errors.UsageError, match="WorkflowStreamClient"):
        ExternalWorkflowStream(name)


async def test_a_host_of_the_contrib_takes_the_items(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("contrib")
    async with Worker(client, task_queue=name, workflows=WORKFLOWS):
        host = await client.start_workflow(ContribHost.run, 6, id=name, task_queue=name)
        steps = [("publish", "a"), ("many", ["b", "c"]), ("continue", 1)]
        teller = await telling(client, name, *steps)
        await teller.result()
        # Twice, since the workflow goes through its steps again when it has continued.
        data = [encode_payload(json_payload(f'"{v}"'.encode())) for v in "abcabc"]
        assert await host.result() == [("told", item) for item in data]
        history = (await runs_of(client, name))[0]
    for event in history.events:
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name == wire.PUBLISH_SIGNAL:
            assert set(signal_fields(signal)) == {"items", "publisher_id", "sequence"}


def signal_fields(signal: Any) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(signal.input.payloads[0].data)
    return fields


async def test_what_is_published_is_encrypted_for_the_stream_that_it_goes_to(
    stream_server: StreamServer, unique: Callable[[str], str]
) -> None:
    """The codec has a key for each workflow."""
    client = await stream_server.connect(data_converter=encrypted_with(os.urandom(32)))
    name = unique("encrypted")
    async with Worker(client, task_queue=name, workflows=WORKFLOWS):
        child = TellerInput(None, [("publish", "the eagle lands")])
        await client.execute_workflow(Family.run, child, id=name, task_queue=name)
    assert await story(client, name) == [
        *items("begun", "the eagle lands"),
        ("end", "completed", 2),
    ]
    secret = encode_payload(json_payload(b'"the eagle lands"'))
    for workflow_id in (name, f"{name} child"):
        [history] = await runs_of(client, workflow_id)
        assert secret not in history.to_json()
        assert base64.b64encode(secret.encode()).decode()[4:-4] not in history.to_json()


async def test_a_reset_loses_nothing_though_items_may_stand_twice(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("reset")
    async with hosting(client, name):
        steps = [
            ("publish", "a"),
            ("flush", 0),
            ("wait", 0),
            ("publish", "b"),
            ("flush", 0),
            ("wait", 0),
        ]
        teller = await telling(client, name, *steps)
        handle = client.get_workflow_handle(teller.id)
        async with following(client, name) as live:
            await live.count(1)
            await handle.signal(Teller.tell)
            await live.count(2)
            fork = await task_after_the_first_answer(handle)
            await client.workflow_service.reset_workflow_execution(
                ResetWorkflowExecutionRequest(
                    namespace=client.namespace,
                    workflow_execution=WorkflowExecution(workflow_id=teller.id),
                    reason="test",
                    request_id=unique("request"),
                    workflow_task_finish_event_id=fork,
                )
            )
            # The signal that came after the fork is there again.
            await live.count(3)
            await handle.signal(Teller.tell)
            await handle.result()
        lines = await finish(client, name)
    assert lines == [*items("a", "b", "b"), ("end", "completed", 3)]
    await replayed(client, teller.id)


async def task_after_the_first_answer(handle: WorkflowHandle[Any, Any]) -> int:
    """The end of the task that is told that the first signal was taken."""
    answered = False
    async for event in handle.fetch_history_events():
        answered |= event.HasField("external_workflow_execution_signaled_event_attributes")
        if answered and event.HasField("workflow_task_completed_event_attributes"):
            return event.event_id
    raise AssertionError("no signal was taken")


async def test_a_stream_that_rolls_over_all_the_time_misses_nothing(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("rolling")
    async with hosting(client, name) as host:
        steps = [step for _ in range(10) for step in (("loop", 10), ("flush", 0))]
        teller = await telling(client, name, *steps)
        result = asyncio.create_task(teller.result())
        while not result.done():
            await roll_over(host)
        assert await result == ["flushed"] * 10
        lines = await finish(client, name)
    words = [f"loop {i}" for i in range(10)] * 10
    assert lines == [*items(*words), ("end", "completed", 100)]
