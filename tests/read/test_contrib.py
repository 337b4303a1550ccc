"""Streams that the contrib hosts are read from its worker: by one poll for all readers."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import temporalio.contrib.workflow_streams as contrib
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.service import RPCError

from tests.configured import ConfiguredServer
from workflow_streams import LATEST, Last, WorkflowStreamClient, errors
from workflow_streams.read.feeds import feed as feed_module
from workflow_streams.read.feeds import lookup
from workflow_streams.read.runs.polled import calls
from workflow_streams.read.runs.source import WorkflowSource

from .contrib_hosts import ContribHost, ContribInput, OtherLanguage
from .hosts import worker
from .story import SECONDS, Line, following, items, next_run, run_id_of, story, told


@asynccontextmanager
async def contrib_hosting(
    client: Client, name: str, **start: Any
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    async with worker(client, name, workflows=[ContribHost, OtherLanguage]):
        await client.start_workflow(
            ContribHost.run, ContribInput(), id=name, task_queue=name, **start
        )
        yield client.get_workflow_handle(name)


async def publish(client: Client, workflow_id: str, *values: str) -> None:
    """A batch each, by the contrib's own client."""
    async with contrib.WorkflowStreamClient.create(client, workflow_id) as stream:
        for value in values:
            stream.topic("out").publish(value)
            await stream.flush()


async def polls(client: Client, workflow_id: str, run_id: str | None = None) -> int:
    """How many Updates a run has taken."""
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    return len(
        [
            event
            async for event in handle.fetch_history_events()
            if event.HasField("workflow_execution_update_accepted_event_attributes")
        ]
    )


async def test_all_readers_of_a_process_share_one_poll(client: Client, unique: Any) -> None:
    """However many they are; and who starts further back reads that without any Update."""
    name = unique("polled")
    async with contrib_hosting(client, name) as handle, AsyncExitStack() as stack:
        await publish(client, name, "a", "b")
        first = await stack.enter_async_context(following(client, name, from_offset=2))
        others = [
            await stack.enter_async_context(following(client, name, from_offset=start))
            for start in [0, 1, LATEST, Last(1), 5] * 4
        ]
        await asyncio.gather(*(reader.count(2) for reader in others[::5]))
        rounds = 6
        for i in range(rounds):
            await publish(client, name, f"c{i}")
            await asyncio.gather(*(reader.count(i + 1) for reader in (first, *others[1::5])))
        await handle.signal(ContribHost.order, "finish")
        lines = [*items("a", "b", *(f"c{i}" for i in range(rounds))), ("end", "completed", 8)]
        assert await first.end() == lines[2:]
        for i, reader in enumerate(others):
            told_ = await reader.end()
            if i % 5 in (2, 3):
                assert told_ == lines[-len(told_) :]
            else:
                assert told_ == lines[[0, 1, 0, 0, 5][i % 5] :]
        # Each page that was waited for cost one, and the last wait, which the end broke off.
        assert await polls(client, name) <= rounds + 1


