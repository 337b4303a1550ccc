"""Who resumes at a position is told what has become of what it had."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.worker import Worker

from tests.configured import DELETES_AT_ONCE, ConfiguredServer
from workflow_streams import LATEST, Last, Rewind, WorkflowStreamClient
from workflow_streams.errors import InvalidOffsetError, StreamNotFoundError, UsageError
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload
from workflow_streams.log.positions import Position, parse_position
from workflow_streams.log.publisher_ids import ActivityPublisher, Attempt
from workflow_streams.testing.fixtures import StreamServer

from .contrib_hosts import ContribHost, ContribInput
from .hosts import Host, HostInput, hosting, worker
from .story import Follower, following, items, next_run, roll_over, run_id_of, send, story, told
from .test_ends import delete
from .test_restarts import NONE, SOON, publish_one_by_one, reset


async def had(client: Client, name: str, count: int) -> list[str]:
    """Read so many events; return the position after each."""
    positions: list[str] = []
    stream = WorkflowStreamClient.create(client, name)
    async with aclosing(stream.follow()) as events:  # type: ignore[type-var]
        while len(positions) < count:
            positions.append((await anext(events)).position)
    return positions


@pytest.fixture
async def stranger(stream_server: StreamServer) -> Client:
    """Another connection, whose readers share nothing with those of `client`."""
    return await stream_server.connect()


async def test_a_reader_goes_on_after_what_it_had_over_rollovers(
    client: Client, stranger: Client, unique: Any
) -> None:
    name = unique("resume")
    async with hosting(client, name) as handle:
        await send(client, name, "a", "b", "c")
        early = await had(client, name, 3)
        await roll_over(handle)
        await send(client, name, "d", "e")
        late = await had(client, name, 5)
        await handle.signal(Host.truncate, 1)
        await send(client, name, "f")
        await handle.signal(Host.order, "finish")
        await handle.result()
    everything = [*items("a", "b", "c", "d", "e", "f"), ("end", "completed", 6)]
    for positions in (early, late):
        for count, position in enumerate(positions, 1):
            for reader in (client, stranger):
                assert await story(reader, name, from_position=position) == everything[count:]
    # The offset is its beginning, and without more it is as good as the number.
    assert [parse_position(position[:20]) for position in late] == [1, 2, 3, 4, 5]
    assert await story(client, name, from_position="3") == everything[3:]
    assert await story(client, name, from_position="0") == [
        *everything[1:],
    ]
    # Who resumes at the end is told the end again, and who only subscribes has the items.
    stream = WorkflowStreamClient.create(client, name)
    events = [event async for event in stream.follow()]
    assert await story(client, name, from_position=events[-1].position) == everything[-1:]
    topic = stream.topic("out", type=str)
    rest = [item.data async for item in topic.subscribe(from_position=late[2])]
    assert rest == ["d", "e", "f"]


@pytest.mark.parametrize("rolls", [False, True])
async def test_a_retry_while_a_reader_was_away_is_told(
    client: Client, stranger: Client, unique: Any, rolls: bool
) -> None:
    name = unique("retry")
    async with hosting(client, name, retry_policy=SOON) as handle:
        first = await run_id_of(handle)
        await send(client, name, "a1", "a2", "a3")
        positions = await had(client, name, 3)
        await handle.signal(Host.order, "fail")
        await next_run(handle, first)
        await send(client, name, "b1")
        if rolls:
            await roll_over(handle)
        await send(client, name, "b2")
        rewind = ("rewind", [(0, 3)], "retry", 0)
        for reader in (client, stranger):
            async with following(reader, name, from_position=positions[2]) as live:
                await live.count(3)
                assert live.lines == [rewind, *items("b1", "b2")]
        again = await had(client, name, 2)
        await handle.signal(Host.order, "finish")
        await handle.result()
    end = ("end", "completed", 2)
    for reader in (client, stranger):
        # Who had not had all of it is told the rest as well, as who had stayed would have been.
        assert await story(reader, name, from_position=positions[0]) == [
            (1, "a2"),
            (2, "a3"),
            rewind,
            *items("b1", "b2"),
            end,
        ]
        assert await story(reader, name, from_position=again[1]) == [end]
        # The same number says nothing, so that nothing can be told.
        assert await story(reader, name, from_offset=3) == [end]


async def test_the_position_of_a_rewind_is_past_it(client: Client, unique: Any) -> None:
    name = unique("retry")
    async with hosting(client, name, retry_policy=SOON) as handle:
        first = await run_id_of(handle)
        events = WorkflowStreamClient.create(client, name).follow()
        await send(client, name, "a")
        await anext(events)
        await handle.signal(Host.order, "fail")
        await next_run(handle, first)
        rewind = await anext(events)
        assert isinstance(rewind, Rewind)
        await send(client, name, "b")
        await handle.signal(Host.order, "finish")
        await handle.result()
        await events.aclose()  # type: ignore[attr-defined]
    assert await story(client, name, from_position=rewind.position) == [
        (0, "b"),
        ("end", "completed", 1),
    ]


async def test_a_reset_while_a_reader_was_away_is_told(
    client: Client, stranger: Client, unique: Any
) -> None:
    name = unique("reset")
    async with hosting(client, name) as handle:
        first = await run_id_of(handle)
        async with following(client, name) as live:
            ends = await publish_one_by_one(handle, live, "a", "b", "c")
            await roll_over(handle)
            await send(client, name, "d")
            await live.count(4)
        positions = await had(client, name, 4)
        second = await run_id_of(handle)
        await reset(client, name, first, ends["c"], NONE)
        await next_run(handle, second)
        await send(client, name, "x")
        await handle.signal(Host.order, "finish")
        await handle.result()
    new = await story(stranger, name)
    # "c" is published again by the task that is done again, before "x" or after it.
    again = [line[1] for line in new[2:-1]]
    assert sorted(again) == ["c", "x"]
    assert new == [*items("a", "b", *again), ("end", "completed", 4)]
    rewind = ("rewind", [(2, 4)], "reset", 2)
    for reader in (client, stranger):
        assert await story(reader, name, from_position=positions[3]) == [rewind, *new[2:]]
        # Of the run that was reset, the items behind the fork were read: both runs are told.
        assert (await story(reader, name, from_position=positions[2]))[-4:] == [rewind, *new[2:]]


async def test_a_workflow_that_took_the_id_is_another_stream(
    client: Client, stranger: Client, unique: Any
) -> None:
    name = unique("again")
    async with hosting(client, name) as handle:
        await send(client, name, "a", "b", "c")
        await handle.signal(Host.order, "finish")
        await handle.result()
    positions = await had(client, name, 4)
    async with hosting(client, name, HostInput(keep_last=2)) as handle:
        await send(client, name, "x", "y", "z")
        replaced = ("rewind", [(0, 3)], "replaced", 0)
        for reader in (client, stranger):
            for position in positions[2:]:  # after the last item, and after the end
                async with following(reader, name, from_position=position) as live:
                    await live.count(4)
                    assert live.lines == [
                        replaced,
                        ("gap", 0, 1, "truncated"),
                        *items("y", "z", start=1),
                    ]
        await handle.signal(Host.order, "finish")
        await handle.result()
    # What one has had of one stream is not taken back by reading another: a run is pinned.
    handle = client.get_workflow_handle(name)
    newest = await run_id_of(handle)
    pinned = await story(client, name, newest, from_position=positions[0])
    assert pinned[0] == ("rewind", [(0, 1)], "replaced", 0)


@pytest.mark.processes
async def test_a_run_that_has_been_deleted_since_is_taken_back_whole(unique: Any) -> None:
    async with ConfiguredServer(DELETES_AT_ONCE) as server:
        await taken_back_after_deletion(
            await server.connect(), await server.connect(), unique("gone")
        )


async def taken_back_after_deletion(client: Client, stranger: Client, name: str) -> None:
    async with hosting(client, name, retry_policy=SOON) as handle:
        first = await run_id_of(handle)
        await send(client, name, "a", "b")
        positions = await had(client, name, 2)
        await handle.signal(Host.order, "fail")
        second = await next_run(handle, first)
        await send(client, name, "c")
        await delete(client, name, first)
        third = await roll_over(handle)
        await send(client, name, "d")
        later = await had(stranger, name, 2)
        assert [parse_run(position) for position in later] == [second, third]
        await delete(client, name, second)
        await handle.signal(Host.order, "finish")
        await handle.result()
    fresh = [(1, "d"), ("end", "completed", 2)]
    assert await story(stranger, name, from_position=positions[1]) == [
        ("rewind", [(0, 2)], "reset", 0),
        ("gap", 0, 1, "expired"),
        *fresh,
    ]
    # A run that still counts and that is gone is no restart.
    assert await story(stranger, name, from_position=later[0]) == fresh


def parse_run(text: str) -> str:
    position = parse_position(text)
    assert isinstance(position, Position)
    return position.run_id


@pytest.mark.parametrize("order", ["roll", "fail"])
async def test_the_next_run_of_a_contrib_host_is_found(
    client: Client, stranger: Client, unique: Any, order: str
) -> None:
    name = unique("contrib")
    async with Worker(client, task_queue=name, workflows=[ContribHost]):
        handle = await client.start_workflow(
            ContribHost.run, ContribInput(), id=name, task_queue=name, retry_policy=SOON
        )
        handle = client.get_workflow_handle(name)
        first = await run_id_of(handle)
        await handle.signal(ContribHost.publish, ["a", "b", "c"])
        positions = await had(client, name, 3)
        await handle.signal(ContribHost.order, order)
        await next_run(handle, first)
        await handle.signal(ContribHost.publish, ["d"])
        for reader in (client, stranger):
            async with following(reader, name, from_position=positions[1]) as live:
                await live.until(lambda lines: lines and lines[-1][-1] == "d")
                if order == "roll":
                    assert live.lines == items("c", "d", start=2)
                elif reader is client:  # its feed was there, and has what the run still held
                    taken_back = ("rewind", [(0, 3)], "retry", 0)
                    assert live.lines == [(2, "c"), taken_back, (0, "d")]
                else:
                    assert live.lines == [("rewind", [(0, 2)], "retry", 0), (0, "d")]
        await handle.terminate()


async def test_a_position_that_another_process_has_read_to_is_waited_for(
    client: Client, unique: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A feed that is behind does not know the run yet; that is no restart."""
    name = unique("ahead")
    async with hosting(client, name) as handle:
        await send(client, name, "a")
        stream = WorkflowStreamClient.create(client, name)
        slow = stream.follow()
        assert told(await anext(slow)) == (0, "a")
        feed = stream._feed()
        monkeypatch.setattr(feed, "_waits", lambda: True)
        feed.ring.size += 2**40  # it reads on once there is room again
        await roll_over(handle)
        await handle.signal(Host.publish, ["b", "c"])
        other = await stranger_of(client)
        positions = await had(other, name, 3)
        resumed = Follower(told(event) async for event in stream.follow(from_position=positions[1]))
        await asyncio.sleep(0.3)
        assert resumed.lines == []
        feed.ring.size -= 2**40
        feed._room.set()
        await resumed.count(1)
        await handle.signal(Host.order, "finish")
        assert await resumed.end() == [(2, "c"), ("end", "completed", 3)]
        await slow.aclose()  # type: ignore[attr-defined]


