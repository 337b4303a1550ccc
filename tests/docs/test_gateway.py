"""The pages about the gateway: their HTML, Python and settings, run as they stand there."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from playwright.async_api import async_playwright, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient
from workflow_streams.gateway import GatewaySettings, SecuritySettings, create_app
from workflow_streams.gateway.security import Secret
from workflow_streams.testing.fixtures import StreamServer

from ..gateway.http.events import EventSource, data_of
from ..gateway.http.hosts import hosting
from ..gateway.security.wire import serving
from ..gateway.viewer.looking import eventually, launch
from .markdown import ROOT, Page

Unique = Callable[[str], str]

REMEMBER = """window.EventSource = class extends EventSource {
    constructor(...args) { super(...args); window.source = this; }
};"""


@asynccontextmanager
async def gateway_at(client: Client, settings: GatewaySettings) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of a gateway in this process."""
    async with (
        serving(create_app(client, settings), lifespan="on") as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=100) as http,
    ):
        yield http


@pytest.mark.parametrize("page", ["README.md", "docs/gateway.md"])
async def test_the_web_page_shows_items_as_they_come_up_to_the_end(
    client: Client, unique: Unique, page: str
) -> None:
    [block] = [block for block in Page(ROOT / page).blocks if block.language == "html"]
    name = unique("news")
    assert block.text.count("/order-1?") == 1
    html = f"<!doctype html>{block.text.replace('/order-1?', f'/{name}?')}"

    async def news(_: Request) -> HTMLResponse:
        return HTMLResponse(html)

    gateway = create_app(client, GatewaySettings(host_worker=False))
    app = Starlette(
        routes=[Route("/news", news), Mount("/", gateway)],
        lifespan=lambda _: gateway.router.lifespan_context(gateway),
    )
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        async with serving(app, lifespan="on") as port, hosting(client, "Talks", name) as talks:
            looker = await browser.new_page()
            faults: list[str] = []
            looker.on("pageerror", lambda error: faults.append(str(error)))
            await looker.add_init_script(REMEMBER)
            async with WorkflowStreamClient.create(client, name) as stream:
                await stream.topic("status").send("received")
                await looker.goto(f"http://127.0.0.1:{port}/news")
                await expect(looker.locator("#news")).to_have_text('status: "received"')
                await stream.topic("progress").send({"done": 0.5})
                await expect(looker.locator("#news")).to_contain_text("0.5")
                await stream.topic("status").send("<b>complete</b>")
            await talks.signal("end", "complete")
            await looker.wait_for_function("source.readyState === EventSource.CLOSED")
            assert await looker.locator("#news").text_content() == (
                'status: "received"\nprogress: {"done":0.5}\nstatus: "<b>complete</b>"\n'
            )
            assert faults == []
        await browser.close()


async def test_mounted_as_the_page_shows_it_serves_streams_below_its_prefix(
    stream_server: StreamServer,
    unique: Unique,
    load: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", stream_server.address)
    app, name = load("docs/gateway.md").app, unique("mounted")
    async with (
        serving(app, lifespan="on") as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=100) as http,
    ):

        async def ready() -> bool:
            return (await http.get("/streams/readyz")).status_code == 200

        await eventually(ready)
        made = await http.put(f"/streams/v1/stream/{name}", json=[1, 2])
        assert made.status_code == 201
        assert (await http.get(made.headers["location"])).json() == [1, 2]
        assert (await http.delete(f"/streams/v1/stream/{name}")).status_code == 204
        assert (await http.get(f"/v1/stream/{name}")).status_code == 404


async def test_the_signed_url_and_the_check_allow_what_the_page_says(
    client: Client,
    unique: Unique,
    load: Callable[[str], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("url-signing-key", "session-key"):
        (tmp_path / name).write_text(secrets.token_hex(32))
    monkeypatch.chdir(tmp_path)
    page = load("docs/gateway-security.md")
    await the_url_reads_one_topic(client, page.url, Secret.from_file("url-signing-key"))
    await the_check_knows_users_by_their_cookie(client, page, unique)


async def the_url_reads_one_topic(client: Client, url: str, key: Secret) -> None:
    security = SecuritySettings(jwt_secret=Secret(secrets.token_hex(32)), url_signing_keys=(key,))
    settings = GatewaySettings(security=security, host_worker=False)
    async with hosting(client, "Talks", "order-1"), gateway_at(client, settings) as http:
        async with WorkflowStreamClient.create(client, "order-1") as stream:
            for topic in ("status", "secret", "status"):
                await stream.topic(topic).send(f"of {topic}")
        async with asyncio.timeout(100), http.stream("GET", url) as response:
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/event-stream"
            items = data_of(await EventSource(response).until("upToDate"))
        assert [(item["offset"], item["data"]) for item in items] == [
            (0, "of status"),
            (2, "of status"),
        ]
        assert (await http.get(f"{url}&topic=secret")).status_code == 403
        assert (await http.get(url.replace("order-1", "order-2"))).status_code == 403
        assert (await http.get(url.partition("?")[0])).status_code == 401


def cookie_of(user: str, log_in: Callable[[str, Response], None]) -> str:
    response = Response()
    log_in(user, response)
    cookie = response.headers["set-cookie"]
    assert {"HttpOnly", "Secure", "SameSite=lax"} <= set(cookie.split("; "))
    return cookie.partition(";")[0]


def forged(user: str, cookie: str) -> list[str]:
    """Cookies that somebody else than the application could make for a user."""
    session = {"sub": user, "exp": int(time.time()) + 600}
    head, content, signature = cookie.removeprefix("session=").split(".")
    theirs = jwt.encode(session, secrets.token_hex(32), "HS256")
    unsigned = jwt.encode(session, None, "none")
    return [
        "",
        f"session={user}",
        f"user={user}",
        f"session={theirs}",
        f"session={unsigned}",
        f"session={head}.{theirs.split('.')[1]}.{signature}",
        f"session={head}.{content}.",
    ]


async def the_check_knows_users_by_their_cookie(client: Client, page: Any, unique: Unique) -> None:
    ann, bob = unique("ann"), unique("bob")
    own, other = (f"/v1/stream/{user}/stream" for user in (ann, bob))
    cookies = {user: cookie_of(user, page.log_in) for user in (ann, bob)}
    async with gateway_at(client, page.settings) as http:
        for cookie in forged(ann, cookies[bob]):
            nobody = await http.put(own, json=[1], headers={"cookie": cookie})
            assert nobody.status_code == 401
            assert nobody.json()["detail"] == "Log in first."
        for user, url in ((ann, own), (bob, other)):
            made = await http.put(url, json=[user], headers={"cookie": cookies[user]})
            assert made.status_code == 201
        http.headers["cookie"] = cookies[ann]
        answer = await http.get(own)
        assert answer.json() == [ann]
        assert "private" in answer.headers["cache-control"]
        assert {"Authorization", "Cookie"} <= set(answer.headers["vary"].split(", "))
        for method in ("GET", "POST", "DELETE"):
            assert (await http.request(method, other)).status_code == 403

        async def only_its_own_are_listed() -> bool:
            listed = (await http.get("/v1/streams")).json()["streams"]
            ids = [entry["id"] for entry in listed]
            assert ids in ([], [f"{ann}/stream"])
            return bool(ids)

        await eventually(only_its_own_are_listed)
