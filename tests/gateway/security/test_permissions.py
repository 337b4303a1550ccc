"""What a token lets its bearer do with a real gateway before a real Temporal, and for how long."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx

from tests.gateway.http.tokens import token

from ..http.serving import GatewayProcess
from .gated import JSON, Bearer, bearer, following, in_, problem, publish, reader_of, until_closing


async def test_without_a_token_nothing_is_told_not_even_what_there_is(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    there, not_there = gateway.stream(stream), gateway.stream("not-" + stream)
    bodies = set()
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE"):
        for url in (there, not_there, f"{there}?live=sse&offset=-1", f"{there}?offset=now"):
            answer = await http.request(method, url, headers=JSON, content=b"1")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Bearer ")
            if method != "HEAD":
                told = problem(answer, 401, "authentication-required")
                bodies.add(json.dumps({**told, "request_id": ""}))
    assert len(bodies) == 1
    for url in (f"{there}/cancel", f"{gateway.url}/v1/sign"):
        problem(await http.post(url, json={"workflow_id": stream}), 401, "authentication-required")
    for path in ("/v1/streams", "/metrics"):
        problem(await http.get(gateway.url + path), 401, "authentication-required")
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert (await http.get(gateway.url + path)).status_code == 200
    assert (await http.get(there, headers=bearer())).json() == list(range(6))


async def test_a_token_for_other_streams_learns_nothing_of_this_one(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    other = reader_of("nobodys-own-*")
    for workflow_id in (
        stream,
        "not-" + stream,
        "nobodys-own-*/../" + stream,
        "nobodys-own-1/%2e%2e/" + stream,
    ):
        url = gateway.stream(workflow_id.replace("..", "%2e%2e"))
        answer = await http.get(url, headers=other)
        assert answer.status_code in (400, 403), answer.text
        assert "x" not in answer.headers.get("stream-next-offset", "")
    problem(await http.get(gateway.stream(stream), headers=other), 403, "forbidden")
    problem(await http.get(gateway.stream("nobodys-own-1"), headers=other), 404, "stream-not-found")
    listed = (await http.get(f"{gateway.url}/v1/streams", headers=other)).json()["streams"]
    assert listed == []


async def test_a_listing_shows_what_may_be_read(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    async def listed(headers: Bearer) -> set[str]:
        answer = await http.get(f"{gateway.url}/v1/streams", headers=headers)
        return {entry["id"] for entry in answer.json()["streams"]}

    while stream not in await listed(bearer()):
        await asyncio.sleep(0.05)  # visibility comes later
    assert await listed(reader_of(stream)) == {stream}
    writer = bearer([{"ids": [stream], "actions": ["write"]}])
    problem(await http.get(f"{gateway.url}/v1/streams", headers=writer), 403, "forbidden")


async def test_a_token_for_a_topic_reads_this_topic_alone_in_every_way(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    url, only_a = gateway.stream(stream), reader_of(stream, "a")
    assert (await http.get(url, headers=reader_of(stream))).json() == [0, 1, 2, 3, 4, 5]
    assert (await http.get(url, headers=only_a)).json() == [0, 2, 4]
    assert (await http.get(f"{url}?topic=a", headers=only_a)).json() == [0, 2, 4]
    assert (await http.get(f"{url}?offset={3:020d}", headers=only_a)).json() == [4]
    for query in ("topic=b", "topic=a&topic=b", "topic=", "topic=A", "topic=b&live=sse&offset=-1"):
        problem(await http.get(f"{url}?{query}", headers=only_a), 403, "forbidden")

    waiting = asyncio.create_task(http.get(f"{url}?offset=now&live=long-poll", headers=only_a))
    async with following(
        http, f"{url}?live=sse&offset=-1", reader_of(stream, "a", exp=in_(4))
    ) as events:
        await asyncio.sleep(0.3)  # so that most of it comes live
        await publish(http, gateway, stream, range(6, 12))
        items, told = await until_closing(events)
    assert items == [0, 2, 4, 6, 8, 10]
    assert told["closing"] == "expired"
    polled = await waiting
    assert polled.status_code == 200
    assert set(polled.json()) <= {6, 8, 10}


async def test_two_tokens_never_share_an_answer(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    url = gateway.stream(stream)
    wide = await http.get(url, headers=reader_of(stream))
    narrow = await http.get(url, headers=reader_of(stream, "a"))
    assert wide.headers["etag"] != narrow.headers["etag"]
    for answer in (wide, narrow):
        assert answer.headers["cache-control"].startswith("private")
        assert "Authorization" in answer.headers["vary"]
    for headers, tag, status in [
        (reader_of(stream), wide.headers["etag"], 304),
        (reader_of(stream), narrow.headers["etag"], 200),
        (reader_of(stream, "a"), wide.headers["etag"], 200),
    ]:
        again = await http.get(url, headers={**headers, "if-none-match": tag})
        assert again.status_code == status


async def test_a_live_connection_ends_with_its_token_and_goes_on_with_the_next(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    async def publish_on() -> None:
        for n in range(6, 60):
            await publish(http, gateway, stream, [n])
            await asyncio.sleep(0.05)

    publishing = asyncio.create_task(publish_on())
    seen: list[int] = []
    place, connections = "-1", 0
    while len(seen) < 60:
        connections += 1
        expires = in_(0.5)
        headers = reader_of(stream, exp=expires)
        url = f"{gateway.stream(stream)}?live=sse&offset={place}"
        async with following(http, url, headers) as events:
            items, told = await until_closing(events)
        assert told["closing"] == "expired"
        assert time.time() >= expires - 0.1
        seen += items
        place = told["streamNextOffset"]
        # The old token is of no more use, at whatever place.
        problem(await http.get(url, headers=headers), 401, "expired-credentials")
    await publishing
    assert seen == list(range(60))
    assert connections > 1


async def test_a_long_poll_ends_with_its_token(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    expires = in_(0.5)
    url = f"{gateway.stream(stream)}?offset=now&live=long-poll"
    answer = await http.get(url, headers=reader_of(stream, exp=expires))
    assert answer.status_code == 204
    assert expires - 0.1 <= time.time()
    assert answer.headers["stream-next-offset"] == token(6)


async def test_a_fork_shows_no_more_than_may_be_read(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    own = {"ids": [f"fork-of-{stream}"], "actions": ["read", "write"]}
    fork = {**JSON, "stream-forked-from": f"/v1/stream/{stream}"}
    url = gateway.stream(f"fork-of-{stream}")
    for of_source in (
        {"ids": [stream], "actions": ["read"], "topics": ["a"]},
        {"ids": [stream], "actions": ["write"]},
        {"ids": ["other"], "actions": ["read"]},
    ):
        made = await http.put(url, headers={**bearer([own, of_source]), **fork})
        problem(made, 403, "forbidden")
    assert (await http.get(url, headers=bearer())).status_code == 404
    whole = {"ids": [stream], "actions": ["read"]}
    assert (await http.put(url, headers={**bearer([own, whole]), **fork})).status_code == 201
    assert (await http.get(url, headers=bearer([own]))).json() == list(range(6))


async def test_writing_and_cancelling_take_permissions_of_their_own(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    url = gateway.stream(stream)

    async def tries(actions: list[str], *topics: str) -> list[int]:
        rule: dict[str, Any] = {"ids": [stream], "actions": actions}
        headers = {**bearer([{**rule, "topics": list(topics)} if topics else rule]), **JSON}
        return [
            (await http.post(f"{url}?topic=a", headers=headers, content="6")).status_code,
            (await http.post(f"{url}?topic=b", headers=headers, content="7")).status_code,
            (await http.post(url, headers=headers, content="8")).status_code,
            (await http.put(url, headers=headers)).status_code,
            (await http.delete(url, headers={**headers, "if-match": "never"})).status_code
            if "write" not in actions or topics
            else 0,
            (await http.post(f"{url}/cancel", headers=headers)).status_code
            if "cancel" not in actions
            else 0,
        ]

    assert await tries(["read"]) == [403] * 6
    assert await tries(["cancel"]) == [403] * 5 + [0]
    assert await tries(["write"], "a") == [204, 403, 403, 403, 403, 403]
    assert await tries(["write"]) == [204, 204, 204, 200, 0, 403]
    assert (await http.get(url, headers=bearer())).json() == [0, 1, 2, 3, 4, 5, 6, 6, 7, 8]
    cancel = bearer([{"ids": [stream], "actions": ["cancel"]}])
    assert (await http.post(f"{url}/cancel", headers=cancel)).status_code == 202
