"""There are fewer waiting calls than streams: readers get everything all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import HistoryEventFilterType
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client
from temporalio.service import RPCError

from tests.configured import configured_for_many
from workflow_streams import (
    UsageError,
    WorkflowStreamClient,
    close_stream,
    create_stream,
    limit_waiting_calls,
)
from workflow_streams.embedded import EmbeddedServer
from workflow_streams.hosted import run_host_worker
from workflow_streams.read.history import looks, waiting_budget
from workflow_streams.read.history.waiting_budget import budget_of
from workflow_streams.temporal.rpc import has_no_room_to_wait

from .counting import HistoryReads
from .hosts import Host, HostInput, worker
from .story import SECONDS, Follower, Line, following, items, roll_over, send

ALLOWED = 8
"""Calls that wait, on a server of these tests: those of readers, and the polls of a worker."""


@pytest.fixture
def reads() -> HistoryReads:
    return HistoryReads()


@pytest.fixture
async def reading(stream_server: Any, reads: HistoryReads) -> Client:
    """A connection of its own, whose reads of history are counted."""
    return await stream_server.connect(interceptors=[reads])


@pytest.fixture
def no_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No stream is looked at, but for the first time and when its readers are woken."""
    monkeypatch.setattr(looks, "_WANTED_SECONDS", (1e6,) * len(looks.LEVEL_SECONDS))


@pytest.fixture(scope="module")
def narrow_server() -> Iterator[EmbeddedServer]:
    with configured_for_many(f"frontend.namespaceCount={ALLOWED}") as server:
        yield server


async def until(met: Any) -> None:
    async with asyncio.timeout(SECONDS):
        while not met():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def hosted(client: Client, names: list[str], **how: Any) -> AsyncIterator[None]:
    """Run a Host for each name, and a worker for all of them."""
    async with worker(client, names[0], **how):
        for name in names:
            await client.start_workflow(Host.run, HostInput(), id=name, task_queue=names[0])
        yield


@asynccontextmanager
async def followers(client: Client, names: list[str], **how: Any) -> AsyncIterator[list[Follower]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(following(client, name, **how)) for name in names]


@asynccontextmanager
async def full(client: Client, name: str) -> AsyncIterator[None]:
    """Let other calls wait, as many as the namespace may have."""
    execution = WorkflowExecution(workflow_id=name)
    refused = 0

    async def wait() -> None:
        nonlocal refused
        idle = GetWorkflowExecutionHistoryRequest(
            namespace="default",
            execution=execution,
            wait_new_event=True,
            history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
        )
        while True:
            try:
                await client.workflow_service.get_workflow_execution_history(idle)
            except RPCError as err:
                assert has_no_room_to_wait(err), err
                refused += 1
                await asyncio.sleep(0.005)

    waiting = [asyncio.create_task(wait()) for _ in range(2 * ALLOWED)]
    try:
        await until(lambda: refused)
        yield
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def finish(client: Client, names: list[str]) -> None:
    for name in names:
        await client.get_workflow_handle(name).signal(Host.order, "finish")


def whole(*values: str) -> list[Line]:
    return [*items(*values), ("end", "completed", len(values))]


async def test_no_more_calls_wait_than_the_budget_allows(
    client: Client, reading: Client, reads: HistoryReads, unique: Any
) -> None:
    names = [unique("stream") for _ in range(5)]
    limit_waiting_calls(reading, 2)
    budget = budget_of(reading)
    async with hosted(client, names), followers(reading, names) as readers:
        await until(lambda: (budget.held, budget.looked_at) == (2, 3))
        await asyncio.gather(*(send(client, name, "a", "b") for name in names))
        await asyncio.gather(*(roll_over(client.get_workflow_handle(name)) for name in names))
        await asyncio.gather(*(send(client, name, "c") for name in names))
        assert budget.held <= 2
        await finish(client, names)
        assert [await reader.end() for reader in readers] == [whole("a", "b", "c")] * 5
    await until(lambda: (budget.held, budget.looked_at) == (0, 0))


async def test_with_fewer_streams_than_calls_none_is_looked_at(
    client: Client, reading: Client, reads: HistoryReads, unique: Any
) -> None:
    names = [unique("stream") for _ in range(3)]
    limit_waiting_calls(reading, 3)
    async with hosted(client, names), followers(reading, names) as readers:
        await asyncio.gather(*(send(client, name, "a") for name in names))
        await asyncio.gather(*(reader.count(1) for reader in readers))
        await until(lambda: reads.active == 3)
        assert budget_of(reading).looked_at == 0
        assert reads.empty == 0
        await finish(client, names)
        assert [await reader.end() for reader in readers] == [whole("a")] * 3


