"""What is meant for a stream that has been deleted does not get into the one made in its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio.client import Client

from workflow_streams import (
    PublishError,
    StreamGoneError,
    StreamNotFoundError,
    WorkflowStreamClient,
    WorkflowStreamError,
    close_stream,
    create_stream,
    delete_stream,
)
from workflow_streams.gateway.temporal.link import TemporalLink
from workflow_streams.gateway.temporal.streams import Stream as GatewayStream
from workflow_streams.gateway.temporal.uses import Uses
from workflow_streams.hosted import forks, host_worker, making
from workflow_streams.hosted.appends import Append, append
from workflow_streams.hosted.host import DELETE_SIGNAL, FORK_SIGNAL, FORK_UPDATE
from workflow_streams.hosted.streams import Hosting, Stream, found
from workflow_streams.log.entries import entry_of
from workflow_streams.log.packed import pack
from workflow_streams.log.payloads import json_payload
from workflow_streams.temporal.link import ClientLink
from workflow_streams.testing.fixtures import StreamServer

from ..configured import ROLLS_OVER_SOON, ConfiguredServer
from ..gateway.http.test_closed_rollovers import rolled_over_by_touches
from .test_calls import items
from .test_unfinished import serving

Unique = Callable[[str], str]
TTL = timedelta(hours=1)


async def replaced(client: Client, name: str, queue: str) -> None:
    await delete_stream(client, name, task_queue=queue)
    made = await create_stream(client, name, ttl=TTL, initial=["new"], task_queue=queue)
    assert made.is_new


async def is_untouched(client: Client, name: str) -> bool:
    """Whether a new stream has had no other signal than what it was made with."""
    history = await client.get_workflow_handle(name).fetch_history()
    signals = [
        e for e in history.events if e.HasField("workflow_execution_signaled_event_attributes")
    ]
    return len(signals) == 1


def one(value: str) -> Append:
    entry = entry_of("t", json_payload(f'"{value}"'.encode()))
    return Append(pack([entry]))


async def test_a_publisher_is_told_that_its_stream_is_gone(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    await create_stream(client, name, task_queue=queue)
    async with WorkflowStreamClient.create(client, name) as stream:
        topic = stream.topic("words", type=str)
        topic.publish("for the first")
        await stream.flush()
        await replaced(client, name, queue)
        topic.publish("for the first, too")
        with pytest.raises(PublishError) as flushed:
            await stream.flush()
        assert flushed.value.undelivered == 1
        assert isinstance(flushed.value.__cause__, StreamGoneError)
        assert flushed.value.__cause__.replaced
        assert await is_untouched(client, name)
        # It has been told, and what it publishes now is for the new one.
        topic.publish("for the second")
        await stream.flush()
    assert await items(client, name, 2) == ["new", "for the second"]


async def test_what_was_taken_before_the_deletion_is_not_told_as_lost(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    await create_stream(client, name, ttl=TTL, task_queue=queue)
    async with WorkflowStreamClient.create(client, name) as stream:
        topic = stream.topic("words", type=str)
        topic.publish("a", force_flush=True)
        await topic.send("b")
        topic.publish("c")
        await stream._publisher.delivered(2)
        await replaced(client, name, queue)
        await stream.flush()


async def test_a_publisher_that_has_sent_nothing_yet_sends_to_the_stream_of_now(
    client: Client, unique: Unique, queue: str, stream_server: StreamServer
) -> None:
    """Though its process knows the old one, which another process has replaced."""
    name, other = unique("news"), await stream_server.connect()
    await create_stream(client, name, task_queue=queue)
    async with WorkflowStreamClient.create(client, name) as stream:
        await stream.topic("words").send("known")
    await replaced(other, name, queue)
    async with WorkflowStreamClient.create(client, name) as stream:
        stream.topic("words").publish("for the second")
    assert await items(client, name, 2) == ["new", "for the second"]


@pytest.mark.parametrize(
    "kind", ["append", "close", "close for forks", "delete", "fork", "fork by Update", "touch"]
)
async def test_what_was_looked_up_before_the_deletion_is_not_sent_to_the_next_stream(
    client: Client, unique: Unique, queue: str, kind: str
) -> None:
    name = unique("news")
    await create_stream(client, name, ttl=TTL, task_queue=queue)
    async with found(Hosting(ClientLink(client), queue), name) as stream, stream.held():
        await replaced(client, name, queue)
        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "append": lambda: append(stream, one("late")),
            "close": lambda: append(stream, Append(pack([]), close=True)),
            "close for forks": lambda: forks._close(stream),
            "delete": lambda: forks._told(stream, DELETE_SIGNAL),
            "fork": lambda: forks._told(stream, FORK_SIGNAL, "fork"),
            "fork by Update": lambda: forks._update(stream, FORK_UPDATE, "fork"),
            "touch": lambda: touch(client, stream),
        }
        if kind == "touch":
            await calls[kind]()
        else:
            with pytest.raises(StreamNotFoundError):
                await calls[kind]()
    assert await is_untouched(client, name)
    assert await items(client, name, 1) == ["new"]
    await close_stream(client, name)
    assert await items(client, name) == ["new"]


async def touch(client: Client, stream: Stream) -> None:
    failed: list[None] = []
    uses = Uses(cast("TemporalLink", ClientLink(client)), lambda: failed.append(None))
    await uses.note(cast("GatewayStream", stream))
    assert not failed


async def test_a_post_that_races_a_deletion_is_answered_by_404(
    client: Client, unique: Unique, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = unique("news")
    await create_stream(client, name, task_queue=queue)

    async def late(stream: Stream, batch: Append) -> Any:
        await replaced(client, name, queue)
        return await append(stream, batch)

    monkeypatch.setattr("workflow_streams.gateway.writing.writes.append", late)
    async with serving(client, queue, open_seconds=10) as http:
        answer = await http.post(f"/v1/stream/{name}", json="late")
        assert answer.status_code == 404
        assert (await http.get(f"/v1/stream/{name}")).json() == ["new"]


async def test_what_a_stream_begins_with_does_not_get_into_the_next_one(
    client: Client, unique: Unique, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = unique("news")

    def slow(hosting: Hosting, workflow_id: str) -> AbstractAsyncContextManager[Stream]:
        monkeypatch.undo()
        return Replacing(hosting, workflow_id, queue)

    monkeypatch.setattr(making, "found", slow)
    with pytest.raises(StreamGoneError):
        await create_stream(client, name, initial=["old"], task_queue=queue)
    assert await items(client, name, 1) == ["new"]


class Replacing(AbstractAsyncContextManager[Stream]):
    """Finds a stream when it has just been replaced."""

    def __init__(self, hosting: Hosting, name: str, queue: str) -> None:
        self._hosting, self._name, self._queue = hosting, name, queue
        self._found = found(hosting, name)

    async def __aenter__(self) -> Stream:
        await replaced(self._hosting.link.client, self._name, self._queue)
        return await self._found.__aenter__()

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._found.__aexit__(*error)


@pytest.mark.processes
async def test_writers_go_on_through_rollovers(unique: Unique) -> None:
    """The run that they know has ended, and another one of the same stream has come."""
    queue, name = unique("hosts"), unique("news")
    async with ConfiguredServer(*ROLLS_OVER_SOON) as server:
        client = await server.connect()
        async with host_worker(client, task_queue=queue):
            await create_stream(client, name, ttl=TTL, initial=[1], task_queue=queue)
            async with (
                found(Hosting(ClientLink(client), queue), name) as stream,
                stream.held(),
                WorkflowStreamClient.create(client, name) as publisher,
            ):
                await publisher.topic("t").send(2)
                await rolled_over_by_touches(client, name)
                publisher.topic("t").publish(3)
                await publisher.flush()
                await append(stream, one("four"))
                await touch(client, stream)
                await rolled_over_by_touches(client, name)
                await append(stream, one("five"))
                told = await forks._told(stream, FORK_SIGNAL, "fork")
                assert told is not None
                assert (told.names, told.deleted) == (["fork"], False)
                assert await forks._update(stream, FORK_UPDATE, "other fork")
                assert await items(client, name, 5) == [1, 2, 3, "four", "five"]


async def test_an_append_to_a_deleted_stream_is_refused(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    await create_stream(client, name, task_queue=queue)
    async with found(Hosting(ClientLink(client), queue), name) as stream, stream.held():
        await delete_stream(client, name, task_queue=queue)
        with pytest.raises(WorkflowStreamError):
            await append(stream, one("late"))
