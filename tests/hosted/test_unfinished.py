"""A stream that does not have yet what it begins with: others wait, and its maker can finish it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from tests.dense import dense
from workflow_streams import (
    PublishTimeoutError,
    StreamUnfinishedError,
    WorkflowStreamClient,
    close_stream,
    create_stream,
)
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.hosted import host_worker, making
from workflow_streams.hosted.appends import Append, Appended, append
from workflow_streams.hosted.calls import CreatedStream
from workflow_streams.hosted.host import HostSetup, start_host
from workflow_streams.hosted.streams import Stream
from workflow_streams.log import wire
from workflow_streams.testing.fixtures import StreamServer

from ..configured import ROLLS_OVER_SOON, ConfiguredServer
from ..gateway.http.test_closed_rollovers import rolled_over_by_touches
from ..gateway.http.test_writes import read_all, replay
from ..payloads.codecs import encrypted_with

Unique = Callable[[str], str]
JSON = {"content-type": "application/json"}
HASTE = timedelta(seconds=0.5)


async def send(stream: WorkflowStreamClient, item: str) -> int:
    async with stream:
        return await stream.topic("default").send(item)


@asynccontextmanager
async def serving(
    client: Client, queue: str, *, open_seconds: float
) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway without a worker; yield a client of it."""
    settings = GatewaySettings(host_task_queue=queue, host_worker=False, open_seconds=open_seconds)
    app = create_app(client, settings)
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 1234))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=100) as http,
    ):
        yield http


class Diverted(Exception):
    """The maker of a stream has got no further."""


