"""Who may do what, with real gateways in processes of their own before a real Temporal."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent

from workflow_streams.gateway.headers import DATA_POLICY
from workflow_streams.testing.fixtures import StreamServer

from ..http.serving import GatewayProcess, running_gateway
from .issuing import DO_ALL, token

SECRET = secrets.token_hex(32)
URL_KEY = secrets.token_hex(32)
ENVIRON = {
    "WORKFLOW_STREAMS_JWT_SECRET": SECRET,
    "WORKFLOW_STREAMS_URL_SIGNING_KEY": URL_KEY,
    "LOG_LEVEL": "INFO",
}
JSON = {"content-type": "application/json"}

Bearer = dict[str, str]


@pytest.fixture(scope="module")
def gateway(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    with running_gateway(
        stream_server.address,
        environ=ENVIRON,
        security={"leeway_seconds": 0, "cors_origins": ["https://app.example"]},
        long_poll_seconds=5.0,
    ) as gateway:
        yield gateway


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=30) as client:
        yield client


def bearer(streams: list[dict[str, Any]] = DO_ALL, **more: Any) -> Bearer:
    return {"authorization": f"Bearer {token(SECRET, streams=streams, **more)}"}


def reader_of(workflow_id: str, *topics: str, **more: Any) -> Bearer:
    rule: dict[str, Any] = {"ids": [workflow_id], "actions": ["read"]}
    return bearer([{**rule, "topics": list(topics)} if topics else rule], **more)


@pytest.fixture
async def stream(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Callable[[str], str]
) -> str:
    """A stream that is there, with the items 0 to 5, by turns of topic a and b."""
    workflow_id = unique("guarded")
    made = await http.put(gateway.stream(workflow_id), headers={**bearer(), **JSON})
    assert made.status_code == 201, made.text
    await publish(http, gateway, workflow_id, range(6))
    return workflow_id


async def publish(
    http: httpx.AsyncClient, gateway: GatewayProcess, workflow_id: str, numbers: Any
) -> None:
    for n in numbers:
        url = f"{gateway.stream(workflow_id)}?topic={'ab'[n % 2]}"
        sent = await http.post(url, headers={**bearer(), **JSON}, content=str(n))
        assert sent.status_code == 204, sent.text


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = answer.json()
    assert told["type"] == f"urn:workflow-streams:{kind}"
    assert told["request_id"] == answer.headers["x-request-id"]
    return told


@asynccontextmanager
async def following(
    http: httpx.AsyncClient, url: str, headers: Bearer | None = None
) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
    async with http.stream("GET", url, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield _told(EventSource(answer))


async def _told(source: EventSource) -> AsyncIterator[ServerSentEvent]:
    """The events that a browser would tell: those with data."""
    async for event in source.aiter_sse():
        if event.data:
            yield event


async def until_closing(events: AsyncIterator[ServerSentEvent]) -> tuple[list[int], dict[str, Any]]:
    """Return the items that come until a control event tells why the connection closes."""
    items: list[int] = []
    async for event in events:
        if event.event == "data":
            items += json.loads(event.data)
        elif "closing" in (told := json.loads(event.data)):
            rest = [later async for later in events]
            assert rest == []
            return items, told
    raise AssertionError(f"closed without a word after {items}")


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
    other = reader_of("other-*")
    for workflow_id in (
        stream,
        "not-" + stream,
        "other-*/../" + stream,
        "other-1/%2e%2e/" + stream,
    ):
        url = gateway.stream(workflow_id.replace("..", "%2e%2e"))
        answer = await http.get(url, headers=other)
        assert answer.status_code in (400, 403), answer.text
        assert "x" not in answer.headers.get("stream-next-offset", "")
    problem(await http.get(gateway.stream(stream), headers=other), 403, "forbidden")
    problem(await http.get(gateway.stream("other-1"), headers=other), 404, "stream-not-found")
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
        http, f"{url}?live=sse&offset=-1", reader_of(stream, "a", exp=_in(4))
    ) as events:
        await asyncio.sleep(0.3)  # so that most of it comes live
        await publish(http, gateway, stream, range(6, 12))
        items, told = await until_closing(events)
    assert items == [0, 2, 4, 6, 8, 10]
    assert told["closing"] == "expired"
    polled = await waiting
    assert polled.status_code == 200
    assert set(polled.json()) <= {6, 8, 10}


def _in(seconds: float) -> int:
    """A time for `exp`, which has no fractions: at least so long from now."""
    return int(time.time() + seconds) + 1


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
        expires = _in(0.5)
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
    expires = _in(0.5)
    url = f"{gateway.stream(stream)}?offset=now&live=long-poll"
    answer = await http.get(url, headers=reader_of(stream, exp=expires))
    assert answer.status_code == 204
    assert expires - 0.1 <= time.time()
    assert answer.headers["stream-next-offset"] == f"{6:020d}"


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


async def sign(
    gateway: GatewayProcess, http: httpx.AsyncClient, headers: Bearer, **wanted: Any
) -> httpx.Response:
    return await http.post(f"{gateway.url}/v1/sign", headers=headers, json=wanted)


async def test_a_signed_url_is_followed_without_a_header_until_it_expires(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    answer = await sign(
        gateway, http, reader_of(stream, "a"), workflow_id=stream, seconds=3, live="sse"
    )
    assert answer.headers["cache-control"] == "no-store"
    signed = answer.json()
    url = gateway.url + signed["url"]
    async with following(http, url) as events:
        await publish(http, gateway, stream, range(6, 8))
        items, told = await until_closing(events)
    assert items == [0, 2, 4, 6]
    assert told["closing"] == "expired"
    assert time.time() >= signed["expires_at"] - 0.1
    problem(await http.get(url), 401, "expired-credentials")
    # Renewed, it goes on where it was.
    place = told["streamNextOffset"]
    again = await sign(gateway, http, reader_of(stream), workflow_id=stream, offset=place)
    url = gateway.url + again.json()["url"]
    assert (await http.get(url)).json() == []
    await publish(http, gateway, stream, [8])
    assert (await http.get(url)).json() == [8]


async def test_a_signed_url_cannot_be_turned_to_anything_else(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    answer = await sign(gateway, http, reader_of(stream, "a"), workflow_id=stream, topics=["a"])
    url = gateway.url + answer.json()["url"]
    assert (await http.get(url)).json() == [0, 2, 4]
    later = url.replace("offset=-1", f"offset={2:020d}")
    assert (await http.get(later)).json() == [2, 4]
    for changed in (f"{url}&topic=b", url.replace("topic=a", "topic=b")):
        problem(await http.get(changed), 403, "forbidden")
    assert (await http.get(url.replace("topic=a&", ""))).json() == [0, 2, 4]
    problem(await http.get(url.replace(stream, stream + "x")), 403, "forbidden")
    problem(await http.get(url[:-1] + ("A" if url[-1] != "A" else "B")), 401, "invalid-credentials")
    problem(await http.post(url, headers=JSON, content="1"), 403, "forbidden")
    problem(await http.post(url.replace("?", "/cancel?")), 403, "forbidden")
    problem(await http.delete(url), 403, "forbidden")
    query = url.partition("?")[2]
    for path in ("/v1/streams", "/metrics"):
        problem(await http.get(f"{gateway.url}{path}?{query}"), 403, "forbidden")
    again = await http.post(f"{gateway.url}/v1/sign?{query}", json={"workflow_id": stream})
    problem(again, 403, "forbidden")
    problem(await http.get(url, headers=bearer()), 400, "ambiguous-credentials")


async def test_one_signs_what_one_may_read_and_no_more(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    only_a = reader_of(stream, "a", exp=_in(60))
    for wanted in ({"workflow_id": "other"}, {"workflow_id": stream, "topics": ["b"]}):
        problem(await sign(gateway, http, only_a, **wanted), 403, "forbidden")
    writer = bearer([{"ids": [stream], "actions": ["write", "cancel"]}])
    problem(await sign(gateway, http, writer, workflow_id=stream), 403, "forbidden")
    problem(await sign(gateway, http, only_a, workflow_id="a/../b"), 400, "invalid-workflow-id")
    signed = (await sign(gateway, http, only_a, workflow_id=stream, seconds=1e9)).json()
    assert signed["expires_at"] <= _in(60)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"workflow_id": 7}', b'{"workflow_id": "a", "x": 1}',
     b'{"workflow_id": "a", "topics": "a"}', b'{"workflow_id": "a", "topics": [1]}',
     b'{"workflow_id": "a", "seconds": "1"}', b'{"workflow_id": "a", "seconds": 0}',
     b'{"workflow_id": "a", "seconds": true}', b'{"workflow_id": "a", "seconds": NaN}',
     b'{"workflow_id": "a", "seconds": Infinity}', b'{"workflow_id": "a", "live": "ws"}',
     b'{"workflow_id": "a", "offset": 7}', b'{"workflow_id": "a", "offset": "7;x"}',
     b"\xff", b"[" * 60_000],
)  # fmt: skip
async def test_a_malformed_wish_to_sign_is_refused(
    gateway: GatewayProcess, http: httpx.AsyncClient, body: bytes
) -> None:
    answer = await http.post(f"{gateway.url}/v1/sign", headers=bearer(), content=body)
    problem(answer, 400, "invalid-request")
    large = await http.post(f"{gateway.url}/v1/sign", headers=bearer(), content=b"x" * 70_000)
    problem(large, 413, "body-too-large")


async def test_no_token_stands_in_the_gateways_log(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    headers = reader_of(stream)
    signed = (await sign(gateway, http, headers, workflow_id=stream)).json()
    await http.get(gateway.url + signed["url"], headers={"x-request-id": "the-last-of-all"})
    bad = {"authorization": "Bearer " + token("x" * 32)}
    problem(await http.get(gateway.stream(stream), headers=bad), 401, "invalid-credentials")
    while "the-last-of-all" not in gateway.log or "Signature" not in gateway.log:
        await asyncio.sleep(0.02)
    access = httpx.URL(signed["url"]).params["access"]
    for secret in (access, headers["authorization"], bad["authorization"], SECRET, URL_KEY):
        for part in secret.removeprefix("Bearer ").split("."):
            assert part not in gateway.log
    assert "query=offset=-1&access=***" in gateway.log
    assert f"path=/v1/stream/{stream}" in gateway.log


async def test_what_a_stream_holds_cannot_run_as_a_page(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Callable[[str], str]
) -> None:
    url = gateway.stream(unique("page"))
    headers = {**bearer(), "content-type": "text/html"}
    assert (await http.put(url, headers=headers, content="<script>1</script>")).status_code == 201
    answer = await http.get(url, headers=bearer())
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["content-security-policy"] == DATA_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_listed_pages_may_ask_with_a_token_and_others_not(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    url = gateway.stream(stream)
    preflight = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }
    for origin, allowed in [("https://app.example", "https://app.example"), ("https://x", None)]:
        asked = await http.options(url, headers={**preflight, "origin": origin})
        assert asked.status_code == 204
        assert asked.headers.get("access-control-allow-origin") == allowed
        answer = await http.get(url, headers={**bearer(), "origin": origin})
        assert answer.headers.get("access-control-allow-origin") == allowed
        denied = await http.get(url, headers={"origin": origin})
        assert denied.headers.get("access-control-allow-origin") == allowed
    foreign = {**bearer(), **JSON, "origin": "https://x"}
    problem(await http.post(url, headers=foreign, content="6"), 403, "cross-origin")
    assert (await http.get(url, headers=bearer())).json() == list(range(6))


async def test_metrics_tell_of_viewers_items_and_refusals_without_naming_any(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    async def samples() -> dict[str, float]:
        headers = bearer([{"actions": ["metrics"]}])
        text = (await http.get(f"{gateway.url}/metrics", headers=headers)).text
        assert stream not in text
        assert "ann" not in text
        lines = [line for line in text.splitlines() if line[0] != "#"]
        return {name: float(value) for name, _, value in (ln.rpartition(" ") for ln in lines)}

    problem(await http.get(f"{gateway.url}/metrics", headers=reader_of("*")), 403, "forbidden")
    before = await samples()
    async with following(http, f"{gateway.stream(stream)}?live=sse&offset=-1", bearer()) as events:
        async for event in events:
            if event.event == "data":
                break
        during = await samples()
        assert during['workflow_streams_viewers{mode="sse"}'] == 1
        assert during['workflow_streams_viewer_lag_items{mode="sse",of="max"}'] == 0
        assert during["workflow_streams_readers"] >= 1
        items = 'workflow_streams_items_sent_total{mode="sse"}'
        assert during[items] - before.get(items, 0) == 6
        assert during["workflow_streams_http_connections"] == 2
    while (await samples())['workflow_streams_viewers{mode="sse"}'] != 0:
        await asyncio.sleep(0.02)
    after = await samples()
    left = 'workflow_streams_viewers_left_total{mode="sse",reason="client"}'
    assert after[left] - before.get(left, 0) == 1
    signals = 'workflow_streams_temporal_rpc_seconds_count{call="signal",code="OK"}'
    assert after[signals] >= 6
    assert after['workflow_streams_appends_total{verdict="accepted"}'] >= 6
    assert after['workflow_streams_requests_refused_total{reason="forbidden"}'] >= 1


async def test_one_subject_has_its_live_connections_and_no_more(stream_server: StreamServer,
    unique: Callable[[str], str]) -> None:  # fmt: skip
    with running_gateway(
        stream_server.address, environ=ENVIRON, limits={"max_connections_per_client": 3}
    ) as gateway:
        async with asyncio.timeout(60), _from("127.0.0.2") as one, _from("127.0.0.3") as other:
            url = gateway.stream(unique("limited"))
            assert (await one.put(url, headers={**bearer(), **JSON})).status_code == 201
            async with (
                following(one, f"{url}?live=sse&offset=-1", bearer()) as first,
                following(one, f"{url}?live=sse&offset=-1", bearer()) as second,
                following(other, f"{url}?live=sse&offset=-1", bearer()) as third,
            ):
                for events in (first, second, third):
                    assert (await anext(events)).event == "control"
                refused = await other.get(f"{url}?live=sse&offset=-1", headers=bearer())
                problem(refused, 429, "too-many-connections")
                assert refused.headers["retry-after"] == "5"
                polled = await other.get(f"{url}?offset=now&live=long-poll", headers=bearer())
                problem(polled, 429, "too-many-connections")
                # Somebody else from the same address may.
                async with following(
                    other, f"{url}?live=sse&offset=-1", bearer(sub="bob")
                ) as fourth:
                    assert (await anext(fourth)).event == "control"
            async with following(other, f"{url}?live=sse&offset=-1", bearer()) as again:
                assert (await anext(again)).event == "control"


def _from(address: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=30, transport=httpx.AsyncHTTPTransport(local_address=address))


async def test_without_login_pages_of_others_neither_read_nor_write(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Callable[[str], str]
) -> None:
    with running_gateway(stream_server.address) as gateway:
        url = gateway.stream(unique("local"))
        assert (await http.put(url, headers=JSON, content="[0]")).status_code == 201
        # A name that resolves to this machine, given by whoever made the page.
        rebound = {"host": f"evil.example:{gateway.port}", "origin": "http://evil.example"}
        for answer in (
            await http.get(url, headers=rebound),
            await http.get(f"{gateway.url}/v1/streams", headers=rebound),
            await http.get(f"{gateway.url}/metrics", headers=rebound),
        ):
            problem(answer, 403, "local-only")
        foreign = {"origin": "https://evil.example", "content-type": "text/plain"}
        problem(await http.post(url, headers=foreign, content="1"), 403, "cross-origin")
        problem(await http.post(f"{url}/cancel", headers=foreign), 403, "cross-origin")
        problem(await http.delete(url, headers=foreign), 403, "cross-origin")
        same = {"origin": gateway.url, **JSON}
        assert (await http.post(url, headers=same, content="1")).status_code == 204
        assert (await http.get(url)).json() == [0, 1]


SERVE = """
import asyncio, sys
from workflow_streams import connect
from workflow_streams.gateway import GatewaySettings, SecuritySettings, create_app, serve
settings = GatewaySettings(security=SecuritySettings.from_env())
asyncio.run(serve(create_app(connect, settings), settings, host=sys.argv[1], port=0))
"""


def test_without_login_it_refuses_to_start_where_others_could_reach_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVE, "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "InsecureListenError: Refusing to listen on '0.0.0.0' without login" in last
    assert "allow_anonymous" in last