OTHER_PROCESS = """
import asyncio, sys
from temporalio.client import Client
from workflow_streams import WorkflowStreamClient

async def main(address, name):
    stream = WorkflowStreamClient.create(await Client.connect(address), name)
    async for item in stream.subscribe():
        print(item.offset, item.data, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_share_polls_as_well(
    client: Client, stream_server: Any, unique: Any
) -> None:
    name = unique("polled")
    async with contrib_hosting(client, name) as handle, following(client, name) as here:
        others = [
            await asyncio.create_subprocess_exec(
                *[sys.executable, "-c", OTHER_PROCESS, stream_server.address, name],
                stdout=asyncio.subprocess.PIPE,
            )
            for _ in range(2)
        ]
        try:
            rounds = 6
            for i in range(rounds):
                await publish(client, name, f"v{i}")
                await here.count(i + 1)
                for other in others:
                    assert other.stdout is not None
                    line = await asyncio.wait_for(other.stdout.readline(), SECONDS)
                    assert line == b"%d v%d\n" % (i, i)
            await handle.signal(ContribHost.order, "finish")
            assert (await here.end())[-1] == ("end", "completed", rounds)
            for other in others:
                assert await asyncio.wait_for(other.wait(), SECONDS) == 0
            assert await polls(client, name) <= rounds + 1
        finally:
            for other in others:
                if other.returncode is None:
                    other.kill()
                    await other.wait()


async def test_truncation_is_a_gap_to_who_asked_for_more(client: Client, unique: Any) -> None:
    name = unique("polled")
    async with contrib_hosting(client, name) as handle:
        await handle.signal(ContribHost.publish, [f"v{i}" for i in range(10)])
        await handle.signal(ContribHost.truncate, 4)
        async with (
            following(client, name, from_offset=2) as asked,
            following(client, name) as plain,
            following(client, name, from_offset=Last(20)) as last,
            following(client, name, from_offset=7) as late,
        ):
            kept = items(*(f"v{i}" for i in range(4, 10)), start=4)
            for reader, count in ((asked, 7), (plain, 6), (last, 6), (late, 3)):
                await reader.count(count)
            assert asked.lines == [("gap", 2, 4, "truncated"), *kept]
            assert plain.lines == last.lines == kept
            assert late.lines == kept[3:]
            # All that is left goes while a poll waits; what was told before stays told.
            await handle.signal(ContribHost.publish, ["x", "y"])
            for reader in (asked, plain, last, late):
                await reader.until(lambda lines: lines[-1][1] == "y")
            await handle.signal(ContribHost.order, "finish")
            for reader in (asked, plain, last, late):
                assert (await reader.end())[-3:] == [(10, "x"), (11, "y"), ("end", "completed", 12)]


async def test_a_reader_that_was_away_is_told_of_what_went_meanwhile(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0)
    name = unique("polled")
    async with contrib_hosting(client, name) as handle:
        await publish(client, name, "a", "b", "c")
        reader = aiter(WorkflowStreamClient.create(client, name).follow())
        lines = [told(await anext(reader))]
        await reader.aclose()  # type: ignore[attr-defined]
        # Signals to the contrib's own handler come last in a task.
        assert await WorkflowStreamClient.create(client, name).get_offset() == 3
        await handle.signal(ContribHost.truncate, 3)
        await publish(client, name, "d")
        async with following(client, name, from_offset=1) as again:
            await again.count(2)
            # Everything may be gone.
            await handle.signal(ContribHost.truncate, 4)
            await handle.signal(ContribHost.order, "finish")
            lines += await again.end()
    assert lines == [(0, "a"), ("gap", 1, 3, "truncated"), (3, "d"), ("end", "completed", 4)]


async def test_everything_truncated_is_a_gap_before_the_next_item(
    client: Client, unique: Any
) -> None:
    name = unique("polled")
    async with contrib_hosting(client, name) as handle:
        await publish(client, name, "a", "b", "c")
        # Signals to the contrib's own handler come last in a task.
        assert await WorkflowStreamClient.create(client, name).get_offset() == 3
        await handle.signal(ContribHost.truncate, 3)
        async with (
            following(client, name, from_offset=1) as asked,
            following(client, name) as plain,
        ):
            await asked.count(1)
            await publish(client, name, "d")
            await plain.count(1)
            await handle.signal(ContribHost.order, "finish")
            end: Line = ("end", "completed", 4)
            assert await asked.end() == [("gap", 1, 3, "truncated"), (3, "d"), end]
            assert await plain.end() == [(3, "d"), end]


async def test_the_end_comes_after_the_last_words(client: Client, unique: Any) -> None:
    """What is published right before the workflow returns is asked for by query."""
    name = unique("polled")
    async with contrib_hosting(client, name) as handle:
        await publish(client, name, "a")
        async with following(client, name) as live, following(client, name, from_offset=3) as late:
            await live.count(1)
            await handle.signal(ContribHost.order, "last words")
            expected = [*items("a", "last 0", "last 1", "last 2"), ("end", "completed", 4)]
            assert await live.end() == expected
            assert await late.end() == expected[3:]
        assert await story(client, name) == expected
        assert await story(client, name, from_offset=Last(2)) == expected[2:]
        assert await WorkflowStreamClient.create(client, name).get_offset() == 4


async def test_an_ended_stream_without_a_worker_is_an_error_and_never_an_early_end(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "QUERY_SECONDS", 1)
    name = unique("polled")
    async with AsyncExitStack() as stack:
        async with contrib_hosting(client, name) as handle:
            await publish(client, name, "a", "b")
            live = await stack.enter_async_context(following(client, name))
            await live.count(2)
        # Nobody is there to say what it published last.
        await handle.terminate()
        with pytest.raises(errors.HostUnavailableError):
            await live.end()
        assert live.lines == items("a", "b")
    with pytest.raises(errors.HostUnavailableError):
        await WorkflowStreamClient.create(client, name).get_offset()
    reader = aiter(WorkflowStreamClient.create(client, name).follow())
    with pytest.raises(errors.HostUnavailableError):
        await anext(reader)
    # With a worker there again, the same reader goes on.
    async with worker(client, name, workflows=[ContribHost]):
        lines = [told(event) async for event in reader]
    assert lines == [*items("a", "b"), ("end", "terminated", 2)]


async def test_a_running_stream_waits_for_its_worker(client: Client, unique: Any) -> None:
    name = unique("polled")
    async with contrib_hosting(client, name) as handle:
        await publish(client, name, "a")
        assert await WorkflowStreamClient.create(client, name).get_offset() == 1
    # A replay takes the tasks up to here in one, and in that, signals that the contrib's handler
    # takes come after those of the workflow's own handlers.
    async with following(client, name) as reader:
        await publish(client, name, "b")
        async with worker(client, name, workflows=[ContribHost]):
            await reader.count(2)
        await publish(client, name, "c")
        async with worker(client, name, workflows=[ContribHost]):
            await reader.count(3)
            await handle.signal(ContribHost.order, "finish")
            assert await reader.end() == [*items("a", "b", "c"), ("end", "completed", 3)]


async def test_rollovers_are_followed_and_the_log_goes_along(client: Client, unique: Any) -> None:
    name = unique("polled")
    async with contrib_hosting(client, name) as handle:
        first = await run_id_of(handle)
        async with following(client, name) as live, following(client, name, first) as pinned:
            run_id = first
            for i, label in enumerate("abc"):
                await publish(client, name, f"{label}1", f"{label}2")
                # The contrib's host forgets what comes with its first task if that rolls over.
                await live.count(2 * i + 2)
                if label == "b":
                    async with following(client, name, from_offset=1) as other:
                        await other.count(3)
                await handle.signal(ContribHost.order, "roll")
                run_id = await next_run(handle, run_id)
            await publish(client, name, "d")
            assert await WorkflowStreamClient.create(client, name).get_offset() == 7
            await handle.signal(ContribHost.order, "finish")
            expected = [
                *items("a1", "a2", "b1", "b2", "c1", "c2", "d"),
                ("end", "completed", 7),
            ]
            assert await live.end() == expected
            assert await pinned.end() == expected
        for run in (None, first, run_id):
            assert await story(client, name, run, from_offset=3) == expected[3:]


async def test_a_retry_takes_the_log_back(client: Client, unique: Any) -> None:
    name = unique("polled")
    soon = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_attempts=2)
    async with contrib_hosting(client, name, retry_policy=soon) as handle:
        first = await run_id_of(handle)
        async with following(client, name) as live:
            await publish(client, name, "a", "b", "c")
            await live.count(3)
            await handle.signal(ContribHost.order, "fail")
            await next_run(handle, first)
            await publish(client, name, "d")
            await handle.signal(ContribHost.order, "finish")
            expected = [
                *items("a", "b", "c"),
                ("rewind", [(0, 3)], "retry", 0),
                (0, "d"),
                ("end", "completed", 1),
            ]
            assert await live.end() == expected
        assert await story(client, name) == expected[-2:]


async def test_a_start_past_the_head_waits_there_and_holds_nobody_else_up(
    client: Client, unique: Any
) -> None:
    name = unique("polled")
    async with contrib_hosting(client, name) as handle:
        await publish(client, name, "a")
        async with following(client, name, from_offset=3) as ahead:
            # The feed is made for the one that is ahead; it must not begin there.
            feed = lookup.feed_of(WorkflowSource(client, name))
            await feed.wait(lambda: feed.floor is not None)
            async with following(client, name) as plain:
                await plain.count(1)
                await publish(client, name, "b", "c", "d", "e")
                await handle.signal(ContribHost.order, "finish")
                expected = [*items("a", "b", "c", "d", "e"), ("end", "completed", 5)]
                assert await plain.end() == expected
                assert await ahead.end() == expected[3:]


@pytest.mark.processes
async def test_a_host_that_has_had_its_updates_is_polled_by_query(unique: Any) -> None:
    """The contrib's own readers have none left then."""
    name = unique("polled")
    async with ConfiguredServer("history.maxTotalUpdates=10") as server:
        client = await server.connect()
        async with contrib_hosting(client, name) as handle, following(client, name) as live:
            values = [f"v{i}" for i in range(16)]
            for i, value in enumerate(values):
                await publish(client, name, value)
                await live.count(i + 1)
            poll = contrib.PollInput([], 0)
            with pytest.raises(RPCError, match="total number of distinct updates"):
                await handle.execute_update("__temporal_workflow_stream_poll", poll)
            async with following(client, name, from_offset=1) as late:
                await late.count(15)
                await publish(client, name, "more")
                await handle.signal(ContribHost.order, "finish")
                expected = [*items(*values, "more"), ("end", "completed", 17)]
                assert await live.end() == expected
                assert await late.end() == expected[1:]
            assert await polls(client, name) <= 10


async def test_a_host_in_another_language_is_read_and_what_it_keeps_to_itself_is_told(
    client: Client, unique: Any
) -> None:
    """Without a poll query nobody can be told of what such a host published last."""
    name = unique("other")
    async with worker(client, name, workflows=[OtherLanguage]):
        handle = await client.start_workflow(OtherLanguage.run, id=name, task_queue=name)
        await publish(client, name, "a", "b")
        async with following(client, name) as live, following(client, name, from_offset=1) as late:
            await live.count(2)
            await late.count(1)
            await publish(client, name, "c")
            await live.count(3)
            await handle.signal(OtherLanguage.finish)
            expected = [*items("a", "b", "c"), ("end", "completed", 3)]
            assert await live.end() == expected
            assert await late.end() == expected[1:]
        lost = ("gap", 1, 3, "unserved")
        assert await story(client, name, from_offset=1) == [lost, expected[-1]]
        assert await WorkflowStreamClient.create(client, name).get_offset() == 3
