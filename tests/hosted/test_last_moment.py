"""A fork that is used while it is about to end goes on, and its source knows it until it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHandle
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.worker import (
    Interceptor,
    Replayer,
    SignalExternalWorkflowInput,
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ChildWorkflowHandle

from workflow_streams import WorkflowStreamClient, create_stream, delete_stream
from workflow_streams.errors import ServerUnavailableError, StreamGoneError
from workflow_streams.hosted import deleting, host_worker
from workflow_streams.hosted.forking.noted import ForkList
from workflow_streams.hosted.host import (
    FORK_UPDATE,
    FORKS_QUERY,
    TOUCH_SIGNAL,
    HostSetup,
    WorkflowStreamHost,
    start_host,
)
from workflow_streams.hosted.streams import Hosting, found
from workflow_streams.temporal.link import ClientLink

Unique = Callable[[str], str]
Use = Callable[[str], Coroutine[Any, Any, None]]

TTL = timedelta(seconds=1)


class LastMoment(ClientInterceptor, Interceptor):
    """Uses a stream while its host does what it does before it ends: each time, up to a count.

    The host's thread is held until the server has taken what is sent. So it stands in the history
    behind the task in which the host began to end.
    """

    def __init__(self) -> None:
        self.use: Use | None = None
        self.uses = 1
        self._loop = asyncio.get_running_loop()

    def before_the_end(self, workflow_id: str) -> None:
        if self.use is not None and self.uses:
            self.uses -= 1
            asyncio.run_coroutine_threadsafe(self.use(workflow_id), self._loop).result()

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        moment = self

        class Outbound(WorkflowOutboundInterceptor):
            async def start_child_workflow(
                self, input: StartChildWorkflowInput
            ) -> ChildWorkflowHandle[Any, Any]:
                moment.before_the_end(self.info().workflow_id)
                return await super().start_child_workflow(input)

            async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
                moment.before_the_end(self.info().workflow_id)
                await super().signal_external_workflow(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

        return Inbound


@pytest.fixture
async def moment() -> LastMoment:
    return LastMoment()


@pytest.fixture
async def queue(client: Client, unique: Unique, moment: LastMoment) -> AsyncIterator[str]:
    """Task queue of a worker for hosted streams."""
    queue = unique("hosts")
    config = client.config()
    config["interceptors"] = [moment]
    async with host_worker(Client(**config), task_queue=queue):
        yield queue


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    while not await condition():
        await asyncio.sleep(0.05)


async def known(client: Client, source: str) -> list[str]:
    handle = client.get_workflow_handle(source)
    listed: ForkList = await handle.query(FORKS_QUERY, result_type=ForkList)
    return listed.names


async def events(handle: WorkflowHandle[Any, Any]) -> list[HistoryEvent]:
    return list((await handle.fetch_history()).events)


async def replay(client: Client, name: str) -> None:
    history = await client.get_workflow_handle(name).fetch_history()
    await Replayer(workflows=[WorkflowStreamHost]).replay_workflow(history)


@pytest.mark.parametrize("uses", [1, 2])
@pytest.mark.parametrize("how", ["written", "read"])
async def test_a_fork_that_is_used_while_it_expires_lives_for_its_time_once_more(
    client: Client, unique: Unique, moment: LastMoment, queue: str, how: str, uses: int
) -> None:
    source, fork = unique("source"), unique("fork")
    knew: list[list[str]] = []

    async def use(name: str) -> None:
        knew.append(await known(client, source))
        if how == "written":
            stream = WorkflowStreamClient.create(client, name)
            stream.topic("late", type=int).publish(len(knew))
            # flush() would wait for the end of the task in which this is called.
            await stream._publisher.delivered(0)
        else:
            await client.get_workflow_handle(name).signal(TOUCH_SIGNAL)

    moment.use, moment.uses = use, uses
    await create_stream(client, source, initial=[0], task_queue=queue)
    await create_stream(client, fork, forked_from=source, ttl=TTL, task_queue=queue)
    handle = client.get_workflow_handle(fork)
    await handle.result()
    told = await events(handle)
    signals = [e for e in told if e.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED]
    last, end = signals[-1].event_time.ToDatetime(), told[-1].event_time.ToDatetime()
    assert end - last >= TTL
    # It is marked as expired by its last task, and not before.
    kinds = [EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in told]
    assert kinds[-3:] == [
        "WORKFLOW_TASK_COMPLETED",
        "WORKFLOW_PROPERTIES_MODIFIED",
        "WORKFLOW_EXECUTION_COMPLETED",
    ]
    assert knew == [[fork]] * uses
    await until(lambda: is_empty(client, source))
    for name in (source, fork):
        await replay(client, name)
    await delete_stream(client, source, task_queue=queue)


async def is_empty(client: Client, source: str) -> bool:
    return not await known(client, source)


async def test_a_deleted_source_stays_while_a_fork_of_it_that_was_to_expire_lives_on(
    client: Client, unique: Unique, moment: LastMoment, queue: str
) -> None:
    source, fork = unique("source"), unique("fork")
    ends: list[bool] = []

    async def use(name: str) -> None:
        await client.get_workflow_handle(name).signal(TOUCH_SIGNAL)
        ends.append(await source_is_gone(client, source, queue))

    moment.use, moment.uses = use, 2
    await create_stream(client, source, initial=[0], task_queue=queue)
    await create_stream(client, fork, forked_from=source, ttl=TTL, task_queue=queue)
    await delete_stream(client, source, task_queue=queue)
    await client.get_workflow_handle(fork).result()
    assert ends == [False, False]
    await until(lambda: source_is_gone(client, source, queue))


async def source_is_gone(client: Client, source: str, queue: str) -> bool:
    try:
        async with found(Hosting(ClientLink(client), queue), source):
            raise AssertionError("it has been deleted")
    except StreamGoneError as err:
        return not err.has_forks


async def test_a_fork_that_is_to_expire_at_a_time_does_so_even_if_it_is_used(
    client: Client, unique: Unique, moment: LastMoment, queue: str
) -> None:
    source, fork = unique("source"), unique("fork")
    used: list[str] = []

    async def use(name: str) -> None:
        used.append(name)
        await client.get_workflow_handle(name).signal(TOUCH_SIGNAL)

    moment.use = use
    await create_stream(client, source, initial=[0], task_queue=queue)
    over = datetime.now(timezone.utc) + timedelta(seconds=1)
    setup = HostSetup("application/json", expires_at=over.isoformat(), forked_from=source)
    await start_host(client, fork, setup, task_queue=queue)
    assert await client.get_workflow_handle(source).execute_update(FORK_UPDATE, fork)
    await client.get_workflow_handle(fork).result()
    assert used == [fork]
    await until(lambda: is_empty(client, source))
    await replay(client, fork)


async def test_a_deleted_fork_that_was_kept_for_its_own_forks_is_known_until_it_ends(
    client: Client, unique: Unique, moment: LastMoment, queue: str
) -> None:
    source, middle, fork = unique("source"), unique("middle"), unique("fork")
    knew: list[list[str]] = []

    async def use(name: str) -> None:
        knew.append(await known(client, source))
        await client.get_workflow_handle(name).signal(TOUCH_SIGNAL)

    await create_stream(client, source, initial=[0], task_queue=queue)
    await create_stream(client, middle, forked_from=source, task_queue=queue)
    await create_stream(client, fork, forked_from=middle, task_queue=queue)
    await delete_stream(client, middle, task_queue=queue)
    moment.use = use
    await delete_stream(client, fork, task_queue=queue)
    await client.get_workflow_handle(middle).result()
    await until(lambda: is_empty(client, source))
    assert knew == [[middle]]
    await replay(client, middle)


async def test_a_fork_whose_deletion_does_not_begin_stays_known(
    client: Client, unique: Unique, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, fork = unique("source"), unique("fork")
    await create_stream(client, source, initial=[0], task_queue=queue)
    await create_stream(client, fork, forked_from=source, task_queue=queue)

    async def refuse(*_: object, **__: object) -> None:
        raise ServerUnavailableError("for the test")

    with monkeypatch.context() as patched:
        patched.setattr(deleting, "start_deletion", refuse)
        with pytest.raises(ServerUnavailableError):
            await delete_stream(client, fork, task_queue=queue)
    assert await known(client, source) == [fork]
    await delete_stream(client, fork, task_queue=queue)
    await until(lambda: is_empty(client, source))
