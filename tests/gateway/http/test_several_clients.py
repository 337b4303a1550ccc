"""Who may follow several streams over one connection, and how much that may cost."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from temporalio.client import Client

from workflow_streams.gateway.following.event_ids import MOST_STREAMS
from workflow_streams.testing.fixtures import StreamServer

from ..security.gated import ENVIRON, JSON, bearer, problem
from .events import Event
from .hosts import hosting, said
from .serving import GatewayProcess, metric, running_gateway
from .several import first, following, is_level, items_by_stream, until
from .test_faults import left

Unique = Callable[[str], str]
TEXT = {"content-type": "text/plain"}


@pytest.fixture(scope="module")
def guarded(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    with running_gateway(
        stream_server.address,
        environ=ENVIRON,
        security={"leeway_seconds": 0},
        limits={"max_connections_per_client": 8},
    ) as gateway:
        yield gateway


async def test_what_is_malformed_is_refused_before_anything_is_read(
    gateway: GatewayProcess, http: httpx.AsyncClient
) -> None:
    url = f"{gateway.url}/v1/streams/events"
    for params in (
        {},
        {"id": ""},
        {"id": "a/../b"},
        {"id": [f"s{n}" for n in range(MOST_STREAMS + 1)]},
        {"id": ["a", "b", "c"], "offset": ["-1", "-1"]},
        {"id": "a", "offset": "x"},
    ):
        assert (await http.get(url, params=params)).status_code == 400, params
    headers = {"last-event-id": "00000000,1"}
    assert (await http.get(url, params={"id": "a"}, headers=headers)).status_code == 400
    for method in ("HEAD", "POST"):
        answer = await http.request(method, url, params={"id": "a"})
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]


async def test_one_that_may_not_be_read_refuses_all_and_tells_nothing_of_what_there_is(
    guarded: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    mine, theirs, nobodys = unique("mine"), unique("theirs"), unique("nobodys")
    for name in (mine, theirs):
        made = await http.put(guarded.stream(name), headers={**bearer(), **JSON})
        assert made.status_code == 201
    url = f"{guarded.url}/v1/streams/events"
    rule = [{"ids": [mine], "actions": ["read"]}]
    told = []
    for other in (theirs, nobodys):
        answer = await http.get(url, params={"id": [mine, other]}, headers=bearer(rule))
        told.append(problem(answer, 403, "forbidden")["detail"])
    assert told[0] == told[1]
    assert (await http.get(url, params={"id": mine})).status_code == 401
    # What a signed URL allows is one stream.
    signing = {"workflow_id": mine}
    signed = await http.post(f"{guarded.url}/v1/sign", headers=bearer(rule), json=signing)
    access = signed.json()["url"].partition("access=")[2]
    answer = await http.get(url, params={"id": [mine, theirs], "access": access})
    problem(answer, 403, "forbidden")


async def test_each_stream_shows_the_topics_that_are_allowed_of_it_until_the_permission_ends(
    guarded: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    names = [unique("talks"), unique("talks")]
    rules = [
        {"ids": [name], "actions": ["read"], "topics": [topic]}
        for name, topic in zip(names, "ab", strict=True)
    ]
    async with (
        hosting(client, "Talks", names[0]) as one,
        hosting(client, "Talks", names[1]) as two,
    ):
        for handle in (one, two):
            for topic in "ab":
                await handle.signal("say", args=[topic, f'"{topic}"'])
            await said(handle, 2)
        headers = bearer(rules, exp=int(time.time()) + 4)
        async with following(http, guarded, names, headers=headers) as source:
            story = await source.rest()
    assert story[-1].json == {"closing": "expired"}
    items = items_by_stream(story)
    assert {name: [i["data"] for i in items[name]] for name in names} == {
        names[0]: ["a"],
        names[1]: ["b"],
    }


async def test_each_stream_counts_as_a_connection_of_the_client(
    guarded: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    names = [unique("values") for _ in range(6)]
    for name in names:
        await http.put(guarded.stream(name), headers={**bearer(), **JSON})
    mine = bearer(sub="ann")
    url = f"{guarded.url}/v1/streams/events"
    async with following(http, guarded, names, headers=mine) as source:
        seen: list[Event] = []
        await until(source, seen, lambda: len({e.json.get("stream") for e in seen}) == 6)
        answer = await http.get(url, params={"id": names[:3]}, headers=mine)
        problem(answer, 429, "too-many-connections")
        async with following(http, guarded, names[:1], headers=mine) as other:
            await first(other)
    async with asyncio.timeout(100):
        while await open_requests(http, guarded) > 1:
            await asyncio.sleep(0.02)
    async with following(http, guarded, [*names, *names[:2]], headers=mine) as source:
        await first(source)


async def open_requests(http: httpx.AsyncClient, gateway: GatewayProcess) -> float:
    headers = bearer([{"ids": ["*"], "actions": ["metrics"]}])
    lines = (await http.get(f"{gateway.url}/metrics", headers=headers)).text.splitlines()
    [line] = [n for n in lines if n.startswith("workflow_streams_http_connections ")]
    return float(line.rpartition(" ")[2])


async def test_a_client_that_takes_nothing_in_is_let_go_and_costs_nobody_else_anything(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    settings = {"keep_alive_seconds": 0.5, "write_seconds": 2.0}
    with running_gateway(stream_server.address, **settings) as gateway:
        names = [unique("text") for _ in range(4)]
        for name in names:
            await http.put(gateway.stream(name), headers=TEXT, content="x" * 3_000_000)
        with socket.socket() as stalled:
            stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stalled.connect(("127.0.0.1", gateway.port))
            query = "&".join(f"id={name}" for name in names)
            asking = f"GET /v1/streams/events?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n"
            stalled.sendall(asking.encode())
            assert stalled.recv(15) == b"HTTP/1.1 200 OK"
            async with following(http, gateway, names) as source:
                seen: list[Event] = []
                events = source.events()
                while not all(is_level(seen, name, 1)() for name in names):
                    seen.append(await anext(events))
                staying = asyncio.create_task(anext(events, None))  # takes in the keep-alives
                assert await left(http, gateway) == "slow"
                staying.cancel()
                await asyncio.wait({staying})
            lengths = {name: len("".join(t)) for name, t in items_by_stream(seen).items()}
            assert lengths == dict.fromkeys(names, 3_000_000)
            async with asyncio.timeout(100):
                while await metric(http, gateway, "workflow_streams_viewers{", 'mode="sse"'):
                    await asyncio.sleep(0.05)
        assert gateway.log == ""
