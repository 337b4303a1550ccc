"""Without a login, whoever comes by a proxy on this machine is not of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from workflow_streams.gateway import GatewaySettings, SecuritySettings, create_app
from workflow_streams.gateway.refusals import LocalOnlyError
from workflow_streams.gateway.security import Secret

from .asking import authority, request
from .gated import JSON, problem
from .issuing import SECRET, token
from .test_authorize import ACTIONS
from .wire import serving

Unique = Callable[[str], str]

# What proxies, load balancers and content networks add to what they pass on.
ADDED = {
    "forwarded": "for=192.0.2.7",
    "via": "1.1 proxy",
    "x-forwarded-for": "192.0.2.7",
    "x-forwarded-host": "streams.example.com",
    "x-forwarded-proto": "https",
    "x-forwarded-server": "host-7",
    "x-forwarded-anything": "host-8",
    "x-real-ip": "192.0.2.7",
    "x-client-ip": "192.0.2.7",
    "x-cluster-client-ip": "192.0.2.7",
    "x-original-host": "streams.example.com",
    "x-original-forwarded-for": "192.0.2.7",
    "x-envoy-external-address": "192.0.2.7",
    "true-client-ip": "192.0.2.7",
    "cf-connecting-ip": "192.0.2.7",
    "fastly-client-ip": "192.0.2.7",
    "cdn-loop": "cloudflare",
}


@pytest.mark.parametrize("name", ADDED)
async def test_a_request_that_was_passed_on_is_not_local(name: str) -> None:
    for value in (ADDED[name], "127.0.0.1", "localhost"):
        passed_on = request(headers=[(name, value)])
        for action in ACTIONS:
            with pytest.raises(LocalOnlyError, match="proxy") as caught:
                await authority().authorize(passed_on, action, "a")
            assert value not in str(caught.value)
            assert value not in caught.value.cause_for_log
    by_name = request(host="streams.local", headers=[(name, "x")])
    with pytest.raises(LocalOnlyError):
        await authority(allowed_hosts=("streams.local",)).authorize(by_name, "read", "a")


async def test_nginx_as_it_comes_adds_nothing_but_speaks_an_old_version() -> None:
    for ends in ({}, {"client": None, "server": ("/run/gateway.sock", None), "host": "localhost"}):
        old: dict[str, Any] = {"http_version": "1.0", **ends}
        with pytest.raises(LocalOnlyError, match="proxy"):
            await authority().authorize(request(**old), "read", "a")


@pytest.mark.parametrize("version", ["1.1", "2", "3"])
async def test_what_programs_of_this_machine_send_is_local(version: str) -> None:
    own = request(
        headers=[("user-agent", "x"), ("traceparent", "00-1-1-01"), ("x-request-id", "12345678")],
        http_version=version,
    )
    assert (await authority().authorize(own, "read", "a")).credential == "anonymous"


async def test_with_a_login_or_told_to_serve_everybody_proxies_may_pass_on() -> None:
    passed_on: dict[str, Any] = {"headers": list(ADDED.items()), "http_version": "1.0"}
    gate = authority(jwt_secret=Secret(SECRET))
    assert await gate.authorize(request(token=token(), **passed_on), "read", "a")
    assert await authority(allow_anonymous=True).authorize(request(**passed_on), "read", "a")


@asynccontextmanager
async def proxy(port: int, added: bytes) -> AsyncIterator[int]:
    """A reverse proxy that adds header fields to each request and changes nothing else."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, rest = await reader.readline(), await reader.readuntil(b"\r\n\r\n")
        body = await reader.read(8192) if line.startswith(b"PUT") else b""
        upstream, sending = await asyncio.open_connection("127.0.0.1", port)
        sending.write(line + added + rest + body)
        writer.write(await upstream.read())
        await writer.drain()
        for stream in (sending, writer):
            stream.close()
            await stream.wait_closed()

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    "added",
    [
        b"",
        b"X-Forwarded-For: 192.0.2.7\r\n",
        # The client adds one of its own, which the server takes for the word of a proxy.
        b"X-Forwarded-For: 127.0.0.1\r\n",
        b"Via: 1.1 front\r\nX-Real-IP: 127.0.0.1\r\n",
    ],
)
async def test_streams_do_not_leave_this_machine_by_a_proxy(
    client: Client, unique: Unique, added: bytes
) -> None:
    name = unique("proxied")
    app = create_app(client, GatewaySettings(security=SecuritySettings()))
    async with (
        serving(app, lifespan="on") as port,
        proxy(port, added) as front,
        httpx.AsyncClient(timeout=100, headers={"connection": "close"}) as http,
    ):
        path = f"/v1/stream/{name}"
        made = await http.put(f"http://127.0.0.1:{port}{path}", headers=JSON, content="[1]")
        assert made.status_code == 201
        for method, url in [("GET", path), ("GET", "/v1/streams"), ("GET", "/metrics")]:
            answer = await http.request(method, f"http://127.0.0.1:{front}{url}")
            if added:
                told = problem(answer, 403, "local-only")
                assert "proxy" in told["detail"] or "machines" in told["detail"]
            else:
                assert answer.status_code == 200  # there is nothing to know it by
        assert (await http.get(f"http://127.0.0.1:{front}/healthz")).status_code == 200
