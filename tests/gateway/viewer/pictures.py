"""Makes the pictures of docs/viewer.md anew: `python -m tests.gateway.viewer.pictures`."""

from __future__ import annotations

import asyncio
import io
import random
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.async_api import Browser, async_playwright, expect

from workflow_streams import connect
from workflow_streams.embedded import EmbeddedServer

from ...faults.network import Network
from ..http.serving import running_gateway
from .hosts import Hosts, running_hosts
from .looking import Looker, launch

FOLDER = Path(__file__).parents[3] / "docs" / "images"
NAMES = (
    "viewer-items.png",
    "viewer-rewind.png",
    "viewer-text.png",
    "viewer-gap.png",
    "viewer-phone.png",
)
DESK = {"width": 1120, "height": 640}
PHONE = {"width": 320, "height": 640}
# Enough for flat colours, at a fraction of the size.
COLOURS = 256

STREAMS = ["shop-orders", "answer-8f2c1d0a", "ticker"]
ALL_HEADS = """(ids) => [...document.querySelectorAll(".stream-link")]
    .filter((link) => ids.includes(link.querySelector(".stream-id").textContent))
    .every((link) => link.querySelector(".stream-head").textContent)"""

ANSWER = (
    "Paxos, Raft and Viewstamped Replication all keep one log on several machines. "
    "Paxos agrees on single values and leaves the log to you. Raft chooses a leader first and "
    "lets the log follow it, which is why people can explain it. Viewstamped Replication came "
    "before both, calls a term a view, and needs no disk to be correct. "
)


async def make(
    hosts: Hosts, browser: Browser, base: str, folder: Path, *, pause: float = 0
) -> None:
    """Bring streams into the states of the pictures, and take them.

    Args:
        hosts: Starts the streams.
        browser: To look with.
        base: The gateway's URL.
        folder: Where to put the pictures.
        pause: Between orders, on average, in seconds; for a livelier picture of the rate.
    """
    await _publish(hosts, pause)
    items = await _open(browser, base, "shop-orders", DESK, "light")
    await items.live()
    await _publish_orders(hosts, range(180, 196), pause)
    await items.head(196)
    await _take(items, folder / "viewer-items.png")

    rewind = await _open(browser, base, "answer-8f2c1d0a", DESK, "dark", **{"from": "start"})
    await rewind.ended()
    await rewind.at(".row.rewind").scroll_into_view_if_needed()
    await rewind.at(".row.item").nth(9).click()
    await expect(rewind.at("#details")).to_be_visible()
    await _take(rewind, folder / "viewer-rewind.png")

    text = await _open(browser, base, "answer-8f2c1d0a", DESK, "light", view="text")
    await text.ended()
    await _take(text, folder / "viewer-text.png")

    async with Network(base.removeprefix("http://")) as network:
        gap = await _open(browser, f"http://{network.address}", "ticker", DESK, "dark")
        await gap.live()
        await expect(gap.at(".stream-head").first).not_to_be_empty()
        network.cut()
        await _tick_on(hosts)
        network.restore()
        await gap.head(44)
        await gap.live()
        await _take(gap, folder / "viewer-gap.png")

    parts = []
    for workflow_id, scheme, view in (
        (None, "light", "items"),
        ("shop-orders", "light", "items"),
        ("answer-8f2c1d0a", "dark", "text"),
    ):
        phone = await _open(browser, base, workflow_id, PHONE, scheme, view=view)
        if workflow_id is None:
            await phone.until(ALL_HEADS, STREAMS)
        elif view == "text":
            await phone.ended()
        else:
            await phone.live()
        await phone.frame()
        parts.append(await phone.page.screenshot())
        await phone.context.close()
    _save(_side_by_side(parts), folder / "viewer-phone.png")


async def _publish(hosts: Hosts, pause: float) -> None:
    await hosts.host("shop-orders")
    await _publish_orders(hosts, range(180), pause)
    words = [f"{word} " for word in ANSWER.split()]
    writer = await hosts.writer("answer-8f2c1d0a", words[:9], words)
    for attempt in (1, 2):
        hosts.writers.may_end("answer-8f2c1d0a", attempt).set()
    await writer.result()
    await hosts.host("ticker")
    await hosts.numbers("ticker", 0, 20, "tick")


async def _tick_on(hosts: Hosts) -> None:
    """Drop what has not been seen, and roll over."""
    ticker = hosts.client.get_workflow_handle("ticker")
    first = (await ticker.describe()).run_id
    await hosts.numbers("ticker", 20, 40, "tick")
    await ticker.signal("truncate", 34)
    await ticker.signal("tell", "roll over")
    while (await ticker.describe()).run_id == first:
        await asyncio.sleep(0.05)
    await hosts.numbers("ticker", 40, 44, "tick")


async def _publish_orders(hosts: Hosts, numbers: range, pause: float) -> None:
    chance = random.Random(numbers.start)
    for n in numbers:
        topic = chance.choice(["orders", "payments", "payments", "inventory", "shipping.eu"])
        value: dict[str, Any] = {
            "order": f"o-{n:05d}",
            "amount": round(chance.uniform(3, 900), 2),
            "customer": {"id": chance.randrange(9999), "tier": chance.choice(["gold", None])},
            "ok": chance.random() < 0.9,
        }
        await hosts.publish("shop-orders", (topic, value))
        await asyncio.sleep(pause * chance.expovariate(1))


async def _open(
    browser: Browser,
    base: str,
    workflow_id: str | None,
    size: dict[str, int],
    scheme: str,
    **query: Any,
) -> Looker:
    options: dict[str, Any] = {"viewport": size, "color_scheme": scheme, "timezone_id": "UTC"}
    context = await browser.new_context(**options)
    looker = Looker(context, await context.new_page(), base)
    await looker.open(workflow_id, **query)
    return looker


async def _take(looker: Looker, path: Path) -> None:
    await looker.until(ALL_HEADS, STREAMS)
    await looker.frame()
    _save(Image.open(io.BytesIO(await looker.page.screenshot())), path)
    await looker.context.close()


def _side_by_side(parts: list[bytes]) -> Image.Image:
    images = [Image.open(io.BytesIO(part)) for part in parts]
    gap = 16
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    whole = Image.new("RGB", (width, images[0].height), "#8b919c")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width + gap
    return whole


def _save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


async def main(folder: Path) -> None:
    async with EmbeddedServer(port=0, ui=False) as server, async_playwright() as playwright:
        client = await connect(target_host=server.address, tls=False, api_key=None)
        with running_gateway(server.address) as gateway:
            async with running_hosts(client) as hosts:
                browser = await launch(playwright)
                await make(hosts, browser, gateway.url, folder, pause=0.15)
                await browser.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
