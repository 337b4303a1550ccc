"""The browser's own ``EventSource``, in Chromium: cut off again and again, it misses nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from playwright.async_api import async_playwright
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient
from workflow_streams.testing.fixtures import StreamServer

from ..http.hosts import hosting
from ..http.serving import running_gateway
from ..viewer.looking import launch

ITEMS = 120

FOLLOW = """(url) => {
    window.got = [];
    window.opened = 0;
    window.over = new Promise((resolve) => {
        const stream = new EventSource(url);
        stream.onopen = () => { window.opened += 1; };
        stream.addEventListener("data", (event) => {
            for (const item of JSON.parse(event.data)) window.got.push([item.offset, item.data]);
        });
        stream.addEventListener("control", (event) => {
            const told = JSON.parse(event.data);
            if (told.streamClosed) { stream.close(); resolve(told.outcome); }
        });
    });
}"""


async def test_event_source_is_cut_off_and_resumes_with_nothing_lost_or_double(
    client: Client, stream_server: StreamServer, unique: Callable[[str], str]
) -> None:
    name = unique("source")
    # Connections that last half a second are cut while items come.
    with running_gateway(stream_server.address, sse_seconds=0.5) as gateway:
        async with async_playwright() as playwright, hosting(client, "Talks", name):
            browser = await launch(playwright)
            context = await browser.new_context()
            page = await context.new_page()
            await page.goto(gateway.url)
            await page.evaluate(FOLLOW, f"{gateway.stream(name)}?offset=-1&live=sse")
            async with WorkflowStreamClient.create(client, name) as stream:
                for number in range(ITEMS):
                    if number == ITEMS // 2:
                        await context.set_offline(True)
                    if number == ITEMS * 3 // 4:
                        await context.set_offline(False)
                    await stream.topic("n", type=int).send(number)
                    await asyncio.sleep(0.02)
            await client.get_workflow_handle(name).signal("end", "complete")
            async with asyncio.timeout(100):
                assert await page.evaluate("window.over") == "completed"
            got = json.loads(await page.evaluate("JSON.stringify(window.got)"))
            opened = await page.evaluate("window.opened")
            await browser.close()
    assert got == [[number, number] for number in range(ITEMS)]
    assert opened > 2
