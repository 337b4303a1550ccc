"""Tokens tell streams and their restarts apart, in every way to read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
from temporalio.client import Client
from temporalio.common import RawValue, RetryPolicy

from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload
from workflow_streams.log.publisher_ids import ActivityPublisher, Attempt

from .events import Event
from .hosts import ended, hosting, said
from .serving import GatewayProcess
from .several import following, is_level, items_by_stream, of, until
from .test_events import follow
from .tokens import number, token

Unique = Callable[[str], str]
JSON = {"content-type": "application/json"}
SOON = RetryPolicy(initial_interval=timedelta(milliseconds=50), maximum_attempts=3)


def told(events: list[Event]) -> list[Any]:
    """What events tell of items and rewinds, in order."""
    story: list[Any] = []
    for event in events:
        if event.kind == "data":
            story += [item["data"] if isinstance(item, dict) else item for item in event.json]
        elif "rewind" in event.json:
            rewind = event.json["rewind"]
            ranges = [(number(r["start"]), number(r["end"])) for r in rewind["ranges"]]
            story.append((rewind["reason"], ranges, number(rewind["nextOffset"])))
    return story


async def remade(http: httpx.AsyncClient, url: str) -> str:
    """Make a stream, delete it, and make it again; return where a reader of the first stood."""
    await http.put(url, headers=JSON, json=["old 0", "old 1", "old 2"])
    read = await http.get(url)
    assert read.json() == ["old 0", "old 1", "old 2"]
    assert (await http.delete(url)).status_code == 204
    assert (await http.put(url, headers=JSON, json=["new 0"])).status_code == 201
    return read.headers["stream-next-offset"]


async def test_a_stream_that_was_made_again_is_not_read_on_as_if_it_were_the_old_one(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    place = await remade(http, url)
    for live in ({}, {"live": "long-poll"}):
        answer = await http.get(url, params={"offset": place, **live})
        assert answer.status_code == 410
        assert "another stream that had this name" in answer.json()["detail"]
        base = answer.headers["stream-base-offset"]
        assert base == token(0)
        assert (await http.get(url, params={"offset": base})).json() == ["new 0"]
    # An EventSource comes with what it has, and would die of a 410.
    for how in ({"offset": place}, {"offset": "-1", "headers": {"last-event-id": place}}):
        async with follow(http, url, **how) as source:  # type: ignore[arg-type]
            events = await source.until("upToDate")
            assert told(events) == [("replaced", [(0, 3)], 0), "new 0"]
            resume = events[-1].id
        async with follow(http, url, "-1", headers={"last-event-id": resume}) as source:
            events = await source.until("upToDate")
            assert told(events) == []
    # A plain number is a number.
    assert (await http.get(url, params={"offset": place[:20]})).json() == []


async def test_of_several_streams_the_one_that_was_made_again_is_told_so(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    first, second = unique("first"), unique("second")
    place = await remade(http, gateway.stream(first))
    await http.put(gateway.stream(second), headers=JSON, json=["there"])
    events: list[Event] = []
    async with following(http, gateway, [first, second], place, "-1") as source:
        levels = [is_level(events, name, 1) for name in (first, second)]
        await until(source, events, lambda: all(level() for level in levels))
    assert [told["rewind"]["reason"] for told in of(events, first) if "rewind" in told] == [
        "replaced"
    ]
    assert items_by_stream(events) == {first: ["new 0"], second: ["there"]}


async def test_a_retry_while_a_client_was_away_is_told_in_every_way_to_read(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    url = gateway.stream(name)
    async with hosting(client, "Talks", name, retry_policy=SOON) as talks:
        first = (await talks.describe()).run_id
        await talks.signal("say", args=["t", '"old 0"'])
        await talks.signal("say", args=["t", '"old 1"'])
        await said(talks, 2)
        place = (await http.get(url)).headers["stream-next-offset"]
        assert place == token(2)
        await talks.signal("end", "fail")
        async with asyncio.timeout(100):
            while (await talks.describe()).run_id == first:
                await asyncio.sleep(0.02)
        await talks.signal("say", args=["t", '"new 0"'])
        await said(talks, 1)
        for live in ({}, {"live": "long-poll"}):
            answer = await http.get(url, params={"offset": place, **live})
            assert answer.status_code == 200
            assert [item["data"] for item in answer.json()] == ["new 0"]
            [rewind] = json.loads(answer.headers["stream-rewinds"])
            assert rewind == {
                "ranges": [{"start": token(0), "end": token(2)}],
                "reason": "retry",
                "nextOffset": token(0),
            }
            assert answer.headers["stream-next-offset"] == token(1)
            assert answer.headers["stream-up-to-date"] == "true"
            again = await http.get(
                url, params={"offset": answer.headers["stream-next-offset"], **live}
            )
            assert "stream-rewinds" not in again.headers
        async with follow(http, url, place) as source:
            events = await source.until("upToDate")
            assert told(events) == [("retry", [(0, 2)], 0), "new 0"]
        # Without the tag there is nothing to tell it by.
        async with follow(http, url, place[:20]) as source:
            assert told(await source.until("upToDate")) == []
        await talks.signal("end", "done")
        await ended(talks)


async def test_many_rewinds_at_one_offset_are_told_page_by_page_and_none_twice(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    """As of an activity that is tried again and again before it writes anything."""
    name = unique("talks")
    url = gateway.stream(name)
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("say", args=["t", '"first"'])
        for count in range(1, 51):
            attempt = ActivityPublisher("run", "act", Attempt(count, count)).publisher_id("x")
            await talks.signal(wire.PUBLISH_SIGNAL, RawValue(batch_payload([], attempt, 1)))
        await talks.signal("say", args=["t", '"last"'])
        await said(talks, 2)
        for live in ({}, {"live": "long-poll"}):
            items, rewinds, answers = list[str](), list[int](), 0
            place, is_level = "-1", False
            while not is_level:
                answer = await http.get(url, params={"offset": place, **live})
                assert answer.status_code == 200
                items += [item["data"] for item in answer.json()]
                told_now = json.loads(answer.headers.get("stream-rewinds", "[]"))
                rewinds += [rewind["attempt"] for rewind in told_now]
                place, answers = answer.headers["stream-next-offset"], answers + 1
                is_level = "stream-up-to-date" in answer.headers
                assert answers < 10
            assert items == ["first", "last"]
            assert rewinds == list(range(2, 51))
        async with follow(http, url) as source:
            events = await source.until("upToDate")
        ids = [event.id for event in events if told([event]) and event.kind == "control"]
        assert len(set(ids)) == len(ids) == 49
        async with follow(http, url, "-1", headers={"last-event-id": ids[30]}) as source:
            rest = await source.until("upToDate")
        assert told(rest) == [*[("attempt", [], 1)] * 18, "last"]


async def test_a_fork_is_read_on_at_offsets_of_its_source(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    source, fork, twice, other = (new_stream() for _ in range(4))
    made = await http.put(source, headers=JSON, json=["a", "b"])
    place = made.headers["stream-next-offset"]
    await http.put(source, headers=JSON, json=["a", "b"])
    headers = {"stream-forked-from": httpx.URL(source).path, "stream-fork-offset": place}
    assert (await http.put(fork, headers=headers)).status_code == 201
    assert (await http.put(fork, headers=headers)).status_code == 200
    await http.post(fork, headers=JSON, json=["c"])
    assert (await http.get(fork, params={"offset": place})).json() == ["c"]
    headers = {"stream-forked-from": httpx.URL(fork).path}
    assert (await http.put(twice, headers=headers)).status_code == 201
    assert (await http.get(twice, params={"offset": place})).json() == ["c"]
    # Past the fork, the two have nothing in common.
    past = (await http.post(source, headers=JSON, json=["d"])).headers["stream-next-offset"]
    for forked in (fork, twice):
        assert (await http.get(forked, params={"offset": past})).status_code == 410
        async with follow(http, forked, past) as events:
            assert told(await events.until("upToDate")) == [
                ("replaced", [(0, 3)], 0), "a", "b", "c"
            ]  # fmt: skip
    # But a place in another stream is none in this one.
    elsewhere = (await http.put(other, headers=JSON, json=["x"])).headers["stream-next-offset"]
    assert (await http.get(fork, params={"offset": elsewhere})).status_code == 410
    headers = {"stream-forked-from": httpx.URL(source).path, "stream-fork-offset": elsewhere}
    refused = await http.put(new_stream(), headers=headers)
    assert refused.status_code == 409
    assert "another stream" in refused.json()["detail"]


async def test_each_answer_names_the_same_place_in_the_same_words(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    empty = await http.put(url, headers=JSON)
    assert (await http.head(url)).headers["stream-next-offset"] == str(
        empty.headers["stream-next-offset"]
    )
    posted = await http.post(url, headers=JSON, json=["a", "b"])
    place = str(posted.headers["stream-next-offset"])
    assert place.startswith("0" * 19 + "2_")
    for answer in (
        await http.head(url),
        await http.get(url),
        await http.get(url, params={"offset": "now"}),
        await http.get(url, params={"offset": place, "live": "long-poll"}),
    ):
        assert str(answer.headers["stream-next-offset"]) == place
    async with follow(http, url) as source:
        events = await source.until("upToDate")
        assert {str(event.id) for event in events} == {place}
        assert events[-1].json["streamNextOffset"] == place
