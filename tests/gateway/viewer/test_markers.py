"""What happens to a stream is told where it happens: gaps, rewinds, rollovers, the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.async_api import expect
from temporalio.client import WorkflowHandle

from ...faults.network import Network
from ..http.hosts import said
from ..http.serving import GatewayProcess
from .conftest import OpenLooker
from .hosts import Hosts
from .looking import Looker, eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

Unique = Callable[[str], str]


async def rolled_over(handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether another run than the first is running."""
    return (await handle.describe()).run_id != handle.first_execution_run_id


async def test_a_truncated_stream_says_where_it_begins(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("truncated")
    handle = await hosts.host(stream)
    await hosts.numbers(stream, 0, 10)
    await handle.signal("truncate", 6)
    await said(handle, 10)
    await hosts.numbers(stream, 10, 11)
    await looker.open(stream)
    await looker.head(11)
    await expect(looker.at("#figure-base")).to_have_text("6")
    assert [(row.kind, row.offset) for row in await looker.rows()] == [
        ("base", 6),
        *(("item", n) for n in range(6, 11)),
    ]


async def test_items_dropped_while_the_connection_was_cut_are_a_gap(
    new_looker: OpenLooker, gateway: GatewayProcess, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("gap")
    handle = await hosts.host(stream)
    await hosts.numbers(stream, 0, 5)
    async with Network(f"127.0.0.1:{gateway.port}") as network:
        looker = await new_looker(f"http://{network.address}")
        await looker.open(stream)
        await looker.live()
        network.cut()
        await hosts.numbers(stream, 5, 10)
        await handle.signal("truncate", 8)
        await said(handle, 10)
        network.restore()
        await looker.head(10)
        await looker.live()
        rows = await looker.rows()
        await expect(looker.at("#figure-base")).to_have_text("8")
    assert [(row.kind, row.offset) for row in rows] == [
        *(("item", n) for n in range(5)),
        ("gap", 5),
        *(("item", n) for n in range(8, 10)),
    ]
    assert rows[5].text == "Offsets 5 to 7 (3 items) lost: the stream dropped them"


async def test_a_rewind_marks_what_it_has_taken_back_and_can_fold_it(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("rewound")
    await hosts.writer(stream, ["wrong ", "way "], ["right ", "way ", "round"])
    await looker.open(stream)
    await looker.head(2)
    assert [row.rewound for row in await looker.rows()] == [False, False]
    hosts.writers.may_end(stream, 1).set()
    await looker.head(5)
    rows = await looker.rows()
    assert [(row.kind, row.offset, row.rewound) for row in rows] == [
        ("item", 0, True),
        ("item", 1, True),
        ("rewind", 2, False),
        ("item", 2, False),
        ("item", 3, False),
        ("item", 4, False),
    ]
    assert rows[2].text == "Attempt 2 took over: 2 items taken back"
    line = await looker.at(".row.rewound .value").first.evaluate(
        "(value) => getComputedStyle(value).textDecorationLine"
    )
    assert line == "line-through"
    await looker.at(".row.rewind").click()
    await expect(looker.at(".row.rewound")).to_have_count(0)
    assert [row.kind for row in await looker.rows()] == ["rewind", "item", "item", "item"]
    await looker.at("#items").press("Enter")
    await expect(looker.at(".row.rewound")).to_have_count(2)
    hosts.writers.may_end(stream, 2).set()
    await looker.ended()
    # One who comes later sees the same.
    await looker.page.reload()
    await looker.ended()
    assert (await looker.rows())[:6] == rows


async def test_a_rollover_is_marked_where_the_new_run_begins(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("rolled")
    handle = await hosts.host(stream)
    await hosts.numbers(stream, 0, 3)
    await looker.open(stream)
    await looker.live()
    await handle.signal("tell", "roll over")
    await eventually(partial(rolled_over, handle))
    await hosts.numbers(stream, 3, 5)
    await looker.head(5)
    await expect(looker.at(".row.run")).to_have_count(1)
    expected = [
        *(("item", n) for n in range(3)),
        ("run", 3),
        *(("item", n) for n in range(3, 5)),
    ]
    assert [(row.kind, row.offset) for row in await looker.rows()] == expected
    await looker.page.reload()
    await looker.live()
    assert [(row.kind, row.offset) for row in await looker.rows()] == expected


async def test_the_end_comes_with_its_outcome(looker: Looker, hosts: Hosts, unique: Unique) -> None:
    stream = unique("ends")
    handle = await hosts.host(stream)
    await hosts.numbers(stream, 0, 1)
    await looker.open(stream)
    await looker.live()
    await handle.signal("tell", "close")
    await looker.ended()
    await expect(looker.at("#outcome")).to_have_text("completed")
    assert (await looker.rows())[-1].text == "The stream has ended: completed"


async def test_cancelling_asks_first(looker: Looker, hosts: Hosts, unique: Unique) -> None:
    stream = unique("cancelled")
    await hosts.host(stream)
    await looker.open(stream)
    await looker.live()
    await looker.button("Cancel the workflow").click()
    await looker.button("Let it run").click()
    await hosts.numbers(stream, 0, 1)
    await looker.head(1)
    await looker.button("Cancel the workflow").click()
    await looker.button("Cancel it").click()
    await looker.ended()
    await expect(looker.at("#outcome")).to_have_text("canceled")


async def test_the_text_takes_back_what_a_failed_attempt_wrote(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("text")
    await hosts.writer(stream, ["Once ", "upon a "], ["Es war ", "einmal\n", "ein <b>König</b>"])
    await looker.open(stream, view="text")
    pieces = looker.at("#text .text-part")
    await expect(pieces).to_have_text(["Once upon a "])
    hosts.writers.may_end(stream, 1).set()
    await expect(looker.at("#text .text-marker")).to_have_text(
        ["Attempt 2 took over: 2 items taken back"]
    )
    await looker.head(5)
    await expect(pieces).to_have_count(1)
    assert await pieces.all_inner_texts() == ["Es war einmal\nein <b>König</b>"]
    hosts.writers.may_end(stream, 2).set()
    await looker.ended()
    assert await pieces.all_inner_texts() == ["Es war einmal\nein <b>König</b>"]


async def test_the_text_is_of_the_field_that_is_chosen(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("field")
    await hosts.host(stream)
    values = [{"id": f"{n};", "choices": [{"delta": {"content": f"word{n} "}}]} for n in range(3)]
    await hosts.publish(stream, *(("chunk", value) for value in values))
    await looker.open(stream, view="text")
    part = looker.at("#text .text-part")
    await expect(part).to_have_text("word0 word1 word2 ")
    await looker.at("#field").select_option("id")
    await expect(part).to_have_text("0;1;2;")
    await hosts.publish(stream, ("chunk", {"id": "3;"}))
    await expect(part).to_have_text("0;1;2;3;")
