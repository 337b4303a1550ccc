"""The life of a hosted stream, from Python: made, written, read, closed, forked, deleted."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import httpx
import pytest
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.service import RPCError

from workflow_streams import (
    End,
    Item,
    WorkflowStreamClient,
    close_stream,
    create_stream,
    delete_stream,
)
from workflow_streams.errors import (
    EncodeError,
    ForkError,
    ForkOffsetError,
    InvalidOffsetError,
    StreamExistsError,
    StreamGoneError,
    StreamNotFoundError,
    StreamNotHostedError,
    StreamNotOpenedError,
    UsageError,
)
from workflow_streams.hosted import forks, host_worker
from workflow_streams.hosted.forking.noted import ForkList
from workflow_streams.hosted.forks import ForkSource
from workflow_streams.hosted.host import HostSetup, start_host
from workflow_streams.hosted.making import differing, make
from workflow_streams.hosted.streams import Hosting, Stream
from workflow_streams.log.entries import entry_of
from workflow_streams.log.packed import pack
from workflow_streams.log.payloads import json_payload
from workflow_streams.temporal.link import ClientLink
from workflow_streams.testing.fixtures import StreamServer

from ..gateway.http.hosts import hosting
from ..gateway.http.serving import HOST_QUEUE, running_gateway

Unique = Callable[[str], str]


async def items(client: Client, name: str, count: int | None = None) -> list[Any]:
    """Return the first items of a stream, or all of one that is closed."""
    found: list[Any] = []
    async for event in WorkflowStreamClient.create(client, name).follow():
        match event:
            case Item(data=data):
                found.append(data)
            case End():
                break
            case other:
                raise AssertionError(other)
        if len(found) == count:
            break
    return found


async def test_a_stream_is_made_written_read_and_closed(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    made = await create_stream(client, name, task_queue=queue)
    assert (made.name, made.is_new, made.closed) == (name, True, False)
    reader = asyncio.create_task(items(client, name))
    async with WorkflowStreamClient.create(client, name) as stream:
        assert await stream.topic("words").send("one") == 0
        assert await stream.topic("words").send("two") == 1
    await close_stream(client, name)
    assert await reader == ["one", "two"]
    await client.get_workflow_handle(name).result()
    await close_stream(client, name)
    assert await items(client, name) == ["one", "two"]


async def test_a_stream_that_is_asked_for_again_is_left_as_it_is(
    client: Client, unique: Unique, queue: str
) -> None:
    name, expiry = unique("news"), datetime.now(timezone.utc) + timedelta(days=1)

    async def create(*values: Any, content_type: str = "application/json") -> bool:
        made = await create_stream(
            client, name, content_type=content_type, expires_at=expiry, initial=values,
            task_queue=queue,
        )  # fmt: skip
        return made.is_new

    assert await create({"n": 1}, 2)
    assert not await create({"n": 1}, 2, content_type="application/json; charset=utf-8")
    assert not await create()
    assert await items(client, name, 2) == [{"n": 1}, 2]
    async with WorkflowStreamClient.create(client, name) as stream:
        assert await stream.topic("words").send("next") == 2
    again = await create_stream(client, name, expires_at=expiry, task_queue=queue)
    position = again.position
    async with WorkflowStreamClient.create(client, name) as stream:
        await stream.topic("words").send("last")
        assert (await anext(stream.subscribe(from_position=position))).data == "last"


@pytest.mark.parametrize(
    ("asked", "differs"),
    [
        ({"content_type": "text/plain"}, ("content_type",)),
        ({"ttl": timedelta(hours=2)}, ("ttl",)),
        ({"expires_at": datetime(2100, 1, 1, tzinfo=timezone.utc)}, ("ttl", "expires_at")),
        ({"closed": True}, ("closed",)),
    ],
)
async def test_what_another_stream_of_the_name_has_otherwise_is_told(
    client: Client, unique: Unique, queue: str, asked: dict[str, Any], differs: tuple[str, ...]
) -> None:
    name = unique("news")
    ttl = timedelta(hours=1)
    await create_stream(client, name, ttl=ttl, task_queue=queue)
    if "expires_at" not in asked:
        asked = {"ttl": ttl, **asked}
    with pytest.raises(StreamExistsError) as other:
        await create_stream(client, name, task_queue=queue, **asked)
    assert (other.value.workflow_id, other.value.differs) == (name, differs)


def test_all_of_a_setup_is_compared_but_what_its_content_makes_of_it() -> None:
    setup = HostSetup("application/json")
    others: dict[str, Any] = {
        "content_type": "text/plain", "ttl_seconds": 1, "expires_at": "2100-01-01T00:00:00+00:00",
        "forked_from": "source", "fork_offset": 1, "fork_sub_offset": 1,
        "closed": True, "initial": True, "inherits": 1, "deleted": True, "sources": "ab",
        "maker": "made-with:0",
    }  # fmt: skip
    assert set(others) == {field.name for field in dataclasses.fields(HostSetup)}
    same = {
        name
        for name, value in others.items()
        if not differing(setup, dataclasses.replace(setup, **{name: value}))
    }
    # Whether it is closed is compared when all is in; a deleted one is not found at all.
    assert same == {"closed", "initial", "inherits", "deleted", "sources", "maker"}


async def test_a_making_that_broke_off_is_finished_once(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    begun = HostSetup("application/json", closed=True, initial=True)
    await start_host(client, name, begun, task_queue=queue)
    for _ in range(2):
        made = await create_stream(client, name, initial=[1, "two"], closed=True, task_queue=queue)
        assert (made.is_new, made.closed) == (False, True)
    assert await items(client, name) == [1, "two"]


async def test_several_that_make_a_stream_at_once_make_one(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    made = await asyncio.gather(
        *(
            create_stream(client, name, initial=[1, 2], closed=True, task_queue=queue)
            for _ in range(5)
        )
    )
    assert sorted(one.is_new for one in made) == [False] * 4 + [True]
    assert all(one.closed for one in made)
    assert await items(client, name) == [1, 2]


async def test_without_a_worker_it_is_said_that_nobody_opens_the_stream(
    client: Client, unique: Unique
) -> None:
    name = unique("news")
    slow = Hosting(ClientLink(client), unique("nobody"), open_seconds=0.2)
    entry = entry_of("t", json_payload(b"1"))
    setup = HostSetup("application/json")
    with pytest.raises(StreamNotOpenedError, match="worker"):
        await make(slow, name, setup, pack([entry]))
    async with host_worker(client, task_queue=slow.task_queue):
        made = await create_stream(client, name, initial=[1], topic="t", task_queue=slow.task_queue)
        assert not made.is_new
        assert await items(client, name, 1) == [1]


async def test_a_stream_of_bytes_holds_them_as_they_are(
    client: Client, unique: Unique, queue: str
) -> None:
    name, topic = unique("bytes"), "parts"
    await create_stream(
        client, name, content_type="image/png", initial=[b"\0\xff", b"x"], topic=topic,
        closed=True, task_queue=queue,
    )  # fmt: skip
    reader = WorkflowStreamClient.create(client, name).subscribe([topic], result_type=RawValue)
    assert [item.data.payload.data async for item in reader] == [b"\0\xff", b"x"]
    with pytest.raises(UsageError, match="bytes"):
        await create_stream(client, name, content_type="image/png", initial=["x"])


async def test_a_fork_begins_with_what_its_source_has_and_then_has_its_own(
    client: Client, unique: Unique, queue: str
) -> None:
    source, fork, whole = unique("source"), unique("fork"), unique("whole")
    ttl = timedelta(hours=1)
    await create_stream(client, source, ttl=ttl, initial=[1, 2, 3], task_queue=queue)
    await create_stream(
        client, fork, forked_from=source, fork_offset=2, initial=["own"], task_queue=queue
    )
    await create_stream(client, whole, forked_from=source, closed=True, task_queue=queue)
    assert await items(client, fork, 3) == [1, 2, "own"]
    assert await items(client, whole, 3) == [1, 2, 3]
    # It expires as its source does, unless something else is asked for.
    assert not (
        await create_stream(
            client, fork, forked_from=source, fork_offset=2, ttl=ttl, task_queue=queue
        )
    ).is_new
    with pytest.raises(StreamExistsError) as other:
        await create_stream(client, fork, forked_from=source, fork_offset=1, task_queue=queue)
    assert other.value.differs == ("fork_offset",)
    with pytest.raises(ForkOffsetError):
        await create_stream(
            client, unique("far"), forked_from=source, fork_offset=4, task_queue=queue
        )
    with pytest.raises(ForkError, match="content type"):
        await create_stream(
            client, unique("text"), forked_from=source, content_type="text/plain", task_queue=queue
        )


async def test_a_deleted_source_stays_for_its_forks_but_is_not_read(
    client: Client, unique: Unique, queue: str
) -> None:
    source, fork = unique("source"), unique("fork")
    await create_stream(client, source, initial=[1], task_queue=queue)
    await create_stream(client, fork, forked_from=source, task_queue=queue)
    await delete_stream(client, source, task_queue=queue)
    for _ in range(2):
        with pytest.raises(StreamGoneError) as gone:
            await delete_stream(client, source, task_queue=queue)
        assert gone.value.has_forks
    with pytest.raises(StreamExistsError, match="has been deleted") as other:
        await create_stream(client, source, task_queue=queue)
    assert other.value.differs == ()
    with pytest.raises(ForkError, match="has been deleted"):
        await create_stream(client, unique("late"), forked_from=source, task_queue=queue)
    assert await items(client, fork, 1) == [1]
    await delete_stream(client, fork, task_queue=queue)
    await client.get_workflow_handle(source).result()  # it has been told, and ends
    assert (await create_stream(client, source, task_queue=queue)).is_new


@pytest.mark.parametrize("answer", ["gone", "deleted"])
async def test_a_fork_whose_source_goes_meanwhile_is_undone(
    client: Client,
    unique: Unique,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    """Nobody could finish it, and its name would be taken."""
    source, fork = unique("source"), unique("fork")
    await create_stream(client, source, initial=["a"], task_queue=queue)

    async def told(stream: Stream, *_: str) -> ForkList:
        if answer == "gone":
            raise StreamGoneError(stream.workflow_id)
        return ForkList(0, [], deleted=True)

    async def copied(self: ForkSource, *_: Any) -> AsyncIterator[str]:
        raise StreamGoneError(source)
        yield ""

    with monkeypatch.context() as patched:
        patched.setattr(forks, "_told", told)
        patched.setattr(ForkSource, "beginning_with", copied)
        with pytest.raises((StreamGoneError, ForkError)):
            await create_stream(client, fork, forked_from=source, task_queue=queue)
    with pytest.raises(StreamNotFoundError):
        await items(client, fork, 1)
    await create_stream(client, fork, initial=["b"], task_queue=queue)
    assert await items(client, fork, 1) == ["b"]


async def test_the_name_of_a_deleted_stream_is_free_at_once(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("news")
    with pytest.raises(StreamNotFoundError):
        await delete_stream(client, name, task_queue=queue)
    await create_stream(client, name, initial=["old"], task_queue=queue)
    await delete_stream(client, name, task_queue=queue)
    for call in (close_stream(client, name), delete_stream(client, name, task_queue=queue)):
        with pytest.raises((StreamGoneError, StreamNotFoundError)):
            await call
    made = await create_stream(
        client, name, content_type="text/plain", initial=[b"new"], closed=True, task_queue=queue
    )
    assert made.is_new
    assert await items(client, name) == [b"new"]


async def test_a_stream_whose_time_is_over_is_gone(
    client: Client, unique: Unique, queue: str
) -> None:
    name, over = unique("news"), datetime.now(timezone.utc) + timedelta(seconds=0.5)
    assert (await create_stream(client, name, expires_at=over, task_queue=queue)).is_new
    await client.get_workflow_handle(name).result()
    with pytest.raises(StreamGoneError) as gone:
        await close_stream(client, name)
    assert not gone.value.has_forks
    assert (await create_stream(client, name, task_queue=queue)).is_new


async def test_the_stream_of_a_workflow_of_the_users_is_left_alone(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name):
        with pytest.raises(StreamExistsError) as other:
            await create_stream(client, name, task_queue=queue)
        assert other.value.differs == ()
        for call in (
            close_stream(client, name),
            delete_stream(client, name, task_queue=queue),
            create_stream(client, unique("fork"), forked_from=name, task_queue=queue),
        ):
            with pytest.raises(StreamNotHostedError):
                await call


async def test_http_and_python_make_the_same_stream(
    client: Client, unique: Unique, stream_server: StreamServer
) -> None:
    by_python, by_http = unique("python"), unique("http")
    headers = {"content-type": "application/json", "stream-ttl": "3600"}
    ttl = timedelta(hours=1)
    with running_gateway(stream_server.address) as gateway:
        async with httpx.AsyncClient(timeout=100) as http:
            url = gateway.stream(by_python)
            made = await create_stream(
                client, by_python, ttl=ttl, initial=[1, {"two": 2}], task_queue=HOST_QUEUE
            )
            again = await http.put(url, headers=headers)
            assert again.status_code == 200
            assert again.headers["stream-next-offset"] == made.position
            assert (await http.get(url)).json() == [1, {"two": 2}]
            assert (await http.put(url, headers={"content-type": "text/plain"})).status_code == 409
            url = gateway.stream(by_http)
            assert (await http.put(url, headers=headers, content="[1, 2]")).status_code == 201
            assert not (
                await create_stream(client, by_http, ttl=ttl, initial=[1, 2], task_queue=HOST_QUEUE)
            ).is_new
            assert await items(client, by_http, 2) == [1, 2]
            await delete_stream(client, by_http, task_queue=HOST_QUEUE)
            assert (await http.get(url)).status_code == 404


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"ttl": timedelta(seconds=1.5)}, UsageError),
        ({"ttl": timedelta()}, UsageError),
        ({"ttl": 60}, UsageError),
        ({"expires_at": datetime(2100, 1, 1)}, UsageError),
        (
            {
                "ttl": timedelta(hours=1),
                "expires_at": datetime(2100, 1, 1, tzinfo=timezone.utc),
            },
            UsageError,
        ),
        ({"fork_offset": 1}, UsageError),
        ({"forked_from": "source", "fork_offset": -1}, InvalidOffsetError),
        ({"initial": "text"}, UsageError),
        ({"initial": b"bytes"}, UsageError),
        ({"content_type": "json"}, UsageError),
        ({"content_type": "text/" + "x" * 300}, UsageError),
        ({"topic": None}, UsageError),
        ({"closed": "yes"}, UsageError),
        ({"closed": None}, UsageError),
    ],
)
async def test_wrong_arguments_are_refused_before_anything_is_made(
    arguments: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await create_stream(cast("Client", None), "news", **arguments)


async def test_a_value_that_cannot_be_encoded_leaves_nothing_behind(
    client: Client, unique: Unique
) -> None:
    name = unique("news")
    with pytest.raises(EncodeError):
        await create_stream(client, name, initial=[object()])
    with pytest.raises(RPCError):
        await client.get_workflow_handle(name).describe()
