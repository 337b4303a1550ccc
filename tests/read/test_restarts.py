"""What readers are told when the server starts a workflow anew: retry, cron, reset."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RetryPolicy

from workflow_streams import LATEST, Last, WorkflowStreamClient
from workflow_streams.read.feeds import feed as feed_module

from .hosts import Host, HostInput, hosting
from .story import (
    Follower,
    attached,
    following,
    items,
    next_run,
    roll_over,
    run_id_of,
    send,
    story,
    told,
)

SOON = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_attempts=3)
ALL_SIGNALS = ResetReapplyType.RESET_REAPPLY_TYPE_SIGNAL
NONE = ResetReapplyType.RESET_REAPPLY_TYPE_NONE


async def reset(
    client: Client, workflow_id: str, run_id: str, event_id: int, reapply: Any = NONE
) -> str:
    """Reset a run to the end of the workflow task whose end is this event."""
    request = ResetWorkflowExecutionRequest(
        namespace=client.namespace,
        workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        reason="as told",
        workflow_task_finish_event_id=event_id,
        request_id=str(uuid.uuid4()),
        reset_reapply_type=reapply,
    )
    return (await client.workflow_service.reset_workflow_execution(request)).run_id


async def publish_one_by_one(
    handle: WorkflowHandle[Any, Any], live: Follower, *values: str
) -> dict[str, int]:
    """Have a Host publish values in a task each; return the event that ends each task."""
    ends: dict[str, int] = {}
    for value in values:
        await handle.signal(Host.publish, [value])
        await live.until(lambda lines, value=value: lines and lines[-1][1] == value)
        ends[value] = max([e async for e in _task_ends(handle)])
    return ends


async def _task_ends(handle: WorkflowHandle[Any, Any]) -> AsyncIterator[int]:
    async for event in handle.fetch_history_events():
        if event.HasField("workflow_task_completed_event_attributes"):
            yield event.event_id


async def test_a_retry_takes_back_what_the_failed_run_wrote(client: Client, unique: Any) -> None:
    name = unique("retry")
    host = HostInput(failing_attempts=2)
    async with hosting(client, name, host, retry_policy=SOON) as handle:
        first = await run_id_of(handle)
        async with (
            following(client, name) as whole,
            following(client, name, from_offset=2) as late,
            following(client, name, from_offset=50) as waiting,
        ):
            await send(client, name, "a1", "a2", "a3")
            await whole.count(3)
            await handle.signal(Host.order, "fail")
            second = await next_run(handle, first)
            await send(client, name, "b1")
            async with following(client, name, from_offset=LATEST) as latest:
                await whole.count(5)
                await attached(client, name, readers=4)
                await handle.signal(Host.order, "fail")
                await next_run(handle, second)
                await send(client, name, "c1", "c2")
                await handle.signal(Host.order, "finish")
                end = ("end", "completed", 2)
                assert await whole.end() == [
                    *items("a1", "a2", "a3"),
                    ("rewind", [(0, 3)], "retry", 0),
                    (0, "b1"),
                    ("rewind", [(0, 1)], "retry", 0),
                    *items("c1", "c2"),
                    end,
                ]
                assert await late.end() == [(2, "a3"), *whole.lines[3:]]
                # It began after b1 if it was quick enough, and has the third run whole.
                assert latest.task.done() or await latest.end()
                assert (await latest.end())[-4:] == whole.lines[-4:]
            # An offset that the stream never came to has nothing to be taken back.
            assert await waiting.end() == [end]
    # Later there is the last run only; from the first one on, the whole story.
    assert await story(client, name) == [*items("c1", "c2"), end]
    assert await story(client, name, from_offset=Last(1)) == [(1, "c2"), end]
    assert await story(client, name, first) == whole.lines
    assert await WorkflowStreamClient.create(client, name).get_offset() == 2


async def test_a_retry_after_a_rollover_goes_back_to_where_the_run_began(
    client: Client, unique: Any
) -> None:
    name = unique("retry")
    async with (
        hosting(client, name, HostInput(), retry_policy=SOON) as handle,
        following(client, name) as live,
    ):
        await send(client, name, "a", "b")
        second = await roll_over(handle)
        await send(client, name, "c", "d")
        await handle.signal(Host.truncate, 1)
        await live.count(4)
        await handle.signal(Host.order, "fail")
        await next_run(handle, second)
        await send(client, name, "e")
        await handle.signal(Host.order, "finish")
        assert await live.end() == [
            *items("a", "b", "c", "d"),
            ("rewind", [(2, 4)], "retry", 2),
            (2, "e"),
            ("end", "completed", 3),
        ]
    assert await story(client, name) == [*items("a", "b", "e"), ("end", "completed", 3)]


async def test_between_two_attempts_the_failed_one_can_be_read(client: Client, unique: Any) -> None:
    """The next run is there at once, but no worker takes it up before the interval is over."""
    name = unique("retry")
    never = RetryPolicy(initial_interval=timedelta(hours=1), maximum_attempts=2)
    async with hosting(client, name, HostInput(), retry_policy=never) as handle:
        first = await run_id_of(handle)
        await send(client, name, "a")
        await handle.signal(Host.order, "fail")
        await next_run(handle, first)
        async with following(client, name) as reader:
            await reader.count(1)
            assert await WorkflowStreamClient.create(client, name).get_offset() == 1
            await handle.terminate()
            assert (await reader.end())[0] == (0, "a")
            assert reader.lines[-1][:2] == ("end", "terminated")


async def test_each_cron_run_starts_the_stream_anew(client: Client, unique: Any) -> None:
    name = unique("cron")
    async with hosting(client, name, cron_schedule="@every 3s") as handle:
        first = await run_id_of(handle)
        async with following(client, name) as live:
            for label in "ab":
                run_id = await run_id_of(handle)
                await handle.signal(Host.publish, [f"{label}1", f"{label}2"])
                await handle.signal(Host.order, "finish")
                await next_run(handle, run_id)
            # Until the next run's time has come, that before it is what there is. Readers in one
            # process share a reading: who joins it has what that has come to.
            await live.count(5)
            async with following(client, name) as between:
                await between.count(2)
                await handle.signal(Host.publish, ["c1"])
                await live.count(7)
                await handle.terminate()
                lines = await live.end()
                ended = await between.end()
    assert lines == [
        *items("a1", "a2"),
        ("rewind", [(0, 2)], "cron", 0),
        *items("b1", "b2"),
        ("rewind", [(0, 2)], "cron", 0),
        (0, "c1"),
        ("end", "terminated", 1),
    ]
    assert ended == lines[3:]
    assert await story(client, name) == lines[-2:]
    assert await story(client, name, first) == lines


@pytest.mark.parametrize("reapply", [ALL_SIGNALS, NONE])
async def test_a_reset_takes_back_what_stood_after_it(
    client: Client, unique: Any, reapply: Any
) -> None:
    name = unique("reset")
    async with hosting(client, name) as handle:
        first = await run_id_of(handle)
        async with following(client, name) as live, following(client, name, from_offset=4) as late:
            ends = await publish_one_by_one(handle, live, "a", "b", "c")
            await send(client, name, "d", "e")
            await live.count(5)
            await reset(client, name, first, ends["c"], reapply)
            await next_run(handle, first)
            # The order for "c" stands before the task that is done again; it publishes at its end.
            again = ["d", "e", "c", "new"] if reapply == ALL_SIGNALS else ["c", "new"]
            await live.count(5 + len(again))
            await send(client, name, "new")
            await handle.signal(Host.order, "finish")
            head = 2 + len(again)
            assert await live.end() == [
                *items("a", "b", "c", "d", "e"),
                ("rewind", [(2, 5)], "reset", 2),
                *items(*again, start=2),
                ("end", "completed", head),
            ]
            assert await late.end() == [(4, "e"), *live.lines[5:]]
    later = [*items("a", "b", *again), ("end", "completed", head)]
    assert await story(client, name) == later
    assert await story(client, name, from_offset=3) == later[3:]
    assert await story(client, name, first) == live.lines


async def test_a_reset_to_the_first_task_takes_everything_back(client: Client, unique: Any) -> None:
    name = unique("reset")
    async with hosting(client, name) as handle:
        first = await run_id_of(handle)
        async with following(client, name) as live:
            await send(client, name, "a", "b")
            await live.count(2)
            await reset(client, name, first, min([e async for e in _task_ends(handle)]))
            await next_run(handle, first)
            await send(client, name, "c")
            await handle.signal(Host.order, "finish")
            lines = await live.end()
    again = lines[3:-2]
    # Signals from before the first task stay; there may be none of them, or one.
    assert again in ([], [(0, "a")], [(0, "a"), (1, "b")])
    head = len(again)
    assert lines == [
        *items("a", "b"),
        ("rewind", [(0, 2)], "reset", 0),
        *again,
        (head, "c"),
        ("end", "completed", head + 1),
    ]
    assert await story(client, name) == lines[3:]


async def test_a_reset_of_an_earlier_run_takes_back_the_runs_after_it(
    client: Client, unique: Any
) -> None:
    name = unique("reset")
    async with hosting(client, name) as handle:
        first = await run_id_of(handle)
        async with following(client, name) as live:
            ends = await publish_one_by_one(handle, live, "a", "b", "c")
            second = await roll_over(handle)
            await send(client, name, "d", "e")
            await live.count(5)
            await reset(client, name, first, ends["c"])
            third = await next_run(handle, second)
            await live.until(lambda lines: lines[-1] == (2, "c") and len(lines) > 5)
            await send(client, name, "f")
            await roll_over(handle)
            await send(client, name, "g")
            await handle.signal(Host.order, "finish")
            assert await live.end() == [
                *items("a", "b", "c", "d", "e"),
                ("rewind", [(2, 5)], "reset", 2),
                *items("c", "f", "g", start=2),
                ("end", "completed", 5),
            ]
    later = [*items("a", "b", "c", "f", "g"), ("end", "completed", 5)]
    assert await story(client, name) == later
    assert await story(client, name, third) == later
    assert await story(client, name, second) == live.lines


async def test_a_reader_behind_several_resets_takes_them_one_after_the_other(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the run that was reset last is not the one that had ended last."""
    monkeypatch.setattr(feed_module, "RING_BYTES", 1)
    name = unique("reset")
    async with hosting(client, name) as handle:
        first = await run_id_of(handle)
        async with following(client, name) as fast:
            ends = await publish_one_by_one(handle, fast, "a", "b")
            slow = WorkflowStreamClient.create(client, name).follow()
            lines = [told(await anext(slow))]
            second = await reset(client, name, first, ends["b"])
            await send(client, name, "c")
            await fast.count(5)
            # The first run again: its new run takes the place of the second one.
            await reset(client, name, first, ends["b"])
            await next_run(handle, second)
            await send(client, name, "d")
            await roll_over(handle)
            await send(client, name, "e")
            await handle.signal(Host.order, "finish")
            once = await fast.end()
            rewind = ("rewind", [(1, 2)], "reset", 1)
            twice = ("rewind", [(1, 3)], "reset", 1)
            last = [*items("b", "d", "e", start=1), ("end", "completed", 4)]
            # "b" is published again by the task that is done again, before "c" or after it.
            again = sorted(line[1] for line in once[3:5])
            assert again == ["b", "c"]
            assert once == [*items("a", "b"), rewind, *once[3:5], twice, *once[6:]]
            assert sorted(once[6:8]) in ([(1, "b"), (2, "d")], [(1, "d"), (2, "b")])
            assert once[8:] == last[2:]
        lines += [told(event) async for event in slow]
    # The server notes the last reset of a run: the slow reader goes straight to that.
    assert lines == [*items("a", "b"), rewind, *once[6:]]
    assert await story(client, name, second) == [(0, "a"), *once[3:]]
    assert await story(client, name) == [(0, "a"), *once[6:]]
