"""What the page shows of a stream is the stream: each item once, in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.async_api import expect

from ...faults.network import Network
from ..http.serving import GatewayProcess
from .conftest import OpenLooker
from .hosts import Hosts
from .looking import Looker

pytestmark = pytest.mark.asyncio(loop_scope="package")

Unique = Callable[[str], str]


async def test_items_appear_as_they_are_published(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("shown")
    await hosts.host(stream)
    await hosts.publish(stream, ("status", "received"), ("progress", {"done": 0.5, "of": None}))
    await looker.open(stream)
    await looker.live()
    await hosts.publish(stream, ("status", [1, True]))
    await looker.head(3)
    assert [(row.offset, row.topic, row.text) for row in await looker.rows()] == [
        (0, "status", '"received"'),
        (1, "progress", '{"done": 0.5, "of": null}'),
        (2, "status", "[1, true]"),
    ]
    await expect(looker.at("#figure-lag")).to_have_text("0")
    await expect(looker.at("#outcome")).to_have_text("running")


async def test_nothing_is_lost_or_double_when_connections_are_cut(
    new_looker: OpenLooker, gateway: GatewayProcess, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("cut")
    await hosts.host(stream)
    async with Network(f"127.0.0.1:{gateway.port}") as network:
        looker = await new_looker(f"http://{network.address}")
        await looker.open(stream)
        await looker.live()
        for part in range(4):
            network.cut_after(500)
            await hosts.numbers(stream, part * 300, (part + 1) * 300)
            network.cut()
            await expect(looker.at("#connection-text")).to_contain_text("Reconnecting")
            network.restore()
            await looker.live()
        await looker.head(1200)
        assert [(row.offset, row.text) for row in await looker.rows()] == [
            (n, str(n)) for n in range(1200)
        ]


async def test_a_closed_stream_is_shown_whole_with_its_outcome(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("over")
    handle = await hosts.host(stream)
    await hosts.numbers(stream, 0, 40)
    await handle.signal("tell", "fail")
    await looker.open(stream, **{"from": "start"})
    await looker.ended()
    rows = await looker.rows()
    assert [(row.kind, row.offset) for row in rows] == [
        *(("item", n) for n in range(40)),
        ("end", 40),
    ]
    assert rows[-1].text == "The stream has ended: failed"
    await expect(looker.at("#outcome")).to_have_text("failed")


async def test_pausing_keeps_what_comes_and_counts_it(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("paused")
    await hosts.host(stream)
    await hosts.numbers(stream, 0, 5)
    await looker.open(stream)
    await looker.live()
    await looker.button("Pause").click()
    await expect(looker.at("#connection-text")).to_have_text("Paused")
    await hosts.numbers(stream, 5, 12)
    await expect(looker.at("#connection-text")).to_have_text("Paused, 7 waiting")
    assert [row.offset for row in await looker.rows()] == list(range(5))
    await expect(looker.at("#figure-lag")).to_have_text("7")
    await looker.button("Go on").click()
    await looker.live()
    assert [row.offset for row in await looker.rows()] == list(range(12))


async def test_what_waits_is_bounded_and_read_again_afterwards(
    new_looker: OpenLooker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("paused-long")
    looker = await new_looker(viewport={"width": 1100, "height": 4000})
    await hosts.host(stream)
    await looker.open(stream)
    await looker.live()
    await looker.button("Pause").click()
    await hosts.numbers(stream, 0, 6_000)
    await expect(looker.at("#connection-text")).to_have_text("Paused, 6,000 waiting")
    await looker.button("Go on").click()
    await looker.live()
    await looker.head(6_000)
    await looker.button("Start").click()
    await expect(looker.at("#items")).to_contain_text("0")
    assert await looker.offsets_down_to(5_999) == list(range(6_000))


async def test_topics_choose_what_is_read(looker: Looker, hosts: Hosts, unique: Unique) -> None:
    stream = unique("topics")
    await hosts.host(stream)
    await hosts.publish(stream, *((f"t{n % 3}", n) for n in range(30)))
    await looker.open(stream)
    await looker.live()
    await looker.button("t1").click()
    await looker.live()
    await hosts.publish(stream, ("t0", 30), ("t1", 31))
    await looker.head(32)
    rows = await looker.rows()
    assert [row.offset for row in rows] == [*range(1, 30, 3), 31]
    assert {row.topic for row in rows} == {"t1"}
    await looker.page.reload()
    await looker.live()
    assert [row.offset for row in await looker.rows()] == [*range(1, 30, 3), 31]
    await looker.button("t1").click()
    await looker.live()
    assert [row.offset for row in await looker.rows()] == list(range(32))


async def test_a_topic_that_is_rare_is_found_however_far_back(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("rare")
    await hosts.host(stream)
    await hosts.publish(stream, ("rare", "found"))
    await hosts.numbers(stream, 1, 6000)
    await looker.open(stream, topic="rare")
    await expect(looker.at(".row.item")).to_have_count(1)
    assert [(row.offset, row.text) for row in await looker.rows()] == [(0, '"found"')]


async def test_the_search_shows_the_items_that_match(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("searched")
    await hosts.host(stream)
    await hosts.publish(stream, *(("log", {"line": f"order {n} Shipped"}) for n in range(20)))
    await looker.open(stream)
    await looker.live()
    search = looker.page.get_by_role("searchbox", name="Search the items that are loaded")
    await search.fill("order 7 shipped")
    await expect(looker.at(".row.item")).to_have_count(1)
    await search.fill("no such thing")
    await expect(looker.at("#note")).to_have_text("None of the items that are loaded matches.")
    await search.fill("")
    await expect(looker.at(".row.item")).to_have_count(20)


async def test_an_unknown_stream_is_said_to_be_none(looker: Looker, unique: Unique) -> None:
    await looker.open(unique("nobody"))
    await expect(looker.at("#note")).to_have_text("There is no stream of this id.")