async def stranger_of(client: Client) -> Client:
    config = client.config()
    return await Client.connect(
        config["service_client"].config.target_host, namespace=client.namespace
    )


async def test_what_is_no_position_is_refused_where_it_is_given(client: Client) -> None:
    stream = WorkflowStreamClient.create(client, "any")
    for text in ("", "x", "-1", "1_", "1_x", "1 ", f"{2**63}", "1_" + "a" * 28):
        with pytest.raises(InvalidOffsetError, match="is not a position"):
            stream.follow(from_position=text)
    with pytest.raises(InvalidOffsetError):
        stream.subscribe(from_position=7)  # type: ignore[call-overload]
    for offset in (3, LATEST, Last(2)):
        with pytest.raises(UsageError, match="not both"):
            stream.follow(from_offset=offset, from_position="3")


async def test_a_workflow_that_is_not_there_yet_is_waited_for(client: Client, unique: Any) -> None:
    name = unique("later")
    stream = WorkflowStreamClient.create(client, name)
    with pytest.raises(StreamNotFoundError):
        await anext(stream.follow())
    with pytest.raises(StreamNotFoundError, match=r"not been started within 0\.2 s"):
        await anext(stream.follow(wait=timedelta(seconds=0.2)))
    patience = timedelta(seconds=100)
    async with (
        following(client, name, wait=patience) as live,
        following(client, name, wait=patience, from_offset=LATEST) as latest,
        following(client, name, wait=patience, from_offset=2) as later,
        worker(client, name),
    ):
        await asyncio.sleep(0.2)
        assert live.lines == latest.lines == []
        handle = await client.start_workflow(
            Host.run,
            HostInput(),
            id=name,
            task_queue=name,
            start_signal="publish",
            start_signal_args=[["a", "b", "c"]],
        )
        await live.count(3)
        await handle.signal(Host.order, "finish")
        whole = [*items("a", "b", "c"), ("end", "completed", 3)]
        # What comes after one has begun to wait has come since; nothing of it is left out.
        assert await live.end() == await latest.end() == whole
        assert await later.end() == whole[2:]
    async with following(client, name, wait=patience, from_offset=LATEST) as after:
        assert await after.end() == whole[3:]


