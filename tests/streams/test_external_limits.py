"""Publishing to other workflows' streams keeps to what the server takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from tests.configured import ConfiguredServer
from tests.dense import dense
from tests.read.hosts import Host, HostInput
from tests.read.story import items, story
from workflow_streams.host.external import signalling

from .external_hosts import LARGE, Crier, Herald, Shift, Teller, TellerInput, nap

# A run takes so many signals on the server of these tests, instead of 10,000.
MOST_SIGNALS = 5


@pytest.mark.parametrize("cached", [0, 100])
async def test_what_several_streams_are_told_at_once_is_not_too_much_for_a_task(
    client: Client, unique: Callable[[str], str], cached: int
) -> None:
    """The server would end a workflow that brings over 4 MiB at once."""
    name = unique("herald")
    to = [f"{name} {i}" for i in range(3)]
    async with Worker(
        client, task_queue=name, workflows=[Herald, Host], activities=[nap],
        max_cached_workflows=cached,
    ):  # fmt: skip
        for host in to:
            await client.start_workflow(Host.run, HostInput(), id=host, task_queue=name)
        # The first stream has two writers.
        arguments = [[*to, to[0]], "abc", [770_000] * 2]
        herald = await client.start_workflow(Herald.run, args=arguments, id=name, task_queue=name)
        await herald.result()
        for host in to:
            await client.get_workflow_handle(host).signal(Host.order, "finish")
        told = {host: [line[1][:6] for line in await story(client, host)] for host in to}
    large = [letter * 6 for letter in "abc"]
    assert told[to[1]] == told[to[2]] == [*large, "rested", "comple"]
    assert sorted(told[to[0]]) == sorted([*large * 2, "rested", "rested", "comple"])
    assert await story(client, name) == [*items(*[dense(770_000)] * 2), ("end", "completed", 2)]
    history = await herald.fetch_history()
    await Replayer(workflows=[Herald]).replay_workflow(history)
    in_flight: dict[int, int] = {}
    most = 0
    for event in history.events:
        if size := event.signal_external_workflow_execution_initiated_event_attributes.ByteSize():
            in_flight[event.event_id] = size
            most = max(most, sum(in_flight.values()))
        answered = event.external_workflow_execution_signaled_event_attributes.initiated_event_id
        in_flight.pop(answered, None)
    assert not in_flight
    assert LARGE < most < signalling.MAX_IN_FLIGHT_BYTES


async def test_many_streams_are_told_at_once(client: Client, unique: Callable[[str], str]) -> None:
    """The server fails a workflow's task by which over 2,000 signals are on their way."""
    name, count = unique("crier"), 2_100
    # In debug mode, since so many of them may take a slow machine longer than the SDK allows.
    async with Worker(client, task_queue=name, workflows=[Crier, Host], debug_mode=True):
        await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
        crier = await client.start_workflow(
            Crier.run, args=[name, count], id=f"{name} crier", task_queue=name
        )
        await crier.result()
        await client.get_workflow_handle(name).signal(Host.order, "finish")
        told = [line[1] for line in await story(client, name)]
    assert sorted(told[:-1]) == sorted(f"{i}" for i in range(count))
    await Replayer(workflows=[Crier], debug_mode=True).replay_workflow(await crier.fetch_history())


@pytest.fixture
async def sparing() -> AsyncIterator[Client]:
    """A client of a server that takes few signals for a run."""
    async with ConfiguredServer(f"history.maximumSignalsPerExecution={MOST_SIGNALS}") as server:
        yield await Client.connect(server.address)


async def refused(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until a signal was refused, and a workflow task that knows it has ended."""
    was_refused = False
    async for event in handle.fetch_history_events(wait_new_event=True):
        was_refused |= event.HasField("signal_external_workflow_execution_failed_event_attributes")
        if was_refused and event.HasField("workflow_task_completed_event_attributes"):
            return


async def test_a_run_that_takes_no_more_signals_is_waited_for_until_it_has_rolled_over(
    sparing: Client, unique: Callable[[str], str]
) -> None:
    name, queue = unique("shift"), unique("away")
    words = [f"{i}" for i in range(12)]
    await sparing.start_workflow(Shift.run, None, id=name, task_queue=queue)
    script = [step for word in words for step in (("publish", word), ("flush", 0))]
    async with Worker(sparing, task_queue=name, workflows=[Teller]):
        teller = await sparing.start_workflow(
            Teller.run, TellerInput(name, script), id=f"{name} teller", task_queue=name
        )
        await refused(teller)
        async with Worker(sparing, task_queue=queue, workflows=[Shift]):
            assert await teller.result() == ["flushed"] * len(words)
        await sparing.get_workflow_handle(name).terminate()
    assert await story(sparing, name) == [*items(*words), ("end", "terminated", len(words))]
    history = await teller.fetch_history()
    await Replayer(workflows=[Teller]).replay_workflow(history)


async def test_a_run_that_never_rolls_over_is_given_up_in_the_end(
    sparing: Client, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signalling, "_MAX_RETRY_SECONDS", 3)
    name = unique("never")
    await sparing.start_workflow(Host.run, HostInput(), id=name, task_queue=f"{name} away")
    script: list[tuple[str, Any]] = [
        step for i in range(MOST_SIGNALS) for step in (("publish", f"{i}"), ("flush", 0))
    ]
    script += [("many", ["x", "y"]), ("publish", "z")]
    runner = UnsandboxedWorkflowRunner()
    async with Worker(sparing, task_queue=name, workflows=[Teller], workflow_runner=runner):
        teller = await sparing.start_workflow(
            Teller.run, TellerInput(name, script), id=f"{name} teller", task_queue=name
        )
        with pytest.raises(WorkflowFailureError) as raised:
            await teller.result()
    error = raised.value.cause
    assert isinstance(error, ApplicationError)
    assert (error.type, error.details) == ("PublishError", (3,))
    history = await teller.fetch_history()
    pauses = [
        event.timer_started_event_attributes.start_to_fire_timeout.seconds
        for event in history.events
        if event.HasField("timer_started_event_attributes")
    ]
    assert pauses == [1, 1, 1]
    await Replayer(workflows=[Teller], workflow_runner=runner).replay_workflow(history)
    await sparing.get_workflow_handle(name).terminate()
    words = [f"{i}" for i in range(MOST_SIGNALS)]
    assert [line[1] for line in await story(sparing, name)][:-1] == words


async def test_a_workflow_that_is_cancelled_does_not_wait_for_the_other_one_to_roll_over(
    sparing: Client, unique: Callable[[str], str]
) -> None:
    name = unique("impatient")
    await sparing.start_workflow(Host.run, HostInput(), id=name, task_queue=f"{name} away")
    script: list[tuple[str, Any]] = [
        step for i in range(MOST_SIGNALS + 1) for step in (("publish", f"{i}"), ("flush", 0))
    ]
    async with Worker(sparing, task_queue=name, workflows=[Teller]):
        teller = await sparing.start_workflow(
            Teller.run, TellerInput(name, script[:-1]), id=f"{name} teller", task_queue=name
        )
        await refused(teller)
        await teller.cancel()
        with pytest.raises(WorkflowFailureError) as raised:
            await teller.result()
    assert isinstance(raised.value.cause, CancelledError)
    await sparing.get_workflow_handle(name).terminate()
