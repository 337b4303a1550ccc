"""What a real gateway does beside its answers: log, count, limit, and keep pages apart."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest

from workflow_streams.gateway.layers.headers import DATA_POLICY, page_policy
from workflow_streams.testing.fixtures import StreamServer

from ..http.serving import GatewayProcess, running_gateway
from .gated import ENVIRON, JSON, SECRET, URL_KEY, bearer, following, problem, reader_of
from .issuing import token


async def test_no_token_stands_in_the_gateways_log(
    gateway: GatewayProcess, http: httpx.AsyncClient, stream: str
) -> None:
    headers = reader_of(stream)
    wanted = {"workflow_id": stream}
    answer = await http.post(f"{gateway.url}/v1/sign", headers=headers, json=wanted)
    signed = answer.json()
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


async def test_the_gateways_own_page_may_run_its_files_and_nothing_else(
    gateway: GatewayProcess, http: httpx.AsyncClient
) -> None:
    for path in ("/", "/viewer/main.js"):
        answer = await http.get(gateway.url + path)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == page_policy()
    for path in ("/viewer/nothing.js", "/viewer/..%2f__init__.py", "/openapi.json"):
        answer = await http.get(gateway.url + path)
        assert answer.headers["content-security-policy"] == DATA_POLICY


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
        async with asyncio.timeout(100), _from("127.0.0.2") as one, _from("127.0.0.3") as other:
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
    return httpx.AsyncClient(timeout=100, transport=httpx.AsyncHTTPTransport(local_address=address))


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
from workflow_streams.gateway import GatewaySettings, create_app, serve
asyncio.run(serve(create_app(connect, GatewaySettings.from_env()), host=sys.argv[1], port=0))
"""


@pytest.mark.processes
def test_without_login_it_refuses_to_start_where_others_could_reach_it() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SERVE, "0.0.0.0"],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "InsecureListenError: Refusing to listen on '0.0.0.0' without login" in last
    assert "allow_anonymous" in last
