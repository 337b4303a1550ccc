"""GET and HEAD of streams: what is told, how it may be kept, and what is not told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from .hosts import ended, hosting, said
from .serving import GatewayProcess, metric
from .tokens import token

Unique = Callable[[str], str]


async def test_a_workflows_items_come_in_envelopes_with_the_bytes_they_were_published_as(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("say", args=["a", '{"n" : 1.10}'])
        await talks.signal("say_raw", [0, 255])
        await talks.signal("say", args=["b", "null"])
        await said(talks, 3)
        answer = await http.get(gateway.stream(name))
        assert answer.headers["content-type"] == "application/json"
        assert '"data":{"n" : 1.10}}' in answer.text
        items = answer.json()
        assert all(item.pop("time").endswith("Z") for item in items)
        assert items == [
            {"offset": 0, "topic": "a", "data": {"n": 1.1}},
            {"offset": 1, "topic": "raw", "data": "AP8=", "encoding": "binary/plain"},
            {"offset": 2, "topic": "b", "data": None},
        ]
        assert answer.headers["stream-next-offset"] == token(3)
        assert answer.headers["stream-up-to-date"] == "true"
        assert "stream-closed" not in answer.headers

        some = await http.get(gateway.stream(name), params={"topic": ["a", "b"], "offset": "1"})
        assert [item["offset"] for item in some.json()] == [2]
        assert some.headers["stream-next-offset"] == token(3)
        none = await http.get(gateway.stream(name), params={"topic": "other"})
        assert none.json() == []


@pytest.mark.parametrize(("how", "outcome"), [("done", "completed"), ("fail", "failed")])
async def test_the_end_is_told_with_the_outcome_and_no_more(
    gateway: GatewayProcess,
    http: httpx.AsyncClient,
    client: Client,
    unique: Unique,
    how: str,
    outcome: str,
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("count", args=[0, 3])
        await talks.signal("end", how)
        await ended(talks)
    # No worker is left to ask.
    for method in ("GET", "HEAD"):
        answer = await http.request(method, gateway.stream(name))
        assert answer.status_code == 200
        assert answer.headers["stream-closed"] == "true"
        assert answer.headers["stream-outcome"] == outcome
        assert answer.headers["stream-next-offset"] == token(3)
        assert "secret" not in answer.text + str(answer.headers)
    for place in ("now", token(3)):
        polled = await http.get(gateway.stream(name), params={"offset": place, "live": "long-poll"})
        assert polled.status_code == 204
        assert polled.headers["stream-closed"] == "true"
    posted = await http.post(gateway.stream(name), json=1)
    assert posted.status_code == 409
    assert posted.headers["stream-closed"] == "true"
    assert posted.headers["stream-next-offset"] == token(3)


async def test_what_is_over_may_be_kept_and_the_tail_may_not(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    url = gateway.stream(name)
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("count", args=[0, 3])
        await said(talks, 3)
        live = await http.get(url)
        assert live.headers["cache-control"] == "public, no-cache"
        known = {"if-none-match": live.headers["etag"]}
        again = await http.get(url, headers=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == live.headers["etag"]
        tail = await http.get(url, params={"offset": "now"})
        assert tail.headers["cache-control"] == "no-store"
        assert "etag" not in tail.headers
        assert (await http.head(url)).headers["cache-control"] == "no-store"

        await talks.signal("end", "done")
        await ended(talks)
        closed = await http.get(url, headers=known)
        assert closed.status_code == 200, "the end is news, though there is no new item"
        assert closed.headers["cache-control"].startswith("public, max-age=")
        assert closed.json() == live.json()
        known = {"if-none-match": f'"other", {closed.headers["etag"]}'}
        assert (await http.get(url, headers=known)).status_code == 304
        # A tag is good for its own question only.
        for params in ({"offset": "1"}, {"topic": "n"}):
            assert (await http.get(url, headers=known, params=params)).status_code == 200
        known = {"if-none-match": live.headers["etag"]}
        assert (await http.get(url, headers=known)).status_code == 200


async def test_pages_put_together_are_the_stream(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name) as talks:
        for start in range(0, 20_000, 10_000):
            await talks.signal("count", args=[start, start + 10_000])
            await said(talks, start + 10_000)
        numbers: list[int] = []
        offset, pages = "-1", 0
        while True:
            answer = await http.get(gateway.stream(name), params={"offset": offset})
            numbers += [item["data"] for item in answer.json()]
            assert answer.headers["stream-next-offset"] == token(len(numbers))
            offset, pages = answer.headers["stream-next-offset"], pages + 1
            if answer.headers.get("stream-up-to-date") == "true":
                break
            assert answer.headers["cache-control"].startswith("public, max-age=")
        assert numbers == list(range(20_000))
        assert pages > 2


async def test_text_is_compressed_for_those_who_take_it(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    await http.put(url, headers={"content-type": "text/plain"}, content=b"word " * 10_000)
    zipped = await http.get(url, headers={"accept-encoding": "gzip"})
    plain = await http.get(url, headers={"accept-encoding": "identity"})
    assert zipped.headers["content-encoding"] == "gzip"
    assert int(zipped.headers["content-length"]) < 1000
    assert "content-encoding" not in plain.headers
    assert "accept-encoding" in plain.headers["vary"].lower()
    assert zipped.content == plain.content == b"word " * 10_000

    image = new_stream()
    await http.put(image, headers={"content-type": "image/png"}, content=b"word " * 10_000)
    answer = await http.get(image, headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in answer.headers


async def test_what_is_truncated_is_gone_and_the_answer_says_where_to_go_on(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("count", args=[0, 10])
        await talks.signal("truncate", 6)
        await said(talks, 10)
        for live in ({}, {"live": "long-poll"}):
            answer = await http.get(gateway.stream(name), params={"offset": "3", **live})
            assert answer.status_code == 410
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["stream-base-offset"] == token(6)
        start = answer.headers["stream-base-offset"]
        rest = await http.get(gateway.stream(name), params={"offset": start})
        assert [item["offset"] for item in rest.json()] == [6, 7, 8, 9]
        # Who asks for the start has not been promised anything that is gone.
        assert (await http.get(gateway.stream(name))).json() == rest.json()
        assert (await http.head(gateway.stream(name))).headers["stream-base-offset"] == token(6)


async def test_a_retried_activity_is_told_as_a_rewind_with_its_ranges(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("stutters")
    async with hosting(client, "Stutters", name) as stutters:
        await stutters.signal("start")
        await ended(stutters)
        answer = await http.get(gateway.stream(name))
    assert [item["data"] for item in answer.json()] == [
        "one of 1", "two of 1", "one of 2", "two of 2",
    ]  # fmt: skip
    [rewind] = json.loads(answer.headers["stream-rewinds"])
    assert rewind == {
        "ranges": [{"start": token(0), "end": token(2)}],
        "reason": "attempt",
        "nextOffset": token(2),
        "attempt": 2,
    }
    # Who goes on after it has heard of it.
    later = await http.get(gateway.stream(name), params={"offset": "3"})
    assert "stream-rewinds" not in later.headers


async def test_a_long_poll_waits_for_what_passes_its_filter(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("say", args=["a", "0"])
        await said(talks, 1)
        query = {"offset": token(1), "live": "long-poll", "topic": "b"}

        async def poll() -> httpx.Response:
            while True:
                answer = await http.get(gateway.stream(name), params=query)
                if answer.status_code != 204:
                    return answer
                query["offset"] = answer.headers["stream-next-offset"]

        waiting = asyncio.create_task(poll())
        viewers = "workflow_streams_viewers{"
        while not waiting.done() and await metric(http, gateway, viewers, "long-poll") < 1:
            await asyncio.sleep(0.01)
        await talks.signal("say", args=["a", "1"])
        await said(talks, 2)
        await talks.signal("say", args=["b", "2"])
        answer = await waiting
        assert [(i["topic"], i["data"]) for i in answer.json()] == [("b", 2)]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["stream-cursor"].isdigit()
        # Nothing comes any more; yet it need not ask for what was not for it again.
        query["offset"] = token(1)
        query["topic"] = "c"
        answer = await http.get(gateway.stream(name), params=query)
        assert answer.status_code == 204
        assert answer.headers["stream-next-offset"] == token(3)


async def test_a_workflow_without_a_stream_is_not_readable(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("quiet")
    async with hosting(client, "Quiet", name) as quiet:
        for running in (True, False):
            for method in ("GET", "HEAD"):
                answer = await http.request(method, gateway.stream(name))
                assert answer.status_code == 404, running
            for live in ("sse", "long-poll"):
                answer = await http.get(gateway.stream(name), params={"offset": "-1", "live": live})
                assert answer.status_code == 404, live
            assert "secret" not in answer.text
            assert (await http.post(gateway.stream(name) + "/cancel")).status_code == 404
            if running:
                await quiet.signal("end")
                await ended(quiet)


async def test_streams_of_the_contrib_are_read_and_published_to(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("contrib")
    async with hosting(client, "ContribTalks", name) as contrib:
        url = gateway.stream(name)
        assert [i["data"] for i in (await http.get(url)).json()] == ["first"]
        assert (await http.post(url, params={"topic": "in"}, json=["x", "y"])).status_code == 202
        while len(items := (await http.get(url)).json()) < 3:
            await asyncio.sleep(0.02)
        assert [(i["offset"], i["topic"], i["data"]) for i in items] == [
            (0, "own", "first"), (1, "in", "x"), (2, "in", "y"),
        ]  # fmt: skip
        refused = await http.post(url, json=1, headers={"stream-seq": "1"})
        assert refused.status_code == 501
        await contrib.signal("end")
        await ended(contrib)
        assert (await http.get(url)).headers["stream-outcome"] == "completed"


async def test_wrong_questions_get_problem_documents(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    await http.put(url, headers={"content-type": "text/plain"})
    wrong: list[tuple[str, str, dict[str, Any], int]] = [
        ("GET", url, {"params": {"offset": "x"}}, 400),
        ("GET", url, {"params": {"offset": ["1", "2"]}}, 400),
        ("GET", url, {"params": {"live": "telepathy", "offset": "-1"}}, 400),
        ("GET", url, {"params": {"live": "sse"}}, 400),
        ("GET", url, {"params": {"live": "long-poll", "offset": "-1", "cursor": "x"}}, 400),
        ("GET", new_stream(), {}, 404),
        ("GET", gateway.stream("__ds/subscriptions/x"), {}, 404),
        ("GET", gateway.url + "/nowhere", {}, 404),
        ("PATCH", url, {}, 405),
        ("GET", url + "/cancel", {}, 405),
        ("GET", gateway.url + "/v1/streams", {"params": {"state": "odd"}}, 400),
    ]
    for method, where, options, status in wrong:
        answer = await http.request(method, where, **options)
        assert answer.status_code == status, (method, where, options)
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == status
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert problem.keys() == {"type", "title", "status", "detail", "request_id"}
