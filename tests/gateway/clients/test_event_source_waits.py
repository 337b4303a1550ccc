"""Chromium's ``EventSource`` outlasts what passes, and stops at the end of the stream.

The pages here do no more than the one in the README, or less: they do not look at control events.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, async_playwright
from temporalio.client import Client

from workflow_streams.embedded import EmbeddedServer
from workflow_streams.testing.fixtures import StreamServer

from ..http.hosts import ended, hosting, said
from ..http.serving import GatewayProcess, running_gateway
from ..viewer.looking import launch

Unique = Callable[[str], str]

FOLLOW = """(url) => {
    window.got = [];
    window.problems = [];
    const source = window.source = new EventSource(url);
    source.addEventListener("data", ({ data }) => {
        for (const item of JSON.parse(data)) window.got.push(item.data ?? item);
    });
    source.addEventListener("control", ({ data }) => {
        const { problem } = JSON.parse(data);
        if (problem) window.problems.push(problem.status);
    });
}"""


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=100) as client:
        yield client


@asynccontextmanager
async def following(gateway: GatewayProcess, url: str) -> AsyncIterator[tuple[Page, list[int]]]:
    """A page that follows a stream, and the statuses of the answers that it has had for it."""
    statuses: list[int] = []
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        # The page's policy allows no evaluation, by which Playwright waits.
        page = await browser.new_page(bypass_csp=True)
        page.set_default_timeout(100_000)
        await page.goto(gateway.url)
        page.on("response", lambda r: statuses.append(r.status) if r.url == url else None)
        await page.evaluate(FOLLOW, url)
        try:
            yield page, statuses
        finally:
            await browser.close()


async def problems(page: Page) -> list[int]:
    """Wait until the page has been told of a problem, and return all of them."""
    await page.wait_for_function("window.problems.length > 0")
    told: list[int] = await page.evaluate("window.problems")
    return told


async def until_closed(page: Page) -> list[Any]:
    """Wait until the page's ``EventSource`` has given up for good; return what it has got."""
    await page.wait_for_function("source.readyState === EventSource.CLOSED")
    got: list[Any] = await page.evaluate("window.got")
    return got


async def test_a_page_that_comes_before_its_workflow_gets_all_of_it_and_stops(
    client: Client, stream_server: StreamServer, unique: Unique
) -> None:
    name = unique("early")
    with running_gateway(stream_server.address) as gateway:
        url = f"{gateway.stream(name)}?offset=now&live=sse"
        async with following(gateway, url) as (page, statuses):
            assert set(await problems(page)) == {404}
            async with hosting(client, "Talks", name) as talks:
                await talks.signal("count", args=[0, 3])
                await said(talks, 3)
                await page.wait_for_function("window.got.length === 3")
                await talks.signal("count", args=[3, 5])
                await said(talks, 5)
                await talks.signal("end", "complete")
                await ended(talks)
            assert await until_closed(page) == [0, 1, 2, 3, 4]
            waited = len(await problems(page))
            # One connection for each problem, one for the items, and the one that was the last.
            assert statuses == [200] * (waited + 1) + [204]
            assert gateway.end() == ""


@pytest.mark.processes
async def test_a_page_outlasts_an_outage_of_temporal(
    http: httpx.AsyncClient, tmp_path: Path
) -> None:
    async with EmbeddedServer(db_filename=tmp_path / "streams.db") as server:
        with running_gateway(server.address, temporal_seconds=1.0) as gateway:
            url = gateway.stream("through")
            assert (await http.put(url, json=["kept"])).status_code == 201
            await server.kill()
            async with following(gateway, f"{url}?offset=-1&live=sse") as (page, statuses):
                assert set(await problems(page)) == {503}
                await server.start()
                closing = {"headers": {"stream-closed": "true"}, "json": ["last"]}
                while (await http.post(url, **closing)).status_code != 204:  # type: ignore[arg-type]
                    await asyncio.sleep(0.1)
                assert await until_closed(page) == ["kept", "last"]
                assert set(statuses[:-1]) == {200}
                assert statuses[-1] == 204


async def test_a_page_that_asks_too_often_comes_back(
    http: httpx.AsyncClient, stream_server: StreamServer, unique: Unique
) -> None:
    limits = {"max_requests_per_second": 0.5, "max_request_burst": 60}
    with running_gateway(stream_server.address, limits=limits) as gateway:
        url = gateway.stream(unique("stream"))
        closed = {"stream-closed": "true"}
        assert (await http.put(url, json=[1], headers=closed)).status_code == 201
        asked = f"{url}?offset=-1&live=sse"
        async with following(gateway, f"{gateway.url}/readyz") as (page, _):
            while (await http.head(url)).status_code != 429:
                pass
            statuses: list[int] = []
            page.on("response", lambda r: statuses.append(r.status) if r.url == asked else None)
            await page.evaluate(FOLLOW, asked)
            assert set(await problems(page)) == {429}
            assert await until_closed(page) == [1]
            assert statuses[-1] == 204
