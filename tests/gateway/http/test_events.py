"""Event streams: nothing lost or double, whatever ends them."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient
from workflow_streams.gateway import GatewaySettings
from workflow_streams.gateway.following.sse import Life
from workflow_streams.testing.fixtures import StreamServer

from .events import Event, EventSource, data_of
from .hosts import ended, hosting, said
from .serving import GatewayProcess, running_gateway
from .tokens import token

Unique = Callable[[str], str]


@asynccontextmanager
async def follow(
    http: httpx.AsyncClient, url: str, offset: str | None = "-1", **more: Any
) -> AsyncIterator[EventSource]:
    params = {"live": "sse", **({"offset": offset} if offset is not None else {})}
    params |= more.pop("params", {})
    async with http.stream("GET", url, params=params, **more) as response:
        assert response.status_code == 200, (await response.aread()).decode()
        yield EventSource(response)


@pytest.fixture(scope="module")
def hasty(stream_server: StreamServer) -> Any:
    """A gateway whose event streams are quiet and live for a short time only."""
    with running_gateway(
        stream_server.address, keep_alive_seconds=0.3, sse_seconds=2.0, event_bytes=64 * 1024
    ) as gateway:
        yield gateway


async def test_a_connection_lasts_about_an_hour_unless_its_permission_ends_sooner() -> None:
    now = asyncio.get_running_loop().time()
    seconds = GatewaySettings().sse_seconds
    lives = [Life.of(seconds, permitted) for permitted in (None, 7200.0) for _ in range(50)]
    assert {life.reason for life in lives} == {"recycled"}
    assert min(life.until for life in lives) - now >= 3240
    assert max(life.until for life in lives) - now < 3961
    assert len({life.until for life in lives}) > 1
    short = Life.of(seconds, 60.0)
    assert short.reason == "expired"
    assert 60 <= short.until - now < 3240


async def test_headers_keep_proxies_from_holding_events_back(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    await http.put(url, headers={"content-type": "text/plain"}, content=b"x" * 5000)
    async with follow(http, url, headers={"accept-encoding": "gzip"}) as source:
        headers = source.response.headers
        assert headers["content-type"] == "text/event-stream"
        assert headers["x-accel-buffering"] == "no"
        assert "no-cache" in headers["cache-control"]
        assert "content-encoding" not in headers
        assert "content-length" not in headers
        await source.until("upToDate")
        assert b"retry:" in source.raw


async def test_who_has_had_all_in_one_large_event_is_told_to_be_up_to_date(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    values = [f"{number} {'x' * 1000}" for number in range(600)]
    await http.put(url, json=values)
    async with asyncio.timeout(100), follow(http, url) as source:
        assert data_of(await source.until("upToDate")) == values
    page = await http.get(url)
    assert page.json() == values
    assert page.headers["stream-up-to-date"] == "true"


async def test_events_tell_the_whole_story_up_to_the_outcome(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("stutters")
    async with (
        hosting(client, "Stutters", name) as stutters,
        follow(http, gateway.stream(name)) as source,
    ):
        story: list[Event] = []
        reading = asyncio.create_task(source.rest())
        await stutters.signal("start")
        await ended(stutters)
        story = await asyncio.wait_for(reading, 100)
    assert [item["data"] for item in data_of(story)] == [
        "one of 1", "two of 1", "one of 2", "two of 2",
    ]  # fmt: skip
    assert [item["offset"] for item in data_of(story)] == [0, 1, 2, 3]
    rewinds = [e.json["rewind"] for e in story if e.kind == "control" and "rewind" in e.json]
    assert rewinds == [
        {
            "ranges": [{"start": token(0), "end": token(2)}],
            "reason": "attempt",
            "nextOffset": token(2),
            "attempt": 2,
        }
    ]
    # It comes where the new attempt begins, before its first item.
    kinds = [("rewind" if "rewind" in e.json else e.kind) if e.kind == "control" else
             [item["data"] for item in e.json] for e in story]  # fmt: skip
    assert kinds.index("rewind") < kinds.index(["one of 2"])
    last = story[-1].json
    assert last["streamClosed"] is True
    assert last["outcome"] == "completed"
    assert last["streamNextOffset"] == token(4)
    assert story[-1].id == token(4) + ".end"
    assert "streamCursor" not in last
    for event, following in itertools.pairwise(story):
        if event.kind == "data":
            assert following.kind == "control"
            assert following.json["streamNextOffset"] == event.id


async def test_a_viewer_that_is_cut_off_again_and_again_misses_and_repeats_nothing(
    hasty: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    """As a browser does it: the same URL, and the id of the last event."""
    name = unique("talks")
    total = 300
    async with hosting(client, "Talks", name):
        publishing = asyncio.create_task(publish(client, name, total))
        seen: list[Any] = []
        last_id, connections = "", 0
        while len(seen) < total:
            headers = {"last-event-id": last_id} if last_id else {}
            connections += 1
            async with follow(http, hasty.stream(name), headers=headers) as source:
                # Cut off in the middle now and then, else until the gateway has had enough.
                patience = 0.2 if connections % 2 else 30
                try:
                    async with asyncio.timeout(patience):
                        async for event in source.events():
                            last_id = event.id
                            if event.kind == "data":
                                seen += event.json
                            if len(seen) >= total:
                                break
                except TimeoutError:
                    continue
        await publishing
    assert [item["offset"] for item in seen] == list(range(total))
    assert [item["data"] for item in seen] == list(range(total))
    assert connections > 2


async def publish(client: Client, name: str, total: int) -> None:
    async with WorkflowStreamClient.create(client, name) as stream:
        numbers = stream.topic("n", type=int)
        for number in range(total):
            numbers.publish(number)
            await asyncio.sleep(0.01)


async def test_a_connection_ends_after_its_time_with_a_place_to_resume_at(
    hasty: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = hasty.stream(new_stream().rpartition("/")[2])
    await http.put(url, headers={"content-type": "text/plain"}, content=b"so far")
    async with follow(http, url) as source:
        story = await source.rest()
    assert story[-1].json["closing"] == "recycled"
    assert story[-1].json["streamNextOffset"] == token(1)
    assert "streamClosed" not in story[-1].json
    assert source.raw.count(b": keep-alive\n\n") >= 3
    async with follow(http, url, "now") as source:
        assert (await source.until("upToDate"))[-1].json["streamNextOffset"] == token(1)


async def test_the_last_events_id_wins_over_the_urls_offset(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    await http.put(url, json=["a", "b", "c"])
    for offset in ("-1", "now", None):
        async with follow(http, url, offset, headers={"last-event-id": token(1)}) as source:
            assert data_of(await source.until("upToDate")) == ["b", "c"]
    bad = {"live": "sse", "offset": "-1"}
    assert (await http.get(url, params=bad, headers={"last-event-id": "x"})).status_code == 400


async def test_topics_are_filtered_and_the_place_moves_on_all_the_same(
    hasty: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name) as talks:
        params = {"topic": ["a", "b"]}
        async with follow(http, hasty.stream(name), params=params) as source:
            seen: list[Event] = []
            async for event in source.events():
                seen.append(event)
                if len(seen) == 1:
                    for topic in "acbc":
                        await talks.signal("say", args=[topic, f'"{topic}"'])
                # Silence is broken by the place, since the client's is an old one.
                if event.id == token(4):
                    break
    assert [(i["offset"], i["data"]) for i in data_of(seen)] == [(0, "a"), (2, "b")]


async def test_a_gap_is_told_with_its_range_and_the_stream_goes_on(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("count", args=[0, 10])
        await talks.signal("truncate", 6)
        await said(talks, 10)
        # As an EventSource that was away for too long.
        headers = {"last-event-id": token(3)}
        async with follow(http, gateway.stream(name), headers=headers) as source:
            story = await source.until("upToDate")
    gaps = [e.json["gap"] for e in story if e.kind == "control" and "gap" in e.json]
    assert gaps == [{"start": token(3), "end": token(6), "reason": "truncated"}]
    assert story[0].json["gap"] == gaps[0]
    assert [item["offset"] for item in data_of(story)] == [6, 7, 8, 9]


async def test_text_and_bytes_are_told_apart(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    text, binary = new_stream(), new_stream()
    await http.put(text, headers={"content-type": "text/markdown"}, content="é\r\n\n x".encode())
    await http.put(binary, headers={"content-type": "image/png"}, content=b"\x00\xff\r\n")
    async with follow(http, text) as source:
        [data, _] = await source.until("upToDate")
        assert data.text == "é\n\n x"
        assert "stream-sse-data-encoding" not in source.response.headers
    async with follow(http, binary) as source:
        [data, _] = await source.until("upToDate")
        assert base64.b64decode(data.text) == b"\x00\xff\r\n"
        assert source.response.headers["stream-sse-data-encoding"] == "base64"


async def test_a_client_that_leaves_ends_nobody_elses_reading(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    await http.put(url, json=[0])
    async with follow(http, url) as staying:
        events = staying.events()
        first = [await anext(events), await anext(events)]
        for _ in range(20):
            async with follow(http, url) as leaving:
                await leaving.until("upToDate")
        assert (await http.post(url, json=[1])).status_code == 204
        after = [await anext(events), await anext(events)]
        assert data_of([*first, *after]) == [0, 1]
        await events.aclose()
    # The stream itself has not noticed.
    answer = await http.get(url)
    assert answer.json() == [0, 1]
    assert "stream-closed" not in answer.headers


async def test_a_viewer_at_the_tail_gets_the_last_append_with_the_close(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    await http.put(url, json=["first"])
    async with follow(http, url, "now") as source:
        reading = asyncio.create_task(source.rest())
        await http.post(url, json=["last"], headers={"stream-closed": "true"})
        story = await asyncio.wait_for(reading, 100)
    if data_of(story) == []:  # it came first
        assert story[-1].json["streamNextOffset"] == token(2)
    else:
        assert data_of(story) == ["last"]
    assert story[-1].json["streamClosed"] is True
    assert story[-1].json["outcome"] == "completed"


async def test_a_deleted_stream_ends_for_those_who_read_it(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    await http.put(url, json=["first"])
    async with follow(http, url) as source:
        reading = asyncio.create_task(source.rest())
        assert (await http.delete(url)).status_code == 204
        story = await asyncio.wait_for(reading, 100)
    # As readers of several streams are told, in the last event.
    last = story[-1].json
    assert last.get("outcome") == "terminated" or last["problem"]["status"] == 404
    assert (await http.get(url)).status_code == 404