async def test_a_rewind_is_told_once_to_who_resumes_at_its_position(
    client: Client, stranger: Client, unique: Any
) -> None:
    """However many attempts begin at one offset, and whatever comes after them."""
    name = unique("attempts")

    async def attempt(number: int, *values: str) -> None:
        publisher = ActivityPublisher("run", "act", Attempt(number, number)).publisher_id("x")
        entries = [entry_of("out", json_payload(f'"{value}"'.encode())) for value in values]
        batch = RawValue(batch_payload(entries, publisher, 1))
        await client.get_workflow_handle(name).signal(wire.PUBLISH_SIGNAL, batch)

    async with hosting(client, name) as handle:
        await attempt(1, "a1")
        for number in range(2, 6):
            await attempt(number)
        await had(client, name, 5)
        second = await roll_over(handle)
        for number in range(6, 9):
            await attempt(number)
        await attempt(9, "b9")
        await send(client, name, "c")
        await handle.signal(Host.order, "finish")
        await handle.result()
    stream = WorkflowStreamClient.create(client, name)
    events = [event async for event in stream.follow()]
    whole = [told(event) for event in events]
    assert whole == [
        (0, "a1"),
        ("rewind", [(0, 1)], "attempt", 1),
        *[("rewind", [], "attempt", 1)] * 7,
        *items("b9", "c", start=1),
        ("end", "completed", 3),
    ]
    assert parse_run(events[-1].position) == second
    for reader in (client, stranger):
        for count, event in enumerate(events, 1):
            rest = await story(reader, name, from_position=event.position)
            assert rest == (whole[count:] or whole[-1:]), count
