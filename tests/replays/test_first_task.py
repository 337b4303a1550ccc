"""What comes to a run before its first task is handled alike, live and in each replay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowUpdateStage
from temporalio.worker import (
    HandleSignalInput,
    Interceptor,
    Replayer,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from tests.read.story import SECONDS, items, next_run, run_id_of, story
from workflow_streams import WorkflowStreamClient
from workflow_streams.log import wire

from .first_hosts import (
    ContribRegistrar,
    DynamicKeeper,
    Gatherer,
    Keeper,
    KeeperInput,
    Leaver,
    LeaverInput,
    OurRegistrar,
)
from .test_mixes import batch


def working(client: Client, queue: str, host: Any, *, cached: int, **how: Any) -> Worker:
    return Worker(
        client,
        task_queue=queue,
        workflows=[host],
        max_cached_workflows=cached,
        sticky_queue_schedule_to_start_timeout=timedelta(milliseconds=100),
        **how,
    )


async def publish(handle: WorkflowHandle[Any, Any], first: int, count: int) -> None:
    """Publish single items, one signal each."""
    for sequence in range(first, first + count):
        await handle.signal(wire.PUBLISH_SIGNAL, batch("p", sequence, 1))


async def ask(handle: WorkflowHandle[Any, Any], update: Any) -> asyncio.Task[Any]:
    """Make an update that waits for a worker, and see to it that the server has it."""
    asking = asyncio.create_task(
        handle.start_update(update, wait_for_stage=WorkflowUpdateStage.COMPLETED)
    )
    await asyncio.sleep(0.3)
    return asking


async def replayed(handle: WorkflowHandle[Any, Any], host: Any) -> None:
    await Replayer(workflows=[host]).replay_workflow(await handle.fetch_history())


async def test_an_update_that_truncates_by_the_head_is_answered_and_replayed(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("keeper")
    handle = await client.start_workflow(Keeper.run, KeeperInput(), id=name, task_queue=name)
    await publish(handle, 1, 21)
    asking = await ask(handle, Keeper.keep)
    await publish(handle, 22, 9)
    async with working(client, name, Keeper, cached=100):
        update = await asking
        answer = await update.result()
    await replayed(handle, Keeper)
    async with working(client, name, Keeper, cached=0):
        # Each of these tasks replays the first.
        assert await WorkflowStreamClient.create(client, name).topic("out").send("more") == 31
        assert await handle.execute_update(Keeper.keep) == 33
        await handle.signal(Keeper.order, "finish")
        assert await handle.result() == [answer, 33]
    await replayed(handle, Keeper)


@pytest.mark.parametrize("signal", [Keeper.branch, Keeper.branch_later])
async def test_a_signal_that_branches_on_the_head_is_replayed(
    client: Client, unique: Callable[[str], str], signal: Any
) -> None:
    name = unique("keeper")
    handle = await client.start_workflow(Keeper.run, KeeperInput(), id=name, task_queue=name)
    await publish(handle, 1, 3)
    await handle.signal(signal)
    await publish(handle, 4, 2)
    await handle.signal(signal)
    async with working(client, name, Keeper, cached=100):
        seen = await handle.query(Keeper.sights)
    assert seen == ([0, 1] if signal is Keeper.branch else [5, 5])
    await replayed(handle, Keeper)
    async with working(client, name, Keeper, cached=0):
        assert await handle.query(Keeper.sights) == seen
        await handle.signal(signal)
        await handle.signal(Keeper.order, "finish")
        assert (await handle.result())[:2] == seen


async def test_a_first_task_of_many_pages_is_replayed(
    client: Client, unique: Callable[[str], str]
) -> None:
    """What tells that the run is ours stands behind all these signals."""
    name = unique("keeper")
    handle = await client.start_workflow(Keeper.run, KeeperInput(), id=name, task_queue=name)
    await asyncio.gather(*[publish_as(handle, publisher, 110) for publisher in "abcdefghij"])
    await handle.signal(Keeper.branch)
    async with working(client, name, Keeper, cached=0):
        assert await handle.query(wire.OFFSET_QUERY) == 1101
        await publish(handle, 1, 2)
        await handle.signal(Keeper.order, "finish")
        assert await handle.result() == [0]
    await replayed(handle, Keeper)


class Yielding(WorkflowInboundInterceptor):
    """Awaits before it hands signals on."""

    async def handle_signal(self, input: HandleSignalInput) -> None:
        await asyncio.sleep(0)
        await super().handle_signal(input)


class Yields(Interceptor):
    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return Yielding


@pytest.mark.parametrize("interceptors", [[], [Yields()]], ids=["plain", "intercepted"])
async def test_tasks_that_a_handler_begins_see_the_same_in_a_replay(
    client: Client, unique: Callable[[str], str], interceptors: list[Interceptor]
) -> None:
    name = unique("gatherer")
    handle = await client.start_workflow(Gatherer.run, id=name, task_queue=name)
    await publish(handle, 1, 2)
    await handle.signal(Gatherer.gather)
    await publish(handle, 3, 2)
    await handle.signal("registered")
    async with working(client, name, Gatherer, cached=100, interceptors=interceptors):
        seen = await handle.query(Gatherer.sights)
        assert len(seen) >= 3
    replayer = Replayer(workflows=[Gatherer], interceptors=interceptors)
    await replayer.replay_workflow(await handle.fetch_history())
    async with working(client, name, Gatherer, cached=0, interceptors=interceptors):
        assert (await handle.query(Gatherer.sights))[: len(seen)] == seen
        await publish(handle, 5, 1)
        await handle.signal(Gatherer.finish)
        assert (await handle.result())[: len(seen)] == seen
    await replayer.replay_workflow(await handle.fetch_history())


async def test_what_is_written_after_the_rollover_does_not_break_the_stream(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("leaver")
    async with working(client, name, Leaver, cached=100):
        await client.start_workflow(Leaver.run, LeaverInput(), id=name, task_queue=name)
        await client.get_workflow_handle(name).result()
    one, two = ([f"{rolls} 0", f"{rolls} 1", *map(str, range(1500))] for rolls in (1, 0))
    assert await story(client, name) == [*items(*one, *two), ("end", "completed", 3004)]


async def test_a_dynamic_signal_handler_takes_nothing_from_the_stream(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("dynamic")
    await client.start_workflow(DynamicKeeper.run, KeeperInput(), id=name, task_queue=name)
    handle = client.get_workflow_handle(name)
    for label in "ab":
        await handle.signal("another", args=["x", "y"])
        await publish_as(handle, label, 2)
        await handle.signal(wire.PUBLISH_SIGNAL, args=[])
        await handle.signal(wire.PUBLISH_SIGNAL, args=[1, 2])
    runs = [await run_id_of(handle)]
    async with working(client, name, DynamicKeeper, cached=0):
        assert await handle.query(Keeper.sights) == [-2, -2]
        assert await handle.query(wire.OFFSET_QUERY) == 4
        await handle.signal(Keeper.order, "roll")
        runs.append(await next_run(handle, runs[0]))
        assert await WorkflowStreamClient.create(client, name).topic("out").send("more") == 4
        await handle.signal(Keeper.order, "finish")
        await handle.result()
    assert await story(client, name) == [*items(*["0"] * 4), (4, "more"), ("end", "completed", 5)]
    for run in runs:
        await replayed(client.get_workflow_handle(name, run_id=run), DynamicKeeper)


async def publish_as(handle: WorkflowHandle[Any, Any], publisher: str, count: int) -> None:
    for sequence in range(1, count + 1):
        await handle.signal(wire.PUBLISH_SIGNAL, batch(publisher, sequence, 1))


@pytest.mark.parametrize("host", [ContribRegistrar, OurRegistrar])
async def test_handlers_that_a_workflow_registers_itself_are_moved_by_no_import(
    client: Client, unique: Callable[[str], str], host: Any
) -> None:
    """They run under the contrib; so they have to when the import line has changed."""
    name = unique("registrar")
    handle = await client.start_workflow("Registrar", id=name, task_queue=name)
    await publish(handle, 1, 2)
    await handle.signal("registered", 0.01)
    await handle.signal("declared")
    await handle.signal("some other", 1)
    await handle.signal("registered", 0.02)
    await handle.signal("declared")
    await publish(handle, 3, 2)
    for cached in (100, 0):
        async with working(client, name, host, cached=cached):
            assert await handle.query(wire.OFFSET_QUERY) == 4
        await replayed(handle, host)
    async with working(client, name, host, cached=0):
        await handle.signal("finish")
        assert await handle.result() == 2
    await replayed(handle, host)


@pytest.mark.parametrize("host", [Keeper, OurRegistrar])
async def test_one_query_lists_all_streams(
    client: Client, unique: Callable[[str], str], host: Any
) -> None:
    name = unique("listed")
    arguments = [KeeperInput()] if host is Keeper else []
    handle = await client.start_workflow(host.run, args=arguments, id=name, task_queue=name)
    if host is OurRegistrar:
        await handle.signal("registered", 0.01)
    async with working(client, name, host, cached=100):
        await handle.query(wire.OFFSET_QUERY)
        if host is OurRegistrar:
            # A marker in its first task would move its own handlers: it is listed by the next.
            assert not await has_marker(handle)
            await publish(handle, 1, 1)
        query = f"WorkflowId = '{name}' AND TemporalChangeVersion = '{wire.PATCH_ID}'"
        async with asyncio.timeout(SECONDS):
            while not [found async for found in client.list_workflows(query)]:
                await asyncio.sleep(0.1)
    assert await has_marker(handle)
    await replayed(handle, host)
    async with working(client, name, host, cached=0):
        assert await handle.query(wire.OFFSET_QUERY) == (1 if host is OurRegistrar else 0)


async def has_marker(handle: WorkflowHandle[Any, Any]) -> bool:
    history = await handle.fetch_history()
    return any(event.HasField("marker_recorded_event_attributes") for event in history.events)
