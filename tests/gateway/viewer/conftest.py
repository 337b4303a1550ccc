"""One browser, one gateway and one worker for the viewer's tests, and a page for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from workflow_streams.testing.fixtures import StreamServer

from ..http.serving import GatewayProcess, running_gateway
from .hosts import Hosts, running_hosts
from .looking import Looker, launch

OpenLooker = Callable[..., Awaitable[Looker]]


@pytest.fixture(scope="package")
def gateway(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    with running_gateway(stream_server.address) as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await launch(playwright)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def hosts(stream_server: StreamServer) -> AsyncIterator[Hosts]:
    async with running_hosts(await stream_server.connect()) as hosts:
        yield hosts


@pytest_asyncio.fixture(loop_scope="package")
async def new_looker(browser: Browser, gateway: GatewayProcess) -> AsyncIterator[OpenLooker]:
    """Opens pages; afterwards, none of them may have had an error."""
    lookers: list[Looker] = []

    async def opened(base: str = gateway.url, **options: object) -> Looker:
        settings = {"viewport": {"width": 1100, "height": 700}, **options}
        context = await browser.new_context(**settings)
        lookers.append(Looker(context, await context.new_page(), base))
        return lookers[-1]

    yield opened
    for looker in lookers:
        await looker.context.close()
    assert [fault for looker in lookers for fault in looker.faults] == []


@pytest_asyncio.fixture(loop_scope="package")
async def looker(new_looker: OpenLooker) -> Looker:
    return await new_looker()
