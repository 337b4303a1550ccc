"""The list of streams: states, finding one, opening one that is not listed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.async_api import expect

from .hosts import Hosts
from .looking import Looker

pytestmark = pytest.mark.asyncio(loop_scope="package")

Unique = Callable[[str], str]


async def test_streams_are_listed_with_state_size_and_rate(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    running, closed = unique("listed"), unique("listed")
    await hosts.host(running)
    handle = await hosts.host(closed)
    await hosts.numbers(closed, 0, 3)
    await handle.signal("tell", "fail")
    await looker.open()
    await looker.page.get_by_role("searchbox", name="Find a stream").fill("listed-")
    entry = looker.page.get_by_role("link", name=closed)
    await expect(entry).to_contain_text("failed")
    await expect(entry).to_contain_text("3 items")
    live = looker.page.get_by_role("link", name=running)
    await expect(live).to_contain_text("running")
    await expect(live).to_contain_text("0 items")
    await hosts.numbers(running, 0, 50)
    await expect(live).to_contain_text("50 items")
    await expect(live.locator(".stream-rate")).to_contain_text("/s")
    await looker.page.get_by_role("radio", name="Ended").check()
    await expect(entry).to_be_visible()
    await expect(live).to_have_count(0)
    await looker.page.get_by_role("radio", name="Running").check()
    await expect(live).to_be_visible()
    await expect(entry).to_have_count(0)


async def test_a_new_stream_appears_by_itself(looker: Looker, hosts: Hosts, unique: Unique) -> None:
    stream = unique("appears")
    await looker.open()
    await expect(looker.at("#list-status")).to_contain_text("stream")
    await hosts.host(stream)
    await expect(looker.page.get_by_role("link", name=stream)).to_be_visible()


async def test_a_stream_is_found_by_its_id_and_opened_from_the_keyboard(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("found")
    await hosts.host(stream)
    await hosts.publish(stream, ("t", 1))
    await looker.open()
    await expect(looker.page.get_by_role("link", name=stream)).to_be_visible()
    await looker.page.keyboard.press("s")
    await looker.page.keyboard.type(stream)
    await expect(looker.at("#streams li")).to_have_count(1)
    await looker.page.keyboard.press("ArrowDown")
    await looker.page.keyboard.press("Enter")
    await expect(looker.at("#title-id")).to_have_text(stream)
    await looker.live()
    await expect(looker.page.get_by_role("link", name=stream)).to_have_attribute(
        "aria-current", "page"
    )
    await looker.page.go_back()
    await expect(looker.at("#nothing")).to_be_visible()


async def test_a_stream_that_is_not_listed_is_opened_by_its_id(
    looker: Looker, unique: Unique
) -> None:
    await looker.open()
    await looker.page.get_by_role("searchbox", name="Find a stream").fill(unique("elsewhere"))
    await looker.page.get_by_role("link", name="by its id").click()
    await expect(looker.at("#note")).to_have_text("There is no stream of this id.")
