"""Web pages in a real browser: signed URLs for EventSource, and origins that may or may not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Page, async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from workflow_streams.testing.fixtures import StreamServer

from ..http.serving import GatewayProcess, running_gateway
from ..viewer.looking import launch
from .gated import ENVIRON, JSON, bearer, publish
from .wire import serving

DOCS = Path(__file__).parents[3] / "docs" / "gateway-security.md"


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield await browser.new_page()
        await browser.close()


async def test_the_page_of_the_docs_goes_on_past_each_expiry_with_nothing_lost_or_double(
    stream_server: StreamServer, http: httpx.AsyncClient, page: Page, unique: Callable[[str], str]
) -> None:
    [script] = re.findall(r"```js\n(.*?)```", DOCS.read_text(), re.DOTALL)
    with running_gateway(
        stream_server.address,
        environ=ENVIRON,
        security={"leeway_seconds": 0, "signed_url_seconds": 2},
    ) as gateway:
        stream = unique("followed")
        made = await http.put(gateway.stream(stream), headers={**bearer(), **JSON})
        assert made.status_code == 201
        await page.goto(f"{gateway.url}/")
        token = bearer()["authorization"].removeprefix("Bearer ")
        signed = 0

        def count(request: object) -> None:
            nonlocal signed
            signed += str(getattr(request, "url", "")).endswith("/v1/sign")

        page.on("request", count)
        await page.evaluate(
            f"""() => {{
                {script}
                window.items = [];
                follow({json.dumps(stream)}, () => {json.dumps(token)},
                       (items) => window.items.push(...items));
            }}"""
        )
        for n in range(40):
            await publish(http, gateway, stream, [n])
            await asyncio.sleep(0.1)
        while len(items := await page.evaluate("() => window.items")) < 40:
            await asyncio.sleep(0.05)
        assert items == list(range(40))
        assert signed > 1


async def blank(request: Request) -> HTMLResponse:
    return HTMLResponse("<!doctype html><title>somebody's page</title>")


SOMEBODYS = Starlette(routes=[Route("/", blank)])
ASK = """async ([url, token]) => {
    const headers = token ? {authorization: `Bearer ${token}`} : {};
    try { return await (await fetch(url, {headers})).json() } catch (error) { return error.name }
}"""
WRITE = """async (url) => {
    const init = {method: "POST", mode: "no-cors", body: "666",
                  headers: {"content-type": "text/plain"}};
    try { return (await fetch(url, init)).type } catch (error) { return error.name }
}"""
LISTEN = """(url) => new Promise((done) => {
    const source = new EventSource(url);
    const end = (told) => { source.close(); done(told) };
    source.addEventListener("data", (event) => end(JSON.parse(event.data)));
    source.addEventListener("error", () => end("error"));
})"""


async def refused(gateway: GatewayProcess) -> None:
    """Wait until a write of a foreign page has come, and was not taken."""
    async with asyncio.timeout(100):
        while not re.search(r"method=POST .* status=403 refused=cross-origin", gateway.log):
            await asyncio.sleep(0.02)


async def test_pages_of_listed_origins_read_and_others_neither_read_nor_write(
    stream_server: StreamServer, http: httpx.AsyncClient, page: Page, unique: Callable[[str], str]
) -> None:
    async with serving(SOMEBODYS) as port:
        listed, other = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        with running_gateway(
            stream_server.address, environ=ENVIRON, security={"cors_origins": [listed]}
        ) as gateway:
            url = gateway.stream(unique("crossed"))
            type_ = {"content-type": "text/plain"}
            made = await http.put(url, headers={**bearer(), **type_}, content="1")
            assert made.status_code == 201
            name = url.rpartition("/")[2]
            wanted = {"workflow_id": name, "live": "sse"}
            answer = await http.post(f"{gateway.url}/v1/sign", headers=bearer(), json=wanted)
            signed = gateway.url + answer.json()["url"]
            token = bearer()["authorization"].removeprefix("Bearer ")

            await page.goto(f"{listed}/")
            assert await page.evaluate(ASK, [url, token]) == 1
            assert (await page.evaluate(ASK, [url, ""]))["status"] == 401
            assert await page.evaluate(LISTEN, signed) == 1

            await page.goto(f"{other}/")
            assert await page.evaluate(ASK, [url, token]) == "TypeError"
            assert await page.evaluate(ASK, [url, ""]) == "TypeError"
            assert await page.evaluate(LISTEN, signed) == "error"
            # The browser sends this write without asking; even with the permission in its URL.
            await page.evaluate(WRITE, signed)
            await refused(gateway)
            assert (await http.get(url, headers=bearer())).text == "1"


async def test_a_page_of_another_origin_cannot_write_where_there_is_no_login(
    stream_server: StreamServer, http: httpx.AsyncClient, page: Page, unique: Callable[[str], str]
) -> None:
    async with serving(SOMEBODYS) as port:
        with running_gateway(stream_server.address, environ={"LOG_LEVEL": "INFO"}) as gateway:
            url = gateway.stream(unique("crossed"))
            made = await http.put(url, headers={"content-type": "text/plain"}, content="1")
            assert made.status_code == 201
            await page.goto(f"http://127.0.0.1:{port}/")
            await page.evaluate(WRITE, url)
            await refused(gateway)
            assert await page.evaluate(ASK, [url, ""]) == "TypeError"
            assert (await http.get(url)).text == "1"
            # The gateway's own page is no stranger.
            await page.goto(f"{gateway.url}/")
            assert await page.evaluate(WRITE, url) == "basic"
            assert (await http.get(url)).text == "1666"
