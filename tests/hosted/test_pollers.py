"""Clients that poll a hosted stream learn of its end, and do not keep others from its host."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, cast

import pytest
import temporalio.contrib.workflow_streams as contrib
from temporalio import workflow
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from workflow_streams import WorkflowStreamClient, close_stream, create_stream, delete_stream
from workflow_streams.errors import ForkError
from workflow_streams.hosted import host_worker
from workflow_streams.hosted.forking.noted import ForkList, NotedForks
from workflow_streams.hosted.host import (
    DELETE_SIGNAL,
    FORK_SIGNAL,
    HostInput,
    HostSetup,
    WorkflowStreamHost,
)
from workflow_streams.log import wire

from ..gateway.http.test_writes import replay
from .test_calls import items
from .test_closed import start

Unique = Callable[[str], str]
TTL = timedelta(hours=1)
# As many as the server lets wait at a time.
POLLERS = 10


class Poller:
    """Subscribes with the contrib's client."""

    def __init__(self, client: Client, name: str) -> None:
        self.got: list[Any] = []
        self._stream = contrib.WorkflowStreamClient.create(client, name)
        self.task = asyncio.create_task(self._poll())

    async def _poll(self) -> None:
        async for item in self._stream.subscribe():
            self.got.append(item.data)


@asynccontextmanager
async def polling(client: Client, name: str, count: int = POLLERS) -> AsyncIterator[list[Poller]]:
    """Have clients that have got the first item, and poll for the next."""
    pollers = [Poller(client, name) for _ in range(count)]
    try:
        while not all(poller.got for poller in pollers):
            await asyncio.sleep(0.02)
            failed = [each.task.exception() for each in pollers if each.task.done()]
            assert not failed, failed
        yield pollers
    finally:
        for poller in pollers:
            poller.task.cancel()
        await asyncio.wait([poller.task for poller in pollers])


async def ended(pollers: list[Poller]) -> list[str]:
    """Return how subscriptions ended: of themselves, or with a type of error."""
    await asyncio.wait([poller.task for poller in pollers])
    return [how(poller.task.exception()) for poller in pollers]


def how(error: BaseException | None) -> str:
    if error is None:
        return "ended"
    if isinstance(error, RPCError):
        return "refused"
    assert isinstance(error, WorkflowUpdateFailedError), error
    assert isinstance(error.cause, ApplicationError)
    return str(error.cause.type)


async def test_a_stream_is_forked_and_deleted_though_many_poll_it(
    client: Client, unique: Unique, queue: str
) -> None:
    name, forks = unique("news"), [unique("fork") for _ in range(3)]
    await create_stream(client, name, initial=["a"], task_queue=queue)
    async with polling(client, name) as pollers:
        for fork in forks:
            await create_stream(client, fork, forked_from=name, task_queue=queue)
        await delete_stream(client, name, task_queue=queue)
        assert set(await ended(pollers)) == {wire.STREAM_CLOSED}
    assert await items(client, forks[0], 1) == ["a"]
    for fork in forks:
        await delete_stream(client, fork, task_queue=queue)
    await client.get_workflow_handle(name).result()
    await replay(client, name)


@pytest.mark.parametrize("end", ["closed", "expired", "deleted"])
async def test_who_polls_when_the_workflow_ends_comes_to_the_end(
    client: Client, unique: Unique, queue: str, end: str
) -> None:
    name = unique("news")
    ttl = timedelta(seconds=2) if end == "expired" else None
    await create_stream(client, name, ttl=ttl, initial=["a"], task_queue=queue)
    async with polling(client, name, 5) as pollers:
        if end == "closed":
            await close_stream(client, name)
        elif end == "deleted":
            await delete_stream(client, name, task_queue=queue)
        # The contrib's client asks for the rest of the run, and a deleted one has none.
        allowed = {"ended", "refused"} if end == "deleted" else {"ended"}
        assert set(await ended(pollers)) <= allowed
        assert all(poller.got == ["a"] for poller in pollers)


async def test_who_polls_a_closed_stream_that_stays_is_told_after_all_of_its_items(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    await create_stream(client, name, ttl=TTL, initial=["a"], task_queue=queue)
    async with polling(client, name) as pollers:
        async with WorkflowStreamClient.create(client, name) as stream:
            await stream.topic("default").send("b")
        await close_stream(client, name)
        assert set(await ended(pollers)) == {wire.STREAM_CLOSED}
        assert all(poller.got == ["a", "b"] for poller in pollers)
    late = Poller(client, name)
    assert await ended([late]) == [wire.STREAM_CLOSED]
    assert late.got == ["a", "b"]
    await replay(client, name)


async def test_of_a_host_of_an_earlier_version_polls_wait_for_the_workflows_end(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    setup = HostSetup("application/json", ttl_seconds=3600)
    await start(client, name, HostInput(setup, closed_rolls_over=True), queue)
    async with WorkflowStreamClient.create(client, name) as stream:
        await stream.topic("default").send("a")
    async with polling(client, name, 2) as pollers:
        await close_stream(client, name)
        await replay(client, name)
        assert not any(poller.task.done() for poller in pollers)


async def test_a_run_that_a_worker_of_an_earlier_version_has_had_is_forked_by_updates(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That worker has left the signals aside, and this one must do the same in a replay."""
    name, queue = unique("news"), unique("hosts")
    forks = [unique("fork") for _ in range(3)]
    definition = workflow._Definition.must_from_class(WorkflowStreamHost)
    with monkeypatch.context() as earlier:
        for signal in (FORK_SIGNAL, DELETE_SIGNAL):
            earlier.delitem(cast("dict[str, Any]", definition.signals), signal)
        earlier.setattr(NotedForks, "listed", lambda self, **_: ForkList(self._notes, self.names))
        async with host_worker(client, task_queue=queue):
            await create_stream(client, name, initial=["a"], task_queue=queue)
            await create_stream(client, forks[0], forked_from=name, task_queue=queue)
    await replay(client, name)
    async with host_worker(client, task_queue=queue):
        await create_stream(client, forks[1], forked_from=name, task_queue=queue)
        await delete_stream(client, name, task_queue=queue)
        with pytest.raises(ForkError):
            await create_stream(client, forks[2], forked_from=name, task_queue=queue)
        assert await items(client, forks[0], 1) == ["a"]
        for fork in forks[:2]:
            await delete_stream(client, fork, task_queue=queue)
        await client.get_workflow_handle(name).result()
    await replay(client, name)