async def test_a_lively_stream_gets_the_call_of_a_quiet_one(
    client: Client, reading: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_budget, "_SETTLED_SECONDS", 0.0)
    names = [unique("quiet"), unique("lively")]
    limit_waiting_calls(reading, 1)
    budget = budget_of(reading)

    def holder() -> list[str]:
        return [waiter.workflow_id for waiter in budget._holders]

    async with hosted(client, names), AsyncExitStack() as stack:
        quiet = await stack.enter_async_context(following(reading, names[0]))
        await until(lambda: holder() == [names[0]])
        lively = await stack.enter_async_context(following(reading, names[1]))
        await until(lambda: budget.looked_at == 1)
        await send(client, names[1], "a")
        await lively.count(1)
        await until(lambda: holder() == [names[1]])
        await send(client, names[0], "b")
        await finish(client, names)
        assert await lively.end() == whole("a")
        assert await quiet.end() == whole("b")


async def test_what_this_process_publishes_is_read_at_once(
    reading: Client, client: Client, unique: Any, no_looks: None
) -> None:
    names = [unique("held"), unique("looked-at")]
    limit_waiting_calls(reading, 1)
    # It publishes by another connection than it reads by.
    async with hosted(client, names), followers(reading, names) as [held, looked_at]:
        await until(lambda: budget_of(reading).looked_at == 1)
        for number, name in enumerate(names):
            async with WorkflowStreamClient.create(client, name) as stream:
                stream.topic("out", type=str).publish("a")
                await stream.flush()
                assert await stream.topic("out", type=str).send("b") == 1, number
        await held.count(2)
        await looked_at.count(2)
        assert looked_at.lines == items("a", "b")


async def test_a_subscriber_that_comes_has_the_stream_looked_at(
    reading: Client, client: Client, unique: Any, no_looks: None
) -> None:
    names = [unique("held"), unique("looked-at")]
    limit_waiting_calls(reading, 1)
    async with hosted(client, names), followers(reading, names) as [_, first]:
        await until(lambda: budget_of(reading).looked_at == 1)
        await send(client, names[1], "a")
        async with following(reading, names[1]) as second:
            await second.count(1)
            await first.count(1)
        assert first.lines == items("a")


async def test_a_hosted_stream_that_is_closed_here_is_read_to_its_end_at_once(
    reading: Client, client: Client, unique: Any, no_looks: None
) -> None:
    name, held = unique("closed"), unique("held")
    limit_waiting_calls(reading, 1)
    host = asyncio.create_task(run_host_worker(reading))
    try:
        async with hosted(client, [held]), following(reading, held):
            await until(lambda: budget_of(reading).held == 1)
            await create_stream(reading, name, initial=["a"])
            async with following(reading, name) as reader:
                await reader.count(1)
                await close_stream(reading, name)
                assert await reader.end() == whole("a")
    finally:
        host.cancel()
        await asyncio.gather(host, return_exceptions=True)


async def test_what_the_server_refuses_is_no_outage_and_lowers_the_budget(
    narrow_server: EmbeddedServer, unique: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client, reading = await narrow_server.connect(), await narrow_server.connect()
    names = [unique("stream") for _ in range(2 * ALLOWED)]
    few: dict[str, Any] = {"max_concurrent_workflow_task_polls": 2, "max_cached_workflows": 100}
    with caplog.at_level(logging.INFO, "workflow_streams"):
        async with hosted(client, names, **few), followers(reading, names) as readers:
            for value in ("a", "b", "c"):
                await asyncio.gather(*(send(reading, name, value) for name in names))
            budget = budget_of(reading)
            assert budget.held <= budget.allowed < ALLOWED
            await finish(client, names)
            assert [await reader.end() for reader in readers] == [whole("a", "b", "c")] * len(names)
    assert not [r for r in caplog.records if "has failed" in r.getMessage()]


async def test_a_namespace_without_room_for_any_read_is_read_all_the_same(
    narrow_server: EmbeddedServer, unique: Any
) -> None:
    client, reading = await narrow_server.connect(), await narrow_server.connect()
    name = unique("stream")
    async with (
        hosted(client, [name], max_concurrent_workflow_task_polls=2),
        following(reading, name) as reader,
    ):
        await send(client, name, "a")
        await reader.count(1)
        budget = budget_of(reading)
        async with full(client, name):
            # It gives its call back, and is then refused each look.
            budget.set_most(0)
            await until(lambda: budget._refused_at > 0)
            stream = WorkflowStreamClient.create(client, name)
            for number, value in enumerate("bc", 2):
                stream.topic("out", type=str).publish(value)
                await stream.flush()
                await reader.count(number)
        assert reader.lines == items("a", "b", "c")
        await finish(client, [name])
        assert await reader.end() == whole("a", "b", "c")


def test_a_budget_of_nothing_is_refused(client: Client) -> None:
    with pytest.raises(UsageError, match="at least one"):
        limit_waiting_calls(client, 0)
    for calls in (-1, 1.5, True, "2", None):
        with pytest.raises(UsageError, match="at least one"):
            limit_waiting_calls(client, calls)  # type: ignore[arg-type]
