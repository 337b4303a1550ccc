"""What a failed attempt wrote is taken back whole, however often the stream has rolled over since.

The attempts are those of another workflow's activity; one of the stream's own workflow cannot be
retried in a later run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import RawValue
from temporalio.worker import Replayer

from tests.read.hosts import Host, HostInput, hosting
from tests.read.story import Line, following, items, roll_over, send, story
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload
from workflow_streams.log.publisher_ids import ActivityPublisher, Attempt
from workflow_streams.log.records import parse_record


class Activity:
    """An activity of another workflow, as the signals of its publishers show it."""

    def __init__(self, handle: WorkflowHandle[Any, Any], run: str = "run", name: str = "1") -> None:
        self._handle = handle
        self._run, self._name = run, name
        self._number = self._sequence = 0

    async def begin(self) -> None:
        """Begin the next attempt, which a retry tells at once."""
        self._number += 1
        self._sequence = 0
        if self._number > 1:
            await self.publish()

    async def publish(self, *values: str) -> None:
        self._sequence += 1
        who = ActivityPublisher(self._run, self._name, Attempt(self._number, self._number))
        entries = [entry_of("out", json_payload(f'"{value}"'.encode())) for value in values]
        batch = batch_payload(entries, who.publisher_id("n"), self._sequence)
        await self._handle.signal(wire.PUBLISH_SIGNAL, RawValue(batch))


async def finished(client: Client, handle: WorkflowHandle[Any, Any]) -> None:
    """Have a Host end, and all its runs replay."""
    described = await handle.describe()
    runs = [described.run_id]
    await handle.signal(Host.order, "finish")
    await handle.result()
    while runs[-1]:
        history = await client.get_workflow_handle(handle.id, run_id=runs[-1]).fetch_history()
        await Replayer(workflows=[Host]).replay_workflow(history)
        started = history.events[0].workflow_execution_started_event_attributes
        runs.append(started.continued_execution_run_id)


async def test_rollovers_between_two_attempts_leave_nothing_out_of_the_rewind(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("rolls")
    async with hosting(client, name) as handle, following(client, name) as live:
        activity = Activity(handle)
        await activity.begin()
        await activity.publish("a", "b")
        await send(client, name, "other")
        await activity.publish("c")
        await roll_over(handle)
        await send(client, name, "second run")
        await roll_over(handle)
        await activity.publish("d")
        await live.count(6)
        await activity.begin()
        await activity.publish("e")
        await roll_over(handle)
        await activity.begin()
        await send(client, name, "last")
        late = await story_of_run(client, handle)
        await finished(client, handle)
        lines = await live.end()
    expected: list[Line] = [
        *items("a", "b", "other", "c", "second run", "d"),
        ("rewind", [(0, 2), (3, 4), (5, 6)], "attempt", 6),
        *items("e", start=6),
        ("rewind", [(6, 7)], "attempt", 7),
        *items("last", start=7),
        ("end", "completed", 8),
    ]
    assert lines == expected
    assert await story(client, name) == expected
    # Whoever starts in the run that rewinds is told the same, of offsets before it too.
    assert late == expected[8:-1]
    assert await story(client, name, from_offset=4) == expected[4:]
    assert await story(client, name, from_offset=7) == expected[8:]


async def story_of_run(client: Client, handle: WorkflowHandle[Any, Any]) -> list[Line]:
    """Follow the stream from the start of the current run to its item "last"."""
    async with following(client, handle.id, from_offset=7) as late:
        await late.until(lambda lines: lines and lines[-1] == (7, "last"))
        return late.lines


async def test_what_the_ring_buffer_has_dropped_is_not_carried_along(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("ring")
    async with hosting(client, name, HostInput(keep_last=3)) as handle:
        activity = Activity(handle)
        await activity.begin()
        await activity.publish("a", "b", "c", "d")
        await send(client, name, "other")
        await roll_over(handle)
        run = await roll_over(handle)
        opening = await opening_of(client, name, run)
        assert (opening.base, opening.written) == (2, {"run/1": [range(2, 4)]})
        await activity.begin()
        assert await send(client, name, "last") == [5]
        await finished(client, handle)
    rewind = ("rewind", [(2, 4)], "attempt", 5)
    told = [*items("d", "other", start=3), rewind, *items("last", start=5), ("end", "completed", 6)]
    assert await story(client, name, from_offset=3) == told


async def test_what_was_truncated_is_not_carried_along(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("truncated")
    async with hosting(client, name) as handle:
        activity, other = Activity(handle), Activity(handle, name="2")
        await activity.begin()
        await other.begin()
        await activity.publish("a", "b")
        await other.publish("c", "d")
        # In a run's first task, a handler would not see them yet.
        assert await handle.query(wire.OFFSET_QUERY, result_type=int) == 4
        await handle.signal(Host.truncate, 3)
        await send(client, name, "e")
        run = await roll_over(handle)
        assert (await opening_of(client, name, run)).written == {"run/2": [range(3, 4)]}
        await activity.begin()
        await other.begin()
        await finished(client, handle)
    assert await story(client, name) == [
        *items("d", "e", start=3),
        ("rewind", [], "attempt", 5),
        ("rewind", [(3, 4)], "attempt", 5),
        ("end", "completed", 5),
    ]


async def test_only_what_may_still_be_taken_back_is_carried_along(
    client: Client, unique: Callable[[str], str]
) -> None:
    """Not what the workflow's own activities wrote, nor attempts that have been superseded."""
    name = unique("own")
    async with hosting(client, name) as handle:
        own = Activity(handle, run=(await handle.describe()).run_id)
        other = Activity(handle)
        for activity in (own, other):
            await activity.begin()
            await activity.publish("a")
        await other.begin()
        assert await send(client, name, "b") == [2]
        run = await roll_over(handle)
        assert (await opening_of(client, name, run)).written == {}
        await finished(client, handle)


async def opening_of(client: Client, name: str, run_id: str) -> wire.Opening:
    """The opening record of a run."""
    handle = client.get_workflow_handle(name, run_id=run_id)
    async for event in handle.fetch_history_events(wait_new_event=True):
        fields = event.workflow_properties_modified_event_attributes.upserted_memo.fields
        record = parse_record(fields[wire.MEMO_KEY]) if wire.MEMO_KEY in fields else None
        if record is not None and record.opening is not None:
            return record.opening
    raise AssertionError("the run has not opened")
