"""What readers of a contrib-hosted stream are told when its host is slow, fails or ends soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle

from tests.configured import ConfiguredServer
from tests.payloads.codecs import encrypted_with
from workflow_streams import LATEST, Last, WorkflowStreamClient, errors
from workflow_streams.log import wire
from workflow_streams.log.wire import PollInput, PollResult
from workflow_streams.read.feeds import feed as feed_module
from workflow_streams.testing.fixtures import StreamServer

from .contrib_hosts import MUTE, TASK_SECONDS, OtherLanguage
from .hosts import Idler, worker
from .story import Line, following, items, next_run, run_id_of, story
from .test_contrib import contrib_hosting, polls, publish

Handle = WorkflowHandle[Any, Any]

# For that long the SDK repeats an Update under its id, to be told that its workflow is closing.
SDK_RETRY_SECONDS = 13


@asynccontextmanager
async def other_language(client: Client, name: str) -> AsyncIterator[Handle]:
    # The SDK takes a task that is slow for one that hangs, unless it is debugged.
    async with worker(client, name, workflows=[OtherLanguage], debug_mode=True):
        await client.start_workflow(OtherLanguage.run, id=name, task_queue=name)
        yield client.get_workflow_handle(name)


@pytest.fixture
def mute(unique: Any) -> str:
    """Name of a workflow that answers no query."""
    name: str = unique("mute")
    MUTE.add(name)
    return name


async def test_a_poll_that_a_rollover_cuts_off_is_not_repeated(client: Client, unique: Any) -> None:
    """The server answers its id that the workflow is closing, long after that has closed."""
    name = unique("polled")
    async with other_language(client, name) as handle, following(client, name) as reader:
        before = await run_id_of(handle)
        await publish(client, name, "a")
        await reader.count(1)
        # The next poll comes while the run's last task is under way.
        await handle.signal(OtherLanguage.roll)
        await next_run(handle, before)
        async with asyncio.timeout(SDK_RETRY_SECONDS):
            await publish(client, name, "b")
            await reader.count(2)
        await handle.signal(OtherLanguage.finish)
        assert await reader.end() == [*items("a", "b"), ("end", "completed", 2)]


async def test_a_poll_that_meets_a_task_which_fails_is_made_again(
    client: Client, unique: Any
) -> None:
    """A signal that comes in the task by which a workflow continues as new has it fail."""
    name = unique("polled")
    async with other_language(client, name) as handle, following(client, name) as reader:
        before = await run_id_of(handle)
        values = ["a"]
        await publish(client, name, *values)
        await reader.count(1)
        # The next poll comes during this task, and so into the one that rolls over.
        await handle.signal(OtherLanguage.pause)
        await asyncio.sleep(TASK_SECONDS / 2)
        await handle.signal(OtherLanguage.roll)
        for i in range(3):
            await asyncio.sleep(TASK_SECONDS / 2)
            values.append(f"b{i}")
            await publish(client, name, values[-1])
        await next_run(handle, before)
        values.append("c")
        await publish(client, name, values[-1])
        await reader.count(len(values))
        await handle.signal(OtherLanguage.finish)
        assert await reader.end() == [*items(*values), ("end", "completed", len(values))]


async def test_a_host_that_answers_no_query_is_read_from_the_first_item_on(
    client: Client, mute: str
) -> None:
    async with other_language(client, mute) as handle:
        await publish(client, mute, "a", "b")
        async with following(client, mute) as reader:
            await reader.count(2)
            await publish(client, mute, "c")
            await reader.count(3)
            assert reader.lines == items("a", "b", "c")
            await handle.terminate()
            assert (await reader.end())[3:] == [("end", "terminated", 3)]
        # How many items were sent to it still stands in its history.
        lost = ("gap", 0, 3, "unserved")
        assert await story(client, mute) == [lost, ("end", "terminated", 3)]
        assert await story(client, mute, from_offset=2) == [
            ("gap", 2, 3, "unserved"),
            ("end", "terminated", 3),
        ]
        assert await story(client, mute, from_offset=LATEST) == [("end", "terminated", 3)]
        assert await WorkflowStreamClient.create(client, mute).get_offset() == 3


async def test_what_is_no_stream_is_told_so_while_it_runs_and_after(
    client: Client, unique: Any
) -> None:
    name = unique("idle")
    async with worker(client, name, workflows=[Idler]):
        handle = await client.start_workflow(Idler.run, id=name, task_queue=name)
        await handle.query("__stack_trace")
        for end in (handle.terminate, None):
            for start in (0, 1, LATEST, Last(2)):
                with pytest.raises(errors.StreamNotFoundError):
                    await story(client, name, from_offset=start)
            with pytest.raises(errors.StreamNotFoundError):
                await WorkflowStreamClient.create(client, name).get_offset()
            if end is not None:
                await end()


async def test_no_end_is_told_before_all_that_was_before_it(
    client: Client, stream_server: StreamServer, unique: Any
) -> None:
    """Also not when several processes ask a host at once that ends soon."""
    queue = unique("soon")
    clients = [await stream_server.connect() for _ in range(3)]
    async with worker(client, queue, workflows=[OtherLanguage]):
        for i in range(4):
            name = f"{queue}-{i}"
            handle = await client.start_workflow(OtherLanguage.run, id=name, task_queue=queue)
            async with AsyncExitStack() as stack:
                readers = [
                    await stack.enter_async_context(following(each, name)) for each in clients
                ]
                await publish(client, name, "a", "b", "c")
                await asyncio.sleep(0.5)
                await handle.signal(OtherLanguage.finish)
                for reader in readers:
                    *lines, end = await reader.end()
                    assert end == ("end", "completed", 3)
                    read = [line for line in lines if line[0] != "gap"]
                    assert read == items("a", "b", "c")[: len(read)]
                    lost = [("gap", len(read), 3, "unserved")] if len(read) < 3 else []
                    assert lines == [*read, *lost]


@asynccontextmanager
async def contrib_host(client: Client, name: str) -> AsyncIterator[Handle]:
    async with contrib_hosting(client, name) as handle:
        yield handle


@pytest.mark.parametrize("hosting", [contrib_host, other_language])
async def test_a_new_reader_gets_nothing_that_the_host_has_dropped(
    client: Client, unique: Any, hosting: Any
) -> None:
    """Though an older reader in the same process has had it."""
    name = unique("polled")
    values = [f"v{i}" for i in range(10)]
    async with hosting(client, name) as handle, following(client, name) as older:
        await publish(client, name, *values)
        await older.count(10)
        await handle.signal("truncate", 6)
        kept = items(*values)[6:]
        cases: list[tuple[Any, list[Line], int]] = [
            (0, [], 4),
            (2, [("gap", 2, 6, "truncated")], 4),
            (7, [], 3),
            (Last(8), [], 4),
        ]
        for start, gap, count in cases:
            async with following(client, name, from_offset=start) as new:
                await new.count(len(gap) + count)
                assert new.lines == [*gap, *kept[-count:]]
        # As the run's Updates are few, a host without poll query is asked once in a while.
        await asyncio.sleep(1)
        await handle.signal("truncate", 10)
        async with (
            following(client, name) as plain,
            following(client, name, from_offset=1) as asked,
        ):
            await asked.count(1)
            await publish(client, name, "more")
            for reader in (older, plain, asked):
                await reader.until(lambda lines: lines[-1:] == [(10, "more")])
            assert plain.lines == [(10, "more")]
            assert asked.lines == [("gap", 1, 10, "truncated"), (10, "more")]
            assert older.lines == items(*values, "more")


@pytest.mark.parametrize("hosting", [contrib_host, other_language])
async def test_what_another_process_was_told_long_ago_is_not_told_again(
    client: Client, stream_server: StreamServer, unique: Any, hosting: Any
) -> None:
    """Polls are shared by their ids, whose outcomes stay."""
    name = unique("polled")
    async with hosting(client, name) as handle:
        async with (
            following(client, name) as first,
            following(client, name, from_offset=1) as other,
        ):
            await publish(client, name, "a", "b", "c", "d")
            await first.count(4)
            await other.count(3)
        await handle.signal("truncate", 3)
        for start, gap in ((0, []), (1, [("gap", 1, 3, "truncated")])):
            async with following(await stream_server.connect(), name, from_offset=start) as reader:
                await reader.count(len(gap) + 1)
                assert reader.lines == [*gap, (3, "d")]


async def test_readers_that_come_and_go_cost_a_host_with_poll_query_no_update(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0)
    name = unique("polled")
    async with contrib_hosting(client, name):
        await publish(client, name, "a", "b")
        used = []
        for _ in range(3):
            async with following(client, name) as reader:
                await reader.count(2)
            used.append(await polls(client, name))
        assert used[0] <= 2
        assert used == [used[0]] * 3


@pytest.mark.processes
async def test_a_reader_that_comes_when_the_updates_are_used_up_is_served_by_query(
    unique: Any,
) -> None:
    """A host that takes nothing else cannot be read, and that is told."""
    async with ConfiguredServer("history.maxTotalUpdates=10") as server:
        client = await server.connect()
        for hosting in (contrib_host, other_language):
            name = unique("polled")
            async with hosting(client, name) as handle:
                await publish(client, name, "a", "b")
                for _ in range(10):
                    await handle.execute_update(wire.POLL, PollInput([], 0), result_type=PollResult)
                if hosting is other_language:
                    with pytest.raises(errors.RequestRejectedError, match="distinct updates"):
                        await story(client, name)
                    continue
                async with following(client, name) as reader:
                    await reader.count(2)
                    await publish(client, name, "c")
                    await reader.count(3)
                    await handle.signal("order", "finish")
                    assert await reader.end() == [*items("a", "b", "c"), ("end", "completed", 3)]


async def test_a_reader_without_the_hosts_codec_is_told_so(
    client: Client, stream_server: StreamServer, unique: Any
) -> None:
    name = unique("sealed")
    sealed = await stream_server.connect(data_converter=encrypted_with(bytes(32)))
    async with contrib_hosting(sealed, name) as handle:
        await publish(sealed, name, "a", "b")
        for start in (0, 1, LATEST):
            with pytest.raises(errors.CodecError):
                await story(client, name, from_offset=start)
        await handle.signal("order", "finish")
        assert await story(sealed, name) == [*items("a", "b"), ("end", "completed", 2)]
        with pytest.raises(errors.CodecError):
            await story(client, name)
