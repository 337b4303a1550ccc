"""Reads that begin some items before the head, as ``Last(n)`` does in Python."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowHandle

from workflow_streams import Last, WorkflowStreamClient

from .events import EventSource, data_of
from .hosts import ended, hosting, said
from .serving import GatewayProcess

Unique = Callable[[str], str]


@asynccontextmanager
async def talking(client: Client, name: str) -> AsyncIterator[WorkflowHandle[object, object]]:
    """A stream of the items 0 to 9 on two topics, the even ones on "even"."""
    async with hosting(client, "Talks", name) as talks:
        for number in range(10):
            await talks.signal("say", args=["odd" if number % 2 else "even", str(number)])
        await said(talks, 10)
        yield talks


async def by_all_modes(
    http: httpx.AsyncClient, url: str, params: dict[str, str]
) -> list[list[int]]:
    """Read what is there, in each mode; return the offsets that came."""
    catch_up = await http.get(url, params=params)
    poll = await http.get(url, params={**params, "live": "long-poll"})
    assert catch_up.status_code == poll.status_code == 200
    async with http.stream("GET", url, params={**params, "live": "sse"}) as response:
        story = await EventSource(response).until("upToDate", "streamClosed")
    assert not any("gap" in event.json for event in story if event.kind == "control")
    return [[item["offset"] for item in items]
            for items in (catch_up.json(), poll.json(), data_of(story))]  # fmt: skip


@pytest.mark.parametrize(
    ("params", "first"),
    [
        ({"offset": "-3"}, 7),
        ({"last": "3"}, 7),
        ({"last": "1"}, 9),
        ({"offset": "-10"}, 0),
        ({"offset": "-99999999999999999"}, 0),
        ({"offset": "-1"}, 0),  # which the protocol has mean the start
    ],
)
async def test_all_modes_begin_there(
    gateway: GatewayProcess,
    http: httpx.AsyncClient,
    client: Client,
    unique: Unique,
    params: dict[str, str],
    first: int,
) -> None:
    name = unique("talks")
    async with talking(client, name) as talks:
        expected = [list(range(first, 10))] * 3
        assert await by_all_modes(http, gateway.stream(name), params) == expected
        await talks.signal("end", "complete")
        await ended(talks)
    assert await by_all_modes(http, gateway.stream(name), params) == expected


async def test_the_count_is_of_all_topics_and_those_asked_for_come(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with talking(client, name) as talks:
        found = await by_all_modes(http, gateway.stream(name), {"offset": "-5", "topic": "even"})
        await talks.signal("end", "complete")
        stream = WorkflowStreamClient.create(client, name)
        even = stream.subscribe(["even"], from_offset=Last(5))
        assert found == [[item.offset async for item in even]] * 3 == [[6, 8]] * 3


async def test_what_is_truncated_is_neither_a_gap_nor_gone_to_who_asked_for_no_offset(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with talking(client, name) as talks:
        await talks.signal("truncate", 8)
        await said(talks, 10)
        for params in ({"offset": "-5"}, {"last": "2"}, {"last": "100"}):
            assert await by_all_modes(http, gateway.stream(name), params) == [[8, 9]] * 3


async def test_none_back_is_the_head(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with talking(client, name):
        answer = await http.get(gateway.stream(name), params={"last": "0"})
        now = await http.get(gateway.stream(name), params={"offset": "now"})
        assert answer.json() == now.json() == []
        assert answer.headers["stream-next-offset"] == now.headers["stream-next-offset"]


async def test_an_answer_is_good_for_its_own_question_only(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    url = gateway.stream(name)

    async def ask(offset: str, etag: str = "") -> httpx.Response:
        return await http.get(url, params={"offset": offset}, headers={"if-none-match": etag})

    async with talking(client, name) as talks:
        three, every = await ask("-3"), await ask("-1")
        assert (await ask("-3", three.headers["etag"])).status_code == 304
        assert (await ask("-3", every.headers["etag"])).status_code == 200
        await talks.signal("count", args=[10, 11])
        await said(talks, 11)
        moved = await ask("-3", three.headers["etag"])
        assert [item["offset"] for item in moved.json()] == [8, 9, 10]
        await talks.signal("end", "complete")
        await ended(talks)
    three, every = await ask("-3"), await ask("-1")
    for offset, mine, other in [("-3", three, every), ("-1", every, three)]:
        assert (await ask(offset, mine.headers["etag"])).status_code == 304
        assert (await ask(offset, other.headers["etag"])).status_code == 200


async def test_a_page_of_it_may_not_be_kept_since_the_place_moves(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name) as talks:
        for start in (0, 10_000):
            await talks.signal("count", args=[start, start + 10_000])
            await said(talks, start + 10_000)
        page = await http.get(gateway.stream(name), params={"offset": "-19000"})
        assert "stream-up-to-date" not in page.headers
        assert page.headers["cache-control"] == "public, no-cache"


async def test_bytes_and_values_count_as_they_were_appended(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    text, values = new_stream(), new_stream()
    for url, headers in ((text, {"content-type": "text/plain"}), (values, {})):
        contents: list[Any] = ["a", "b", "c"]
        for body in [content.encode() for content in contents] if headers else [b'["a","b","c"]']:
            headers.setdefault("content-type", "application/json")
            made = await http.put(url, headers=headers)
            assert made.status_code in (200, 201)
            assert (await http.post(url, headers=headers, content=body)).status_code == 204
    assert (await http.get(text, params={"offset": "-2"})).text == "bc"
    assert (await http.get(values, params={"last": "2"})).json() == ["b", "c"]
