"""Each event of a run is read once, whatever the server does between the pages."""

from __future__ import annotations

import asyncio
import shutil
import sysconfig
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHistoryEventAsyncIterator,
)

from workflow_streams import LATEST, Last, WorkflowStream, WorkflowStreamClient, errors
from workflow_streams.embedded import EmbeddedServer
from workflow_streams.embedded.ports import free_port
from workflow_streams.read.history import pages as history

from .hosts import Host, hosting, worker
from .story import SECONDS, following, items, run_id_of, send, story


def settled(events: list[HistoryEvent]) -> list[tuple[int, str | None]]:
    """Id and kind of all events but those that may be shown before they stand."""
    kinds = [(event.event_id, event.WhichOneof("attributes")) for event in events]
    return [
        k
        for k in kinds
        if k[1]
        not in (
            "workflow_task_scheduled_event_attributes",
            "workflow_task_started_event_attributes",
        )
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_no_event_is_lost_where_pages_of_a_live_history_meet(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The server skips events when new ones come while it reads the last of several pages."""
    for name in ("_FIRST_PAGE_BATCHES", "_FEWEST_PAGE_BATCHES", "_MOST_PAGE_BATCHES"):
        monkeypatch.setattr(history, name, size)
    name = unique("pages")
    async with hosting(client, name) as handle:
        run_id = await run_id_of(handle)

        async def read() -> list[HistoryEvent]:
            async with aclosing(history.history_pages(client, name, run_id)) as pages:
                return [event async for page in pages for event in page]

        reader = asyncio.create_task(read())
        for i in range(60):
            await asyncio.gather(*[handle.signal(Host.publish, [f"{i}"]) for _ in range(1 + i % 3)])
        await handle.signal(Host.order, "finish")
        async with asyncio.timeout(SECONDS):
            events = await reader
        assert settled(events) == settled([e async for e in handle.fetch_history_events()])


class Tokens(Interceptor):
    """Spoils some of the tokens that a client goes on with."""

    def __init__(self, *, every: int) -> None:
        self.every = every
        self.calls = 0
        self.spoiled = 0

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        tokens = self

        class Outbound(OutboundInterceptor):
            def fetch_workflow_history_events(
                self, input: FetchWorkflowHistoryEventsInput
            ) -> WorkflowHistoryEventAsyncIterator:
                tokens.calls += 1
                if input.next_page_token is not None and tokens.calls % tokens.every == 0:
                    tokens.spoiled += 1
                    input.next_page_token = b"of another server"
                return super().fetch_workflow_history_events(input)

        return Outbound(next)


async def test_a_token_that_the_server_does_not_take_loses_and_doubles_nothing(
    client: Client, stream_server: Any, unique: Any
) -> None:
    name, tokens = unique("token"), Tokens(every=3)
    reading = await stream_server.connect(interceptors=[tokens])
    async with hosting(client, name) as handle, following(reading, name) as live:
        for i in range(12):
            await handle.signal(Host.publish, [f"v{i}"])
            await live.count(i + 1)
        await handle.signal(Host.order, "finish")
        assert await live.end() == [*items(*(f"v{i}" for i in range(12))), ("end", "completed", 12)]
    assert tokens.spoiled >= 3


async def test_a_token_that_is_never_taken_is_an_error_and_no_endless_loop(
    client: Client, stream_server: Any, unique: Any
) -> None:
    name, tokens = unique("token"), Tokens(every=1)
    reading = await stream_server.connect(interceptors=[tokens])
    async with hosting(client, name):
        await send(client, name, "a")
        with pytest.raises(errors.RequestRejectedError, match="NextPageToken"):
            await story(reading, name)
    assert tokens.calls < 100


@workflow.defn
class Stuck:
    """Fails each of its workflow tasks from a signal on, until another worker takes over."""

    @workflow.init
    def __init__(self) -> None:
        self.stream = WorkflowStream()
        self.stream.topic("own", type=str).publish("own")

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.signal
    def break_down(self) -> None:
        raise RuntimeError("as told")


# The SDK drops the coroutines of the signals that it does not come to.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
async def test_while_a_task_is_tried_again_and_again_the_end_is_found_and_nothing_is_lost(
    client: Client, unique: Any
) -> None:
    """The server shows events of the task that do not stand; others take their ids later."""
    name = unique("stuck")
    async with worker(client, name, workflows=[Stuck]):
        handle = await client.start_workflow(
            Stuck.run, id=name, task_queue=name, task_timeout=timedelta(seconds=1)
        )
        async with following(client, name) as live:
            await live.count(1)
            await handle.signal(Stuck.break_down)
            await tried_again(client, name)
            expected = items("own")
            for i in range(2):
                stream = WorkflowStreamClient.create(client, name)
                async with stream:
                    stream.topic("out", type=str).publish(f"v{i}")
                expected.append((i + 1, f"v{i}"))
                # Signals are held back while a task runs, and come in when it has failed.
                await live.count(i + 2)
                assert await stream.get_offset() == i + 2
            async with (
                following(client, name, from_offset=Last(2)) as last,
                following(client, name, from_offset=LATEST) as latest,
            ):
                await last.count(2)
                assert last.lines == expected[-2:]
                await handle.terminate()
                end = ("end", "terminated", 3)
                assert await live.end() == [*expected, end]
                assert await last.end() == [*expected[-2:], end]
                assert (await latest.end()) == [end]
    assert await story(client, name) == [*expected, end]


async def tried_again(client: Client, workflow_id: str) -> None:
    handle = client.get_workflow_handle(workflow_id)
    async with asyncio.timeout(SECONDS):
        while True:
            described = await handle.describe()
            if described.raw_description.pending_workflow_task.attempt > 1:
                return
            await asyncio.sleep(0.02)


@pytest.fixture
async def forgetful() -> AsyncIterator[EmbeddedServer]:
    """A server that keeps nothing when it is stopped."""
    async with EmbeddedServer() as server:
        yield server


@pytest.mark.processes
async def test_a_server_that_has_forgotten_the_history_is_told_as_such(
    forgetful: EmbeddedServer, unique: Any
) -> None:
    name = unique("forgotten")
    client = await forgetful.connect()
    async with hosting(client, name):
        await send(client, name, "a")
    async with following(client, name) as live, following(client, name, topics="out") as other:
        await live.count(1)
        await other.count(1)
        await forgetful.kill()
        await forgetful.start()
        for reader in (live, other):
            with pytest.raises(errors.StreamNotFoundError):
                await reader.end()
            assert reader.lines == items("a")


@pytest.mark.processes
@pytest.mark.parametrize("skips_time", [False, True])
async def test_what_server_it_is_stays_open_until_it_has_answered(
    skips_time: bool,
) -> None:
    """On the one for tests waiting reads hold events back; taken for another it would stall."""
    port = free_port()
    client = await Client.connect(f"127.0.0.1:{port}", lazy=True)
    assert await history._waiting_reads_work(client) is True
    if skips_time:
        program = shutil.which("temporal-test-server", path=sysconfig.get_path("scripts"))
        if program is None:
            pytest.skip("no such server for this platform")
        process = await asyncio.create_subprocess_exec(program, str(port))
        try:
            async with asyncio.timeout(SECONDS):
                while await history._waiting_reads_work(client):
                    await asyncio.sleep(0.05)
        finally:
            process.terminate()
            await process.wait()
    else:
        async with EmbeddedServer(port=port):
            assert await history._waiting_reads_work(client) is True
            assert history._waiting[client.service_client] is True
