"""Readers of a stream whose workflow is reset again and again hold what it holds now."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import ResetReapplyType
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.service import RPCError, RPCStatusCode

from tests.configured import DELETES_AT_ONCE, ConfiguredServer
from workflow_streams import WorkflowStreamClient
from workflow_streams.read.feeds import feed as feed_module
from workflow_streams.read.history.pages import close_event
from workflow_streams.testing.fixtures import StreamServer

from .contrib_hosts import ContribHost
from .hosts import Host, HostInput, hosting
from .story import (
    SECONDS,
    Line,
    following,
    items,
    next_run,
    roll_over,
    run_id_of,
    send,
    story,
    told,
)
from .test_contrib import contrib_hosting, publish
from .test_ends import delete
from .test_restarts import ALL_SIGNALS, NONE, reset

ELIGIBLE = ResetReapplyType.RESET_REAPPLY_TYPE_ALL_ELIGIBLE


async def task_ends(
    client: Client, workflow_id: str, run_id: str, *, after_signals: bool = False
) -> list[int]:
    """The events of a run that end its workflow tasks; all, or those after the last signal."""
    ends: list[int] = []
    run = client.get_workflow_handle(workflow_id, run_id=run_id)
    async for event in run.fetch_history_events():
        if event.HasField("workflow_task_completed_event_attributes"):
            ends.append(event.event_id)
        elif after_signals and event.HasField("workflow_execution_signaled_event_attributes"):
            ends = []
    return ends


def held(lines: list[Line]) -> dict[int, str]:
    """What a reader holds that does as it is told; it is told of every offset."""
    holds: dict[int, str] = {}
    following = None
    told = "\n".join(map(str, lines))
    for line in lines:
        match line:
            case ("rewind", ranges, _, next_offset):
                for start, stop in ranges:
                    for offset in range(start, stop):
                        holds.pop(offset, None)
                assert max(holds, default=-1) < next_offset, told
                following = next_offset
            case ("gap", start, end, _):
                assert following in (None, start), told
                following = end
            case ("end", _, head):
                assert following in (None, head), told
            case (int(offset), data):
                assert following in (None, offset), told
                holds[offset] = data
                following = offset + 1
    return holds


class Visitor:
    """A reader that comes and goes, and goes on each time where it left.

    Attributes:
        lines: What it has been told.
    """

    def __init__(self, client: Client, workflow_id: str) -> None:
        self._events = WorkflowStreamClient.create(client, workflow_id).follow()
        self._task: asyncio.Task[None] | None = None
        self.lines: list[Line] = []

    async def _read(self) -> None:
        async for event in self._events:
            self.lines.append(told(event))

    def come(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._read())

    async def leave(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def count(self, lines: int) -> None:
        async with asyncio.timeout(SECONDS):
            while len(self.lines) < lines:
                await asyncio.sleep(0.02)

    async def end(self) -> list[Line]:
        self.come()
        assert self._task is not None
        async with asyncio.timeout(SECONDS):
            await self._task
        return self.lines


class Play:
    """Does at random what publishers, a workflow and its operator may do."""

    def __init__(self, client: Client, handle: WorkflowHandle[Any, Any], seed: int) -> None:
        self.random = random.Random(seed)
        self._client = client
        self._handle = handle
        self._runs: list[str] = []
        self._count = 0
        self.log: list[str] = []

    def _values(self) -> list[str]:
        values = [f"v{self._count + i}" for i in range(self.random.randint(1, 3))]
        self._count += len(values)
        return values

    async def step(self) -> None:
        """Do one thing."""
        current = await run_id_of(self._handle)
        if current not in self._runs:
            self._runs.append(current)
        what = self.random.choices(
            [self._publish, self._own, self._roll, self._reset], [4, 3, 1.5, 3]
        )
        try:
            await what[0]()
        except RPCError as err:
            # The run has closed in between, or cannot be reset there.
            if err.status not in (
                RPCStatusCode.NOT_FOUND,
                RPCStatusCode.INVALID_ARGUMENT,
                RPCStatusCode.FAILED_PRECONDITION,
            ):
                raise
            self.log.append(f"refused: {err}")

    async def _publish(self) -> None:
        values = self._values()
        self.log.append(f"publish {values}")
        async with WorkflowStreamClient.create(self._client, self._handle.id) as stream:
            for value in values:
                stream.topic("out", type=str).publish(value)

    async def _own(self) -> None:
        values = self._values()
        self.log.append(f"own {values}")
        await self._handle.signal(Host.publish, values)

    async def _roll(self) -> None:
        self.log.append("roll")
        if self.random.random() < 0.7:
            await roll_over(self._handle)
        else:
            await self._handle.signal(Host.order, "roll")

    async def _reset(self) -> None:
        run_id = self.random.choice(self._runs[-4:])
        ends = await task_ends(self._client, self._handle.id, run_id)
        if not ends:
            return
        event_id = self.random.choice(ends)
        reapply = self.random.choice([NONE, NONE, ALL_SIGNALS, ELIGIBLE])
        new = await reset(self._client, self._handle.id, run_id, event_id, reapply)
        self.log.append(f"reset {run_id[-4:]} to {event_id} {reapply}: {new[-4:]}")
        self._runs.append(new)

    async def close(self) -> None:
        """End the workflow."""
        if self.random.random() < 0.3:
            await self._handle.terminate()
            return
        async with asyncio.timeout(SECONDS):
            while (await self._handle.describe()).status == WorkflowExecutionStatus.RUNNING:
                try:
                    await self._handle.signal(Host.order, "finish")
                except RPCError:
                    continue
                await asyncio.sleep(0.1)


@pytest.mark.parametrize("ring_bytes", [1, feed_module.RING_BYTES])
@pytest.mark.parametrize("seed", range(3))
async def test_however_a_workflow_is_reset_its_readers_hold_what_it_holds(
    stream_server: StreamServer,
    client: Client,
    unique: Any,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
    ring_bytes: int,
) -> None:
    monkeypatch.setattr(feed_module, "RING_BYTES", ring_bytes)
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0)
    name = unique("resets")
    elsewhere = await stream_server.connect()
    async with AsyncExitStack() as stack:
        handle = await stack.enter_async_context(hosting(client, name))
        play = Play(client, handle, seed)
        connected = await stack.enter_async_context(following(client, name))
        first = await run_id_of(handle)
        pinned = await stack.enter_async_context(following(elsewhere, name, first))
        visitors = [Visitor(elsewhere, name), Visitor(client, name)]
        joining: list[Any] = []
        for step in range(play.random.randint(8, 18)):
            await play.step()
            for visitor in visitors:
                match play.random.randrange(4):
                    case 0:
                        visitor.come()
                    case 1:
                        await visitor.leave()
                    case _:
                        pass
            if play.random.random() < 0.6:
                await asyncio.sleep(play.random.choice([0.0, 0.05, 0.3]))
            if step % 5 == 4:
                joining.append(await stack.enter_async_context(following(client, name)))
        await play.close()
        stories = {
            "connected": await connected.end(),
            "pinned": await pinned.end(),
            "elsewhere": await visitors[0].end(),
            "coming and going": await visitors[1].end(),
        }
        for index, follower in enumerate(joining):
            stories[f"joined {index}"] = await follower.end()
    late = await story(await stream_server.connect(), name)
    for who, lines in stories.items():
        report = "\n".join(map(str, [who, *play.log, *lines, "late", *late]))
        assert held(lines) == held(late), report
        assert lines[-1] == late[-1], report


async def published(
    client: Client, handle: WorkflowHandle[Any, Any], *values: str
) -> dict[str, int]:
    """Have values published by signals, in a task each; return the event that ends each task."""
    ends: dict[str, int] = {}
    run_id = await run_id_of(handle)
    for value in values:
        await send(client, handle.id, value)
        async with asyncio.timeout(SECONDS):
            while not (after := await task_ends(client, handle.id, run_id, after_signals=True)):
                await asyncio.sleep(0.02)
        ends[value] = after[-1]
    return ends


async def test_a_second_reset_of_a_run_to_a_later_point_brings_back_what_stood_there(
    client: Client, unique: Any
) -> None:
    name = unique("reset")
    async with hosting(client, name) as handle, following(client, name) as live:
        first = await run_id_of(handle)
        ends = await published(client, handle, "a", "b", "c", "d", "e")
        await live.count(5)
        second = await reset(client, name, first, ends["b"])
        await send(client, name, "x", "y", "z")
        await live.until(lambda lines: lines[-1] == (4, "z"))
        await reset(client, name, first, ends["d"])
        await next_run(handle, second)
        await send(client, name, "f")
        await handle.signal(Host.order, "finish")
        end = ("end", "completed", 5)
        assert await live.end() == [
            *items("a", "b", "c", "d", "e"),
            ("rewind", [(2, 5)], "reset", 2),
            *items("x", "y", "z", start=2),
            ("rewind", [(2, 5)], "reset", 2),
            *items("c", "d", "f", start=2),
            end,
        ]
    assert await story(client, name) == [*items("a", "b", "c", "d", "f"), end]
    assert await story(client, name, second) == [*items("a", "b"), *live.lines[6:]]
    # The first run has a successor that it had to do with.
    assert await story(client, name, first) == [
        *items("a", "b", "c", "d", "e"),
        ("rewind", [(4, 5)], "reset", 4),
        (4, "f"),
        end,
    ]


async def test_a_reset_run_that_wrote_nothing_is_left_without_a_hole(
    client: Client, unique: Any
) -> None:
    name = unique("reset")
    async with hosting(client, name) as handle, following(client, name) as live:
        first = await run_id_of(handle)
        ends = await published(client, handle, "a", "b", "c", "d")
        await live.count(4)
        second = await reset(client, name, first, ends["b"])
        await live.count(5)
        await reset(client, name, first, ends["d"])
        await next_run(handle, second)
        await send(client, name, "e")
        await handle.signal(Host.order, "finish")
        assert await live.end() == [
            *items("a", "b", "c", "d"),
            ("rewind", [(2, 4)], "reset", 2),
            ("rewind", [], "reset", 2),
            *items("c", "d", "e", start=2),
            ("end", "completed", 5),
        ]


@pytest.mark.parametrize("how", ["finish", "terminate"])
async def test_one_that_comes_back_after_a_run_has_ended_and_was_reset_goes_on(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0)
    name = unique("reset")
    async with hosting(client, name) as handle:
        first = await run_id_of(handle)
        visitor = Visitor(client, name)
        visitor.come()
        ends = await published(client, handle, "a", "b", "c")
        await visitor.count(3)
        await visitor.leave()
        await send(client, name, "d")
        if how == "finish":
            await handle.signal(Host.order, "finish")
        else:
            await handle.terminate()
        await close_event(client, name, first)
        await reset(client, name, first, ends["b"])
        await send(client, name, "e")
        await handle.signal(Host.order, "finish")
        lines = await visitor.end()
    assert lines == [
        *items("a", "b", "c", "d"),
        ("rewind", [(2, 4)], "reset", 2),
        (2, "e"),
        ("end", "completed", 3),
    ]
    assert await story(client, name) == [*items("a", "b", "e"), ("end", "completed", 3)]


@pytest.mark.processes
async def test_when_the_run_that_a_reader_left_has_been_deleted_it_is_told_all_again(
    unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0)
    name = unique("reset")
    async with ConfiguredServer(DELETES_AT_ONCE) as server:
        client = await server.connect()
        await told_again_after_deletion(client, name)


async def told_again_after_deletion(client: Client, name: str) -> None:
    async with hosting(client, name) as handle:
        visitor = Visitor(client, name)
        visitor.come()
        await published(client, handle, "a", "b")
        first = await run_id_of(handle)
        second = await roll_over(handle)
        ends = await published(client, handle, "c", "d", "e")
        await visitor.count(5)
        await visitor.leave()
        await reset(client, name, second, ends["c"])
        third = await next_run(handle, second)
        await send(client, name, "f")
        await delete(client, name, second)
        visitor.come()
        await visitor.count(10)
        await visitor.leave()
        # That before it, too: what is left begins at a later offset.
        await reset(client, name, third, ends["c"])
        await next_run(handle, third)
        await delete(client, name, third)
        await delete(client, name, first)
        await handle.signal(Host.order, "finish")
        lines = await visitor.end()
    assert lines == [
        *items("a", "b", "c", "d", "e"),
        ("rewind", [(0, 5)], "reset", 0),
        *items("a", "b", "c", "f"),
        ("rewind", [(0, 4)], "reset", 0),
        ("gap", 0, 2, "expired"),
        (2, "c"),
        ("end", "completed", 3),
    ]


async def test_a_failed_attempt_that_is_reset_takes_the_place_of_its_retry(
    client: Client, unique: Any
) -> None:
    name = unique("reset")
    soon = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_attempts=3)
    async with hosting(client, name, retry_policy=soon) as handle, following(client, name) as live:
        await published(client, handle, "a", "b")
        second = await roll_over(handle)
        ends = await published(client, handle, "c", "d")
        await live.count(4)
        await handle.signal(Host.order, "fail")
        third = await next_run(handle, second)
        await published(client, handle, "e", "f", "g")
        await live.until(lambda lines: lines[-1] == (4, "g"))
        fourth = await reset(client, name, second, ends["c"])
        await next_run(handle, third)
        await send(client, name, "h")
        await live.until(lambda lines: lines[-1][1] == "h")
        await handle.signal(Host.order, "fail")
        fifth = await next_run(handle, fourth)
        ends = await published(client, handle, "i", "j", "k")
        await live.until(lambda lines: lines[-1][1] == "k")
        await reset(client, name, fifth, ends["j"])
        await next_run(handle, fifth)
        await handle.signal(Host.order, "finish")
        assert await live.end() == [
            *items("a", "b", "c", "d"),
            ("rewind", [(2, 4)], "retry", 2),
            *items("e", "f", "g", start=2),
            ("rewind", [(2, 5)], "reset", 2),
            *items("c", "h", start=2),
            ("rewind", [(2, 4)], "retry", 2),
            *items("i", "j", "k", start=2),
            ("rewind", [(4, 5)], "reset", 4),
            ("end", "completed", 4),
        ]
    assert await story(client, name) == [*items("a", "b", "i", "j"), ("end", "completed", 4)]


async def test_a_reset_of_a_stream_that_is_polled_takes_all_of_it_back(
    client: Client, unique: Any
) -> None:
    """A host in another language or of the contrib keeps no records that could be compared."""
    name = unique("polled")
    async with contrib_hosting(client, name) as handle:
        first = await run_id_of(handle)
        async with following(client, name) as live:
            await publish(client, name, "a", "b", "c")
            await live.count(3)
            ends = await task_ends(client, name, first)
            second = await roll_over(handle)
            await publish(client, name, "d")
            await live.count(4)
            await reset(client, name, first, ends[0])
            third = await next_run(handle, second)
            await publish(client, name, "e")
            await live.until(lambda lines: lines[-1][1] == "e")
            await roll_over(handle)
            await publish(client, name, "f")
            await live.until(lambda lines: lines[-1][1] == "f")
            await reset(client, name, third, (await task_ends(client, name, third))[0])
            await live.until(lambda lines: lines[-1][0] == "rewind")
            await publish(client, name, "g")
            await live.until(lambda lines: lines[-1][1] == "g")
            await handle.signal(ContribHost.order, "finish")
            lines = await live.end()
        late = await story(client, name)
        assert held(lines) == held(late)
        told_back = [line for line in lines if line[0] == "rewind"]
        assert [line[2:] for line in told_back] == [("reset", 0)] * 2, lines
        assert [line[1][0][0] for line in told_back] == [0, 0], lines


async def test_one_that_comes_back_when_the_id_is_used_again_still_learns_of_the_reset(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0)
    name = unique("reset")
    async with hosting(client, name) as handle:
        first = await run_id_of(handle)
        visitor = Visitor(client, name)
        visitor.come()
        ends = await published(client, handle, "a", "b", "c")
        await visitor.count(3)
        await visitor.leave()
        second = await reset(client, name, first, ends["b"])
        await send(client, name, "d")
        await handle.signal(Host.order, "finish")
        await close_event(client, name, second)
        await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
        await send(client, name, "of another workflow")
        assert await visitor.end() == [
            *items("a", "b", "c"),
            ("rewind", [(2, 3)], "reset", 2),
            (2, "d"),
            ("end", "completed", 3),
        ]
        await handle.terminate()
