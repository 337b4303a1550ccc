"""A stream of any length: moving in it, and what the page holds of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import pytest_asyncio
from playwright.async_api import expect

from .conftest import OpenLooker
from .hosts import Hosts
from .looking import Looker

pytestmark = pytest.mark.asyncio(loop_scope="package")

LENGTH = 7_000
# The window, and what is in view besides.
MOST_ROWS = 6_300


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def long_stream(hosts: Hosts) -> str:
    await hosts.host("viewer-long")
    await hosts.numbers("viewer-long", 0, LENGTH)
    return "viewer-long"


async def rows_held(looker: Looker) -> int:
    """How many rows the page holds, by the height of the list."""
    held: int = await looker.page.evaluate(
        """() => Math.round(document.getElementById("items-canvas").offsetHeight / parseFloat(
            getComputedStyle(document.getElementById("items")).getPropertyValue("--row-height")))"""
    )
    return held


async def shown(looker: Looker, offset: int) -> None:
    """Wait until an item is in view."""
    await looker.until(
        """(offset) => {
            const { top, bottom } = document.getElementById("items").getBoundingClientRect();
            return [...document.querySelectorAll("#items .item")].some((row) => {
                const box = row.getBoundingClientRect();
                return row.querySelector(".offset").textContent === offset
                    && box.top >= top - 1 && box.bottom <= bottom + 1;
            });
        }""",
        str(offset),
    )


async def test_the_latest_is_in_view_and_stays_there(
    looker: Looker, hosts: Hosts, unique: Callable[[str], str]
) -> None:
    stream = unique("tail")
    await hosts.host(stream)
    await hosts.numbers(stream, 0, 600)
    await looker.open(stream)
    await shown(looker, 599)
    await hosts.numbers(stream, 600, 700)
    await shown(looker, 699)


async def test_one_who_has_scrolled_back_stays_where_one_is(
    looker: Looker, hosts: Hosts, unique: Callable[[str], str]
) -> None:
    stream = unique("stays")
    await hosts.host(stream)
    await hosts.numbers(stream, 0, 300)
    await looker.open(stream)
    await looker.live()
    await looker.at("#items").evaluate("(items) => (items.scrollTop = 2500)")
    await looker.frame()
    before = await looker.in_page()
    await hosts.numbers(stream, 300, 400)
    await looker.head(400)
    await looker.frame()
    assert await looker.in_page() == before
    await looker.button("Latest").first.click()
    await shown(looker, 399)


async def test_an_offset_the_start_and_the_latest_can_be_gone_to(
    looker: Looker, long_stream: str
) -> None:
    await looker.open(long_stream)
    await shown(looker, LENGTH - 1)
    offset = looker.page.get_by_role("textbox", name="Go to an offset")
    await offset.fill("4777")
    await offset.press("Enter")
    await shown(looker, 4777)
    await expect(looker.at(".row[aria-selected=true] .offset")).to_have_text("4777")
    await looker.button("Start").click()
    await shown(looker, 0)
    await looker.at("#to-latest").click()
    await shown(looker, LENGTH - 1)
    await looker.live()
    await looker.page.goto("about:blank")
    await looker.open(long_stream, **{"from": 5_345})
    await shown(looker, 5_345)


async def test_one_who_went_to_the_start_stays_there_as_items_come(
    looker: Looker, hosts: Hosts, unique: Callable[[str], str]
) -> None:
    stream = unique("start")
    await hosts.host(stream)
    await hosts.numbers(stream, 0, 5)
    await looker.open(stream, **{"from": "start"})
    await looker.live()
    await hosts.numbers(stream, 5, 200)
    await looker.head(200)
    await looker.frame()
    await shown(looker, 0)
    await looker.button("Latest").first.click()
    await shown(looker, 199)


async def test_what_is_held_is_bounded_and_fetched_again_on_scrolling(
    new_looker: OpenLooker, long_stream: str
) -> None:
    looker = await new_looker(viewport={"width": 900, "height": 4000})
    await looker.open(long_stream, **{"from": "start"})
    await shown(looker, 0)
    await expect(looker.at("#connection")).to_have_attribute("data-kind", "hold")
    assert await rows_held(looker) < MOST_ROWS
    assert len(await looker.in_page()) < 250
    assert await looker.offsets_down_to(LENGTH - 1) == list(range(LENGTH))
    assert await rows_held(looker) < MOST_ROWS
    await looker.live()
    # And all the way back.
    seen: list[int] = []
    while not seen or seen[-1] > 0:
        in_page = reversed(await looker.offsets_in_page())
        seen += [n for n in in_page if not seen or n < seen[-1]]
        await looker.at("#items").evaluate(
            "(items) => items.scrollBy(0, -0.9 * items.clientHeight)"
        )
        await looker.frame()
    assert seen == list(range(LENGTH - 1, -1, -1))
    assert await rows_held(looker) < MOST_ROWS


async def test_ten_thousand_items_at_once_leave_the_page_quick(
    looker: Looker, hosts: Hosts, unique: Callable[[str], str]
) -> None:
    stream = unique("burst")
    await hosts.host(stream)
    await looker.open(stream)
    await looker.live()
    await looker.page.evaluate(
        """() => {
            window.longest = 0;
            let last = performance.now();
            const tick = () => {
                const now = performance.now();
                window.longest = Math.max(window.longest, now - last);
                last = now;
                window.ticking = setTimeout(tick, 0);
            };
            tick();
        }"""
    )
    await hosts.numbers(stream, 0, 10_000)
    await shown(looker, 9_999)
    # Seconds would mean that each item is drawn, or all are drawn again for each.
    assert await looker.page.evaluate("() => window.longest") < 2000
    assert len(await looker.in_page()) < 100
