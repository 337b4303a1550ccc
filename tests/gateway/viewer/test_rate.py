"""The picture of a stream's rate shows each item once, and says in words what it shows."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.async_api import expect

from .hosts import Hosts
from .looking import Looker, eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

ITEMS = 40
SECONDS = 59  # the last minute, without the second that is not over yet

_PICTURE = """(svg) => [
    svg.getAttribute("aria-label"),
    svg.querySelector(".spark-line").getAttribute("d"),
    svg.querySelector(".spark-area").getAttribute("d"),
    svg.nextSibling.textContent,
]"""


def counts_in(line: str, most: int) -> list[int]:
    """Return the items of each second, by the height of the line; its highest point is `most`."""
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", line)]
    floor, top = max(heights), min(heights)
    return [round((floor - y) / ((floor - top) or 1) * most) for y in heights]


async def test_a_burst_shows_in_the_picture_of_the_rate_and_in_its_label(
    looker: Looker, hosts: Hosts, unique: Callable[[str], str]
) -> None:
    stream = unique("burst")
    await hosts.host(stream)
    await looker.open(stream)
    await looker.live()
    picture = looker.page.get_by_role("img", name=re.compile("^Rate over the last minute"))
    await expect(picture).to_have_accessible_name("Rate over the last minute: now 0/s, at most 0/s")
    assert not any(counts_in((await picture.evaluate(_PICTURE))[1], 1))

    await hosts.numbers(stream, 0, ITEMS)
    await looker.head(ITEMS)
    label, line, area, figure = "", "", "", ""

    async def all_are_in_the_picture() -> bool:
        nonlocal label, line, area, figure
        label, line, area, figure = await picture.evaluate(_PICTURE)
        most = re.fullmatch(r"Rate over the last minute: now (.+), at most (\d+)/s", label)
        assert most is not None, label
        assert most[1] == figure
        return sum(counts_in(line, int(most[2]))) == ITEMS

    # The second of the burst is drawn when it is over.
    await eventually(all_are_in_the_picture)
    most = int(label.rpartition(" ")[2].removesuffix("/s"))
    counts = counts_in(line, most)
    assert len(counts) == SECONDS
    assert max(counts) == most > 0
    assert area.startswith(line)
    assert re.fullmatch(r"[\d.]+/s", figure)