class Maker:
    """Writes what streams begin with as usual, but stops before one of the batches."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, batches: int, *, breaks_off: bool) -> None:
        self._left = batches
        self._breaks_off = breaks_off
        self.stopped, self.go_on = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(making, "append", self._append)

    async def _append(self, stream: Stream, batch: Append) -> Appended:
        self._left -= 1
        if self._left < 0 and not self.go_on.is_set():
            self.stopped.set()
            if self._breaks_off:
                raise Diverted
            await self.go_on.wait()
        return await append(stream, batch)


async def is_marked(client: Client, name: str) -> bool:
    described = await client.get_workflow_handle(name).describe()
    return bool(await described.memo_value(wire.UNFINISHED_MEMO_KEY, False, type_hint=bool))


async def wait_until_not_marked(client: Client, name: str) -> None:
    while await is_marked(client, name):
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("content", [[], ["first", "second"]], ids=["empty", "with content"])
async def test_what_a_put_began_is_finished_though_another_writer_came_meanwhile(
    client: Client, unique: Unique, content: list[str], closed: bool
) -> None:
    if not content and not closed:
        return
    queue, name = unique("queue"), unique("stream")
    url, headers = f"/v1/stream/{name}", JSON | ({"stream-closed": "true"} if closed else {})
    asked: dict[str, Any] = {"headers": headers, **({"json": content} if content else {})}
    async with serving(client, queue, open_seconds=0.2) as http:
        assert (await http.put(url, **asked)).status_code == 503
        async with host_worker(client, task_queue=queue):
            while (await http.get(url)).status_code != 200:
                pass
            for refused in (
                await http.post(url, json=["of another"]),
                await http.post(url, headers={"stream-closed": "true"}),
                await http.put(url, headers=JSON, json=["other content"]),
            ):
                assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
                assert refused.json()["type"] == "urn:workflow-streams:stream-unfinished"
            # A slow machine needs longer than the short time that the refused ones were to wait.
            while (again := await http.put(url, **asked)).status_code == 503:
                pass
            assert again.status_code == 200
            while (late := await http.post(url, json=["of another"])).status_code == 503:
                pass
            assert late.status_code == (409 if closed else 204)
            expected = content if closed else [*content, "of another"]
            assert await read_all(http, url) == expected
            assert (await http.put(url, **asked)).status_code == 200
            assert await read_all(http, url) == expected
            if not closed:
                await wait_until_not_marked(client, name)
    await replay(client, name)


@pytest.mark.parametrize("batches", [0, 1, 6])
async def test_nothing_stands_before_or_amid_what_a_fork_begins_with(
    client: Client,
    unique: Unique,
    queue: str,
    monkeypatch: pytest.MonkeyPatch,
    batches: int,
) -> None:
    """The copy breaks off before its first batch, within the first run, or in a later one."""
    source, name = unique("source"), unique("fork")
    await create_stream(client, source, task_queue=queue)
    items = [[number, dense(400_000)] for number in range(24)]
    async with WorkflowStreamClient.create(client, source) as stream:
        for item in items:
            await stream.topic("default").send(item)

    async def make() -> CreatedStream:
        return await create_stream(
            client, name, forked_from=source, initial=["own"], task_queue=queue
        )

    maker = Maker(monkeypatch, batches, breaks_off=True)
    with pytest.raises(Diverted):
        await make()
    described = await client.get_workflow_handle(name).describe()
    assert await is_marked(client, name)
    assert (described.run_id != described.raw_info.first_run_id) is (batches == 6)
    async with serving(client, queue, open_seconds=0.2) as http:
        url = f"/v1/stream/{name}"
        while (await http.get(url)).status_code != 200:
            pass
        refused = await http.post(url, json=["of another"])
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        publisher = WorkflowStreamClient.create(client, name)
        sending = asyncio.create_task(send(publisher, "of the library"))
        hasty = WorkflowStreamClient.create(client, name, max_retry_duration=HASTE)
        with pytest.raises(PublishTimeoutError) as timed_out:
            await send(hasty, "in vain")
        assert isinstance(timed_out.value.__cause__, StreamUnfinishedError)
        assert not sending.done()
        maker.go_on.set()
        assert not (await make()).is_new
        assert await sending == 25
        assert (await http.post(url, json=["of another"])).status_code == 204
        whole = [*items, "own", "of the library", "of another"]
        assert await read_all(http, url) == whole
        # Positions of the source are valid in the fork.
        async with serving(client, queue, open_seconds=10) as other:
            head = await other.head(f"/v1/stream/{source}")
            offset = head.headers["stream-next-offset"]
            rest = await other.get(url, params={"offset": offset})
            assert rest.json() == whole[24:]
    await wait_until_not_marked(client, name)
    await replay(client, name)


async def test_a_fork_is_closed_after_all_that_it_begins_with(
    client: Client, unique: Unique, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, name = unique("source"), unique("fork")
    await create_stream(client, source, initial=[1], task_queue=queue)
    maker = Maker(monkeypatch, 0, breaks_off=True)
    with pytest.raises(Diverted):
        await create_stream(client, name, forked_from=source, task_queue=queue)
    closing = asyncio.create_task(close_stream(client, name))
    await asyncio.sleep(0.1)
    maker.go_on.set()
    await create_stream(client, name, forked_from=source, task_queue=queue)
    await closing
    stream = WorkflowStreamClient.create(client, name)
    assert [item.data async for item in stream.subscribe()] == [1]


async def test_of_two_that_make_a_stream_with_other_content_the_first_one_does(
    client: Client, unique: Unique, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = unique("news")
    maker = Maker(monkeypatch, 0, breaks_off=False)

    async def make(*initial: Any) -> bool:
        return (await create_stream(client, name, initial=initial, task_queue=queue)).is_new

    first = asyncio.create_task(make(1, 2))
    await maker.stopped.wait()
    others = [asyncio.create_task(make(*initial)) for initial in ((3,), (), (1, 2))]
    async with WorkflowStreamClient.create(client, name) as stream:
        sending = asyncio.create_task(stream.topic("default").send("later"))
        await asyncio.sleep(0.1)
        maker.go_on.set()
        assert await first
        assert [await other for other in others] == [False] * 3
        assert await sending == 2
        assert [item.data async for item in stream.subscribe(until=3)] == [1, 2, "later"]


async def test_a_stream_that_an_earlier_version_made_is_written_as_before(
    client: Client, unique: Unique, queue: str
) -> None:
    name = unique("earlier")
    await start_host(client, name, HostSetup("application/json", initial=True), task_queue=queue)
    async with serving(client, queue, open_seconds=10) as http:
        url = f"/v1/stream/{name}"
        assert (await http.post(url, json=["of another"])).status_code == 204
        assert (await http.put(url, headers=JSON, json=["content"])).status_code == 200
        assert await read_all(http, url) == ["of another"]
    await replay(client, name)


async def test_publishers_go_on_once_a_stream_of_an_encrypted_memo_is_finished(
    stream_server: StreamServer, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await stream_server.connect(data_converter=encrypted_with(os.urandom(32)))
    queue, name = unique("hosts"), unique("news")
    maker = Maker(monkeypatch, 0, breaks_off=True)
    async with host_worker(client, task_queue=queue):
        with pytest.raises(Diverted):
            await create_stream(client, name, initial=[1], task_queue=queue)
        stream = WorkflowStreamClient.create(client, name, max_retry_duration=HASTE)
        with pytest.raises(PublishTimeoutError):
            await send(stream, "in vain")
        maker.go_on.set()
        await create_stream(client, name, initial=[1], task_queue=queue)
        await wait_until_not_marked(client, name)
        stream = WorkflowStreamClient.create(client, name)
        assert await send(stream, "later") == 1
        assert [item.data async for item in stream.subscribe(until=2)] == [1, "later"]


@pytest.mark.processes
async def test_a_stream_that_rolls_over_before_it_is_finished_is_finished_all_the_same(
    unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, name = unique("hosts"), unique("news")
    maker = Maker(monkeypatch, 0, breaks_off=True)
    ttl = timedelta(hours=1)
    async with ConfiguredServer(*ROLLS_OVER_SOON) as server:
        client = await server.connect()

        async def make() -> CreatedStream:
            return await create_stream(client, name, ttl=ttl, initial=[1, 2], task_queue=queue)

        async with (
            host_worker(client, task_queue=queue),
            serving(client, queue, open_seconds=0.2) as http,
        ):
            with pytest.raises(Diverted):
                await make()
            runs = await rolled_over_by_touches(client, name)
            assert await is_marked(client, name)
            refused = await http.post(f"/v1/stream/{name}", json=["of another"])
            assert refused.status_code == 503
            maker.go_on.set()
            assert not (await make()).is_new
            await wait_until_not_marked(client, name)
            runs += await rolled_over_by_touches(client, name)
            assert not await is_marked(client, name)
            assert (await http.post(f"/v1/stream/{name}", json=["of another"])).status_code == 204
            assert not (await make()).is_new
            assert await read_all(http, f"/v1/stream/{name}") == [1, 2, "of another"]
        for run_id in runs:
            await replay(client, name, run_id)
