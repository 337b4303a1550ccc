"""Whoever looks a stream up lets it go, and a look-up costs the same however many there are."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from temporalio.client import Client

from tests.gateway.http.hosts import hosting
from tests.gateway.security.wire import serving
from tests.read.story import SECONDS
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.hosted.host import TOUCH_SIGNAL
from workflow_streams.read.feeds import feed as feed_module
from workflow_streams.read.feeds import lookup
from workflow_streams.read.feeds.feed import Feed
from workflow_streams.read.runs.source import WorkflowSource
from workflow_streams.testing.fixtures import StreamServer

TEXT = {"content-type": "text/plain"}
Unique = Callable[[str], str]


@pytest.fixture
async def connection(stream_server: StreamServer) -> Client:
    """A connection of the gateway's own."""
    return await stream_server.connect()


@pytest.fixture
async def gateway(connection: Client, unique: Unique) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(connection, GatewaySettings(host_task_queue=unique("queue")))
    async with serving(app, lifespan="on") as port:
        url = f"http://127.0.0.1:{port}/v1/stream/"
        async with httpx.AsyncClient(base_url=url, timeout=100) as http:
            yield http


def known(connection: Client) -> set[str]:
    """Return the streams that have a feed which nothing but a look-up has made."""
    feeds = feed_module.registry.all_of(connection.service_client)
    return {feed.workflow_id for feed in feeds if feed._task is None}


async def test_answers_that_need_not_read_leave_no_feed_behind(
    connection: Client, gateway: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    closed = [unique("closed") for _ in range(3)]
    for name in closed:
        made = await gateway.put(name, headers={**TEXT, "stream-closed": "true"}, content="all")
        assert made.status_code == 201
    talks = unique("talks")
    async with hosting(client, "Talks", talks):
        for name in closed:
            while "stream-closed" not in (first := await gateway.get(name)).headers:
                pass
            while (again := await conditional(gateway, name, first)).status_code == 200:
                first = again
            assert again.status_code == 304
        for _ in range(3):
            assert (await gateway.delete(talks)).status_code == 405
        for source, status in ((talks, 409), (unique("nothing"), 404)):
            fork = {**TEXT, "stream-forked-from": f"/v1/stream/{source}"}
            made = await gateway.put(unique("fork"), headers=fork)
            assert made.status_code == status, made.text
        other = {"stream-forked-from": f"/v1/stream/{closed[0]}", "content-type": "text/html"}
        assert (await gateway.put(unique("fork"), headers=other)).status_code == 409
        assert known(connection) == set()


async def conditional(
    gateway: httpx.AsyncClient, name: str, first: httpx.Response
) -> httpx.Response:
    return await gateway.get(name, headers={"if-none-match": first.headers["etag"]})


async def test_those_who_look_a_stream_up_at_once_find_the_same_feed(
    client: Client, unique: Unique
) -> None:
    name = unique("stream")
    one = lookup.feed_of(WorkflowSource(client, name))
    with one.found():
        with lookup.feed_of(WorkflowSource(client, name)).found():
            assert lookup.feed_of(WorkflowSource(client, name)) is one
        assert lookup.feed_of(WorkflowSource(client, name)) is one
        assert name in known(client)
    assert name not in known(client)
    assert lookup.feeds_reading(client.service_client) == 0
    with lookup.feed_of(WorkflowSource(client, name)).found():
        assert lookup.feed_of(WorkflowSource(client, name)) is not one
    assert name not in known(client)


async def test_a_look_up_looks_at_one_feed_however_many_there_are(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[object] = []

    class Counted(lookup.Feed):
        def __getattribute__(self, name: str) -> object:
            looks.append(id(self))
            return super().__getattribute__(name)

    monkeypatch.setattr(lookup, "Feed", Counted)
    names = [unique("stream") for _ in range(2_000)]
    feeds = [lookup.feed_of(WorkflowSource(client, name)) for name in names]
    looks.clear()
    for name, feed in zip(names[::100], feeds[::100], strict=True):
        assert lookup.feed_of(WorkflowSource(client, name)) is feed
    assert len(set(looks)) == len(names[::100])
    looks.clear()
    feeds[7].forget()
    assert set(looks) <= {id(feeds[7])}
    for feed in feeds:
        feed.forget()
    assert not known(client) & set(names)


async def test_a_stream_with_a_long_time_to_live_keeps_no_feed_that_has_stopped(
    connection: Client,
    gateway: httpx.AsyncClient,
    client: Client,
    unique: Unique,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When it was told of a read is remembered for long, but not what was read."""
    monkeypatch.setattr(feed_module, "LINGER_SECONDS", 0.1)
    name = unique("lives")
    made = await gateway.put(name, headers={**TEXT, "stream-ttl": "1000000"}, content="all")
    assert made.status_code == 201
    for _ in range(3):
        assert (await gateway.get(name)).text == "all"
        [feed] = [weakref.ref(feed) for feed in feeds_of(connection)]
        async with asyncio.timeout(SECONDS):
            while feed() is not None:
                gc.collect()
                await asyncio.sleep(0.05)
    history = await client.get_workflow_handle(name).fetch_history()
    signals = [e.workflow_execution_signaled_event_attributes for e in history.events]
    assert sum(signal.signal_name == TOUCH_SIGNAL for signal in signals) == 1


def feeds_of(connection: Client) -> list[Feed]:
    return list(feed_module.registry.all_of(connection.service_client))
