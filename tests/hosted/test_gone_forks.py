"""A source comes to know that forks of it are gone, however they went."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from workflow_streams import create_stream, delete_stream
from workflow_streams.embedded import EmbeddedServer
from workflow_streams.errors import ForkError, StreamExistsError, StreamNotFoundError
from workflow_streams.hosted import deletion, host_worker
from workflow_streams.hosted.deletion import delete_run
from workflow_streams.hosted.forking import noted
from workflow_streams.hosted.forking.forgetting import forget_gone_forks
from workflow_streams.hosted.forking.noted import ForkList
from workflow_streams.hosted.host import (
    FORK_UPDATE,
    FORKS_GONE_SIGNAL,
    FORKS_QUERY,
    HostSetup,
    start_host,
)
from workflow_streams.temporal.link import ClientLink

from ..configured import DELETES_AT_ONCE, configured_for_many

pytestmark = pytest.mark.processes

Unique = Callable[[str], str]


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with configured_for_many(DELETES_AT_ONCE) as server:
        yield server


@pytest.fixture
async def client(server: EmbeddedServer) -> Client:
    return await server.connect()


@pytest.fixture
async def queue(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """Task queue of a worker for hosted streams."""
    monkeypatch.setattr(deletion, "_LOOK_AGAIN", timedelta(seconds=0.2))
    queue = unique("hosts")
    async with host_worker(client, task_queue=queue):
        yield queue


async def known(client: Client, source: str) -> list[str]:
    handle = client.get_workflow_handle(source)
    listed: ForkList = await handle.query(FORKS_QUERY, result_type=ForkList)
    return listed.names


async def delete_as_retention_does(client: Client, name: str) -> None:
    handle = client.get_workflow_handle(name)
    await delete_run(client, name, (await handle.describe()).run_id)
    while True:
        try:
            await handle.describe()
        except RPCError:
            return
        await asyncio.sleep(0.05)


async def closed(client: Client, source: str, fork: str, queue: str) -> None:
    await create_stream(client, fork, forked_from=source, closed=True, task_queue=queue)
    await client.get_workflow_handle(fork).result()
    await delete_as_retention_does(client, fork)


async def terminated(client: Client, source: str, fork: str, queue: str) -> None:
    await create_stream(client, fork, forked_from=source, task_queue=queue)
    await client.get_workflow_handle(fork).terminate()


async def cancelled(client: Client, source: str, fork: str, queue: str) -> None:
    await create_stream(client, fork, forked_from=source, task_queue=queue)
    handle = client.get_workflow_handle(fork)
    await handle.cancel()
    with pytest.raises(WorkflowFailureError):
        await handle.result()


async def deleted_by_an_operator(client: Client, source: str, fork: str, queue: str) -> None:
    await create_stream(client, fork, forked_from=source, task_queue=queue)
    await delete_as_retention_does(client, fork)


async def never_made(client: Client, source: str, fork: str, queue: str) -> None:
    assert await client.get_workflow_handle(source).execute_update(FORK_UPDATE, fork)


async def name_taken_by_another_stream(client: Client, source: str, fork: str, queue: str) -> None:
    await deleted_by_an_operator(client, source, fork, queue)
    await create_stream(client, fork, task_queue=queue)


async def name_taken_by_a_fork_of_another(
    client: Client, source: str, fork: str, queue: str
) -> None:
    await deleted_by_an_operator(client, source, fork, queue)
    other = HostSetup("application/json", forked_from=source, inherits=0, sources="00" * 8)
    await start_host(client, fork, other, task_queue=queue)


Going = Callable[[Client, str, str, str], Awaitable[None]]
ALL: list[Going] = [
    closed, terminated, cancelled, deleted_by_an_operator, never_made,
    name_taken_by_another_stream, name_taken_by_a_fork_of_another,
]  # fmt: skip


@pytest.mark.parametrize("go", ALL)
async def test_a_source_whose_forks_are_gone_is_deleted_like_any_other_stream(
    client: Client, unique: Unique, queue: str, go: Going
) -> None:
    source = unique("source")
    await create_stream(client, source, initial=[1], task_queue=queue)
    for number in range(2):
        await go(client, source, f"{source}-{number}", queue)
    assert await known(client, source) == [f"{source}-0", f"{source}-1"]
    await delete_stream(client, source, task_queue=queue)
    assert (await create_stream(client, source, task_queue=queue)).is_new


@pytest.mark.parametrize("go", ALL)
async def test_the_name_of_a_deleted_source_is_free_when_its_last_fork_is_gone(
    client: Client, unique: Unique, queue: str, go: Going
) -> None:
    source = unique("source")
    one, other, open_one = (f"{source}-{kind}" for kind in ("one", "closed", "open"))
    await create_stream(client, source, initial=[1], task_queue=queue)
    await go(client, source, one, queue)
    await create_stream(client, other, forked_from=source, closed=True, task_queue=queue)
    await create_stream(client, open_one, forked_from=source, task_queue=queue)
    await client.get_workflow_handle(other).result()
    await delete_stream(client, source, task_queue=queue)
    # A closed fork can be read, so it counts; the one that is gone does not.
    while await known(client, source) != [other, open_one]:
        await asyncio.sleep(0.05)
    await delete_as_retention_does(client, other)
    while await known(client, source) != [open_one]:
        await asyncio.sleep(0.05)
    with pytest.raises(StreamExistsError, match="has forks"):
        await create_stream(client, source, task_queue=queue)
    ending = client.get_workflow_handle(source).result()
    await client.get_workflow_handle(open_one).terminate()
    await ending
    assert (await create_stream(client, source, task_queue=queue)).is_new


@pytest.mark.parametrize("go", ALL)
async def test_a_source_that_has_no_room_for_a_fork_makes_some_of_those_that_are_gone(
    client: Client, unique: Unique, queue: str, monkeypatch: pytest.MonkeyPatch, go: Going
) -> None:
    source = unique("source")
    names = [f"{source}-{number}" for number in range(4)]
    await create_stream(client, source, initial=[1], task_queue=queue)
    await create_stream(client, names[0], forked_from=source, task_queue=queue)
    await go(client, source, names[1], queue)
    room = len(str(names[:2]))
    monkeypatch.setattr(noted, "_MAX_FORKS_BYTES", room)
    await create_stream(client, names[2], forked_from=source, task_queue=queue)
    assert await known(client, source) == [names[0], names[2]]
    # Those are there, so there is no room for more; and what was begun of the fork is undone.
    with pytest.raises(ForkError, match="as many forks"):
        await create_stream(client, names[3], forked_from=source, task_queue=queue)
    with pytest.raises(StreamNotFoundError):
        await delete_stream(client, names[3], task_queue=queue)
    assert await known(client, source) == [names[0], names[2]]


async def test_a_look_at_many_forks_is_bounded(client: Client, unique: Unique, queue: str) -> None:
    source = unique("source")
    await create_stream(client, source, task_queue=queue)
    for number in range(5):
        await never_made(client, source, f"{source}-{number}", queue)
    looks: list[None] = []
    told: list[tuple[int, int, int]] = []
    for _ in range(3):
        forgotten = await forget_gone_forks(
            ClientLink(client), source, most=2, on_look=lambda: looks.append(None)
        )
        told.append((forgotten, len(looks), len(await known(client, source))))
    assert told == [(2, 2, 3), (2, 4, 1), (1, 5, 0)]
    assert await forget_gone_forks(ClientLink(client), source) == 0
    assert await forget_gone_forks(ClientLink(client), unique("nothing")) == 0


async def test_a_fork_that_is_made_again_while_somebody_looks_is_not_forgotten(
    client: Client, unique: Unique, queue: str
) -> None:
    source, fork = unique("source"), unique("fork")
    await create_stream(client, source, task_queue=queue)
    handle = client.get_workflow_handle(source)
    await handle.execute_update(FORK_UPDATE, fork)
    listed = await handle.query(FORKS_QUERY, result_type=ForkList)
    await create_stream(client, fork, forked_from=source, task_queue=queue)
    await handle.signal(FORKS_GONE_SIGNAL, args=[listed.notes, [fork]])
    assert await known(client, source) == [fork]
