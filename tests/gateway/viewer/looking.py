"""What a person does with the viewer's page, and what one sees on it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from playwright.async_api import (
    Browser,
    BrowserContext,
    Error,
    Locator,
    Page,
    Playwright,
    expect,
)

from ..browser import is_absent, launch_options

SECONDS = 100
expect.set_options(timeout=SECONDS * 1000)

_ROWS = """() => [...document.querySelectorAll("#items .row")].map((row) => ({
    at: Number(row.getAttribute("aria-posinset")),
    kind: row.classList.contains("item") ? "item" : row.classList.item(2) ?? row.classList.item(1),
    offset: Number(row.querySelector(".offset").textContent),
    topic: row.querySelector(".topic")?.textContent ?? "",
    text: (row.querySelector(".value") ?? row.querySelector(".marker-text")).textContent,
    rewound: row.classList.contains("rewound"),
}))"""

_OFFSETS = """() => [...document.querySelectorAll("#items .item .offset")].map(
    (offset) => Number(offset.textContent)
)"""

_SCROLL = """(down) => {
    const items = document.getElementById("items");
    const before = items.scrollTop;
    items.scrollTop = down === null ? 0 : before + down * items.clientHeight;
    return items.scrollTop !== before;
}"""


@dataclass(frozen=True)
class Row:
    """A row of the list: an item, or a marker of a kind."""

    kind: str
    offset: int
    topic: str
    text: str
    rewound: bool


async def launch(playwright: Playwright) -> Browser:
    """Launch Chromium; whatever asks for it is skipped where there is none."""
    try:
        return await playwright.chromium.launch(**launch_options())
    except Error as error:
        if is_absent(error):
            pytest.skip("there is no Chromium here")
        raise


class Looker:
    """Somebody with the page open. `faults` are errors that the page has had."""

    def __init__(self, context: BrowserContext, page: Page, base: str) -> None:
        self.context = context
        self.page = page
        self.base = base
        self.faults: list[str] = []
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))
        page.on("console", lambda message: self._heard(message.type, message.text))

    def _heard(self, kind: str, text: str) -> None:
        # That a request was refused or a connection cut is what some tests are about.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.faults.append(text)

    async def open(self, workflow_id: str | None = None, **query: Any) -> None:
        """Open the page, at a stream if there is one; `topic` may be a list."""
        fragment = "#/"
        if workflow_id is not None:
            fragment = f"#/stream/{quote(workflow_id, safe='')}"
            if query:
                fragment += "?" + urlencode(query, doseq=True)
        await self.page.goto(f"{self.base}/{fragment}")

    def at(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def live(self) -> None:
        """Wait until all that there is has come, and more would."""
        await expect(self.at("#connection-text")).to_have_text("Live")

    async def ended(self) -> None:
        """Wait until all that there will ever be has come."""
        await expect(self.at("#connection-text")).to_have_text("At the end")

    async def head(self, count: int) -> None:
        """Wait until the page has heard of so many items, and has got all that it lacked."""
        await expect(self.at("#figure-head")).to_have_text(f"{count:,}")
        await expect(self.at("#figure-lag")).to_have_text("0")
        await self.frame()

    async def in_page(self) -> list[dict[str, Any]]:
        """The rows that are in the page now, by their place in the list."""
        rows: list[dict[str, Any]] = await self.page.evaluate(_ROWS)
        return sorted(rows, key=lambda row: row["at"])

    async def rows(self) -> list[Row]:
        """All rows of the list, found by scrolling through it from its top."""
        await self.page.evaluate(_SCROLL, None)
        await self.frame()
        found: dict[int, Row] = {}
        while True:
            for row in await self.in_page():
                at = row.pop("at")
                found[at] = Row(**row)
            if not await self.page.evaluate(_SCROLL, 1):
                break
            await self.frame()
        assert sorted(found) == list(range(1, len(found) + 1))
        return [found[at] for at in sorted(found)]

    async def offsets_in_page(self) -> list[int]:
        """The offsets of the items that are in the page now, ascending."""
        offsets: list[int] = await self.page.evaluate(_OFFSETS)
        return sorted(offsets)

    async def offsets_down_to(self, end: int) -> list[int]:
        """The offsets of the items from the one on top to ``end``, found by scrolling down."""
        offsets: list[int] = []
        while not offsets or offsets[-1] < end:
            offsets += [n for n in await self.offsets_in_page() if not offsets or n > offsets[-1]]
            await self.page.evaluate(_SCROLL, 0.9)
            await self.frame()
        return offsets

    async def frame(self) -> None:
        """Let the page draw what has changed."""
        await self.page.evaluate(
            "() => new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))"
        )

    async def until(self, condition: str, argument: Any = None) -> Any:
        """Wait until a function of the page returns something true; return that."""
        found = await self.page.wait_for_function(
            condition, arg=argument, timeout=SECONDS * 1000, polling=50
        )
        return await found.json_value()

    async def in_module(self, name: str, function: str, argument: Any = None) -> Any:
        """Call a function with one of the page's modules and an argument."""
        return await self.page.evaluate(
            f"async ([url, argument]) => ({function})(await import(url), argument)",
            [f"{self.base}/viewer/{name}.js", argument],
        )


async def eventually(seen: Any) -> None:
    """Wait until an async function returns something true."""
    async with asyncio.timeout(SECONDS):
        while not await seen():
            await asyncio.sleep(0.05)
