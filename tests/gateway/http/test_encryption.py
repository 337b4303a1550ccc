"""A gateway with the streams' payload codec serves them in clear; one without it says so."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio.client import Client
from temporalio.converter import DataConverter

from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.testing.fixtures import StreamServer

from ...payloads.codecs import encrypted_with
from ...payloads.test_encryption import raw_bytes
from ..security.wire import serving
from .events import EventSource, data_of
from .hosts import hosting, said
from .tokens import token

Unique = Callable[[str], str]
KEY = os.urandom(32)


@asynccontextmanager
async def gateway_with(
    server: StreamServer, converter: DataConverter, queue: str
) -> AsyncIterator[tuple[Client, str]]:
    """Yield a gateway's client to Temporal, and its URL."""
    client = await server.connect(data_converter=converter)
    app = create_app(client, GatewaySettings(host_task_queue=queue))
    async with serving(app, lifespan="on") as port:
        yield client, f"http://127.0.0.1:{port}"


@pytest.fixture
async def keeper(stream_server: StreamServer, unique: Unique) -> AsyncIterator[tuple[Client, str]]:
    converter = encrypted_with(KEY)
    async with gateway_with(stream_server, converter, unique("queue")) as served:
        yield served


@pytest.fixture(params=[os.urandom(32), None], ids=["wrong key", "no key"])
async def stranger(
    stream_server: StreamServer, unique: Unique, request: pytest.FixtureRequest
) -> AsyncIterator[str]:
    converter = encrypted_with(request.param) if request.param else DataConverter.default
    async with gateway_with(stream_server, converter, unique("queue")) as (_, base):
        yield base


async def listed_all(
    http: httpx.AsyncClient, base: str, prefix: str, count: int
) -> dict[str, dict[str, Any]]:
    """Return so many entries by id, as soon as the visibility store has come to them."""
    async with asyncio.timeout(100):
        while True:
            answer = await http.get(f"{base}/v1/streams", params={"prefix": prefix})
            assert answer.status_code == 200, answer.text
            entries = {entry["id"]: entry for entry in answer.json()["streams"]}
            if len(entries) == count:
                return entries
            await asyncio.sleep(0.05)


async def followed(http: httpx.AsyncClient, url: str, until: str) -> list[Any]:
    """Return what an event stream has told, up to a control event with this field."""
    params = {"offset": "-1", "live": "sse"}
    async with http.stream("GET", url, params=params) as response:
        assert response.status_code == 200
        return data_of(await EventSource(response).until(until))


async def test_with_the_key_a_stream_is_made_written_read_listed_and_deleted(
    keeper: tuple[Client, str], http: httpx.AsyncClient, unique: Unique
) -> None:
    client, base = keeper
    name = unique("sealed")
    url = f"{base}/v1/stream/{name}"
    assert (await http.put(url, json=["the eagle", "lands"])).status_code == 201
    assert (await http.put(url, json=["the eagle", "lands"])).status_code == 200
    appended = await http.post(url, json=["the eagle left"])
    assert appended.status_code == 204
    items = ["the eagle", "lands", "the eagle left"]
    assert (await http.get(url)).json() == items
    assert (await http.get(url, params={"offset": "2".zfill(20)})).json() == items[2:]
    head = await http.head(url)
    assert head.status_code == 200
    assert head.headers["stream-next-offset"] == appended.headers["stream-next-offset"]
    assert head.headers["content-type"] == "application/json"
    assert await followed(http, url, "upToDate") == items

    fork = f"{url}-fork"
    headers = {"stream-forked-from": f"/v1/stream/{name}", "content-type": "application/json"}
    assert (await http.put(fork, headers=headers)).status_code == 201
    assert (await http.get(fork)).json() == items
    assert b"eagle" not in await raw_bytes(client, name)

    entries = await listed_all(http, base, name, 2)
    assert {entry["content_type"] for entry in entries.values()} == {"application/json"}
    assert (await http.delete(fork)).status_code == 204
    assert list(await listed_all(http, base, name, 1)) == [name]
    assert (await http.post(url, headers={"stream-closed": "true"})).status_code == 204
    assert await followed(http, url, "streamClosed") == items


async def test_with_the_key_a_workflows_stream_is_read_and_written(
    keeper: tuple[Client, str], http: httpx.AsyncClient, unique: Unique
) -> None:
    client, base = keeper
    name = unique("sealed")
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("say", args=["own", '"the eagle lands"'])
        await said(talks, 1)
        url = f"{base}/v1/stream/{name}"
        assert (await http.post(url, json=["the eagle left"])).status_code == 204
        items = [
            {"topic": "own", "data": "the eagle lands"},
            {"topic": "default", "data": "the eagle left"},
        ]
        read = (await http.get(url)).json()
        assert [{"topic": item["topic"], "data": item["data"]} for item in read] == items
        assert await followed(http, url, "upToDate") == read
        assert (await http.head(url)).headers["stream-next-offset"] == token(2)
        await talks.signal("end", "complete")
        assert await followed(http, url, "streamClosed") == read
    assert b"eagle" not in await raw_bytes(client, name)


async def test_without_the_key_it_says_so_and_writes_nothing(
    keeper: tuple[Client, str], stranger: str, http: httpx.AsyncClient, unique: Unique
) -> None:
    client, base = keeper
    mark = unique("sealed")
    made, hosted = f"{mark}-made", f"{mark}-hosted"
    assert (await http.put(f"{base}/v1/stream/{made}", json=["the eagle"])).status_code == 201
    async with hosting(client, "Talks", hosted) as talks:
        await talks.signal("say", args=["own", '"the eagle"'])
        await said(talks, 1)
        before = {}
        for name in (made, hosted):
            before[name] = (await http.get(f"{base}/v1/stream/{name}")).json()
            assert len(before[name]) == 1
            url = f"{stranger}/v1/stream/{name}"
            live = {"offset": "-1", "live": "sse"}
            for answer in (
                await http.get(url),
                await http.get(url, params=live),
                await http.get(url, params={**live, "live": "long-poll"}),
                await http.post(url, json=[666]),
                await http.put(url, json=[666]),
            ):
                assert answer.status_code == 502, answer.text
                assert answer.headers["content-type"] == "application/problem+json"
                problem = answer.json()
                assert problem["type"] == "urn:workflow-streams:broken-stream"
                assert "payload codec" in problem["detail"]
                assert "key" in problem["detail"]
            assert (await http.head(url)).status_code == 502
        assert (await http.delete(f"{stranger}/v1/stream/{made}")).status_code == 502

        entries = await listed_all(http, stranger, mark, 2)
        assert set(entries) == {made, hosted}
        assert {entry["state"] for entry in entries.values()} == {"running"}
        assert all("content_type" not in entry for entry in entries.values())
        for name in (made, hosted):
            assert (await http.get(f"{base}/v1/stream/{name}")).json() == before[name]
        # Its own streams are served.
        own = f"{stranger}/v1/stream/{mark}-own"
        assert (await http.put(own, json=[1])).status_code == 201
        assert (await http.get(own)).json() == [1]
