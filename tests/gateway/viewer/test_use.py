"""Keyboard, colours, small screens, names for those who do not see the page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import pytest_asyncio
from playwright.async_api import expect

from .conftest import OpenLooker
from .hosts import Hosts
from .looking import Looker

pytestmark = pytest.mark.asyncio(loop_scope="package")

Unique = Callable[[str], str]

_NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, [role], dialog")]
    .filter((e) => !(e.ariaLabel || e.labels?.length || e.textContent.trim()
        || e.getAttribute("aria-labelledby") || e.title))
    .map((e) => e.outerHTML.slice(0, 120))"""

_WIDER = """() => [...document.querySelectorAll("body *")]
    .filter((e) => e.getClientRects().length && !e.closest(".topics > *, h1 > *, .unseen, .defs"))
    .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
    .map((e) => e.outerHTML.slice(0, 120))"""

_CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const over = ([r, g, b, a], ground) => {
        return [r, g, b].map((c, i) => (c * a + ground[i] * (255 - a)) / 255);
    };
    const ground = (element) => {
        if (element === null) return [255, 255, 255];
        const colour = rgba(getComputedStyle(element).backgroundColor);
        return colour[3] === 255 ? colour.slice(0, 3) : over(colour, ground(element.parentElement));
    };
    const light = (rgb) => {
        const linear = rgb.map((c) => c / 255).map((c) => {
            return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        });
        return linear[0] * 0.2126 + linear[1] * 0.7152 + linear[2] * 0.0722;
    };
    const poor = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || element.closest(".unseen, option")) continue;
        if (!element.checkVisibility({ opacityProperty: true })) continue;
        const back = ground(element);
        const colour = over(rgba(getComputedStyle(element).color), back);
        const [low, high] = [light(back), light(colour)].sort((a, b) => a - b);
        const ratio = (high + 0.05) / (low + 0.05);
        if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${element.outerHTML.slice(0, 100)}`);
    }
    return poor;
}"""


@pytest_asyncio.fixture(loop_scope="package")
async def varied(hosts: Hosts, unique: Unique) -> str:
    """The id of a stream with items of many topics, a rewind and an end."""
    stream = unique("varied-with-a-name-that-is-longer-than-a-phone-is-wide")
    hosts.writers.may_end(stream, 1).set()
    hosts.writers.may_end(stream, 2).set()
    handle = await hosts.writer(stream, ["a", "b"], ["c"])
    await handle.result()
    return stream


@pytest_asyncio.fixture(loop_scope="package")
async def many_topics(hosts: Hosts, unique: Unique) -> str:
    """The id of a running stream with more topics than fit beside each other."""
    stream = unique("topics")
    await hosts.host(stream)
    await hosts.publish(stream, *((f"topic.number.{n}", {"n": n}) for n in range(30)))
    return stream


async def test_keys_do_what_the_help_says(looker: Looker, hosts: Hosts, unique: Unique) -> None:
    stream = unique("keys")
    await hosts.host(stream)
    await hosts.numbers(stream, 0, 300)
    await looker.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await looker.open(stream)
    await looker.live()
    press = looker.page.keyboard.press
    chosen = looker.at(".row[aria-selected=true] .offset")
    await press("Home")
    await expect(chosen).to_have_text("0")
    await press("j")
    await press("ArrowDown")
    await press("k")
    await expect(chosen).to_have_text("1")
    active = await looker.at("#items").get_attribute("aria-activedescendant")
    assert active == await looker.at(".row[aria-selected=true]").get_attribute("id")
    await press("Enter")
    await expect(looker.at("#details-title")).to_have_text("Item 1")
    await press("ArrowDown")
    await expect(looker.at("#details-title")).to_have_text("Item 2")
    await press("c")
    await expect(looker.at("#toast")).to_have_text("The value is copied")
    assert await looker.page.evaluate("() => navigator.clipboard.readText()") == "2"
    await press("Escape")
    await expect(looker.at("#details")).to_be_hidden()
    await expect(looker.at("#items")).to_be_focused()
    await press("g")
    await looker.page.keyboard.type("200")
    await press("Enter")
    await expect(chosen).to_have_text("200")
    await press("p")
    await expect(looker.button("Go on")).to_be_visible()
    await press("p")
    await press("/")
    await looker.page.keyboard.type("29")
    await press("Escape")
    await expect(looker.at("#items")).to_be_focused()
    await press("t")
    await expect(looker.at("#text")).to_be_focused()
    await press("t")
    await expect(looker.at("#items")).to_be_focused()
    await press("?")
    help_dialog = looker.page.get_by_role("dialog", name="Keyboard")
    await expect(help_dialog).to_contain_text("Pause or go on")
    await help_dialog.get_by_label("Keys without Ctrl or Alt").uncheck()
    await press("Escape")
    await press("p")
    await expect(looker.button("Pause")).to_be_visible()
    await press("Escape")
    await expect(looker.at("#nothing")).to_be_visible()


async def test_markers_are_gone_to_and_rewinds_folded_by_key(looker: Looker, varied: str) -> None:
    await looker.open(varied)
    await looker.ended()
    press = looker.page.keyboard.press
    chosen = looker.at(".row[aria-selected=true] .marker-text")
    await press("[")
    await expect(chosen).to_contain_text("The stream has ended")
    await press("[")
    await expect(chosen).to_contain_text("Attempt 2 took over")
    await press("Enter")
    await expect(looker.at(".row.rewound")).to_have_count(0)
    await press("x")
    await expect(looker.at(".row.rewound")).to_have_count(2)
    await press("]")
    await expect(chosen).to_contain_text("The stream has ended")


async def test_colours_follow_the_system_until_they_are_chosen(
    new_looker: OpenLooker,
) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        looker = await new_looker(color_scheme=scheme)
        await looker.open()
        ground = "() => getComputedStyle(document.body).backgroundColor"
        grounds[scheme] = await looker.page.evaluate(ground)
        for chosen in ("light", "dark"):
            await looker.button("Colours: " + {"light": "system", "dark": "light"}[chosen]).click()
            assert await looker.page.evaluate(ground) == grounds.setdefault(
                chosen, await looker.page.evaluate(ground)
            )
        await looker.page.reload()
        assert await looker.page.evaluate(ground) == grounds["dark"]
    assert grounds["light"] != grounds["dark"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 768, 1280])
async def test_everything_is_readable_at_any_width(
    new_looker: OpenLooker, varied: str, many_topics: str, scheme: str, width: int
) -> None:
    looker = await new_looker(viewport={"width": width, "height": 640}, color_scheme=scheme)
    await looker.open()
    await expect(looker.at(".stream-link").first).to_be_visible()
    assert await looker.page.evaluate(_WIDER) == []
    assert await looker.page.evaluate(_CONTRAST) == []
    await looker.open(many_topics)
    await looker.live()
    assert await looker.page.evaluate(_WIDER) == []
    assert await looker.page.evaluate(_CONTRAST) == []
    await looker.open(varied)
    await looker.ended()
    assert await looker.page.evaluate(_WIDER) == []
    assert await looker.page.evaluate(_CONTRAST) == []
    await looker.at(".row.item").last.click()
    await expect(looker.at("#details-title")).to_be_in_viewport()
    assert await looker.page.evaluate(_WIDER) == []
    assert await looker.page.evaluate(_CONTRAST) == []
    await looker.page.keyboard.press("?")
    assert await looker.page.evaluate(_WIDER) == []


async def test_everything_that_can_be_used_has_a_name(looker: Looker, varied: str) -> None:
    await looker.open(varied)
    await looker.ended()
    await looker.at(".row.item").last.click()
    assert await looker.page.evaluate(_NAMELESS) == []


async def test_what_happens_is_said_to_screen_readers(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("said")
    await hosts.writer(stream, ["a"], ["b"])
    await looker.open(stream)
    said = looker.page.get_by_role("status").filter(has_text="Live")
    await expect(said).to_have_count(1)
    await looker.page.evaluate(
        """() => {
            window.said = [];
            const said = document.getElementById("said");
            new MutationObserver(() => window.said.push(said.textContent))
                .observe(said, { childList: true });
        }"""
    )
    hosts.writers.may_end(stream, 1).set()
    # What is said next takes its place.
    await looker.page.wait_for_function(
        "() => window.said.includes('Attempt 2 took over: 1 item taken back')"
    )
    hosts.writers.may_end(stream, 2).set()
    await looker.ended()
    assert "The stream has ended: completed" in await looker.page.evaluate("() => window.said")


async def test_nothing_moves_for_those_who_asked_for_that(
    new_looker: OpenLooker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("still")
    await hosts.host(stream)
    for wish, running in (("no-preference", 1), ("reduce", 0)):
        looker = await new_looker(reduced_motion=wish)
        await looker.open(stream)
        await looker.live()
        assert await looker.page.evaluate("() => document.getAnimations().length") == running
