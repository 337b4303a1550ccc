"""The page's modules without a page: event streams, logs, addresses, values."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from .looking import Looker

pytestmark = pytest.mark.asyncio(loop_scope="package")

EVENTS = (
    "\ufeffretry: 500\n\n: a comment\r\n\r\nid: 01\nevent: data\ndata:[1,\ndata: 2]\n\n"
    "data\n\nid:02\r\ndata:  spaced\r\rid: bad\0id\nevent:control\rdata: {}\r\n\r\n"
    "unknown: field\nevent: lost\n\ndata: end of a stream that is cut"
)
PARSED = [
    {"event": "data", "data": "[1,\n2]", "id": "01"},
    {"event": "message", "data": "", "id": "01"},
    {"event": "message", "data": " spaced", "id": "02"},
    {"event": "control", "data": "{}", "id": "02"},
]


async def test_an_event_stream_is_read_however_it_is_cut(looker: Looker) -> None:
    await looker.open()
    chance = random.Random(4)
    cuttings = [[EVENTS], list(EVENTS), *(cut(EVENTS, chance) for _ in range(200))]
    parsed = await looker.in_module(
        "sse",
        """({ SseParser }, cuttings) => cuttings.map((pieces) => {
            const parser = new SseParser();
            return pieces.flatMap((piece) => parser.feed(piece));
        })""",
        cuttings,
    )
    assert all(events == PARSED for events in parsed)


def cut(text: str, chance: random.Random) -> list[str]:
    at = sorted(chance.sample(range(len(text)), chance.randrange(1, 20)))
    return [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]


def items(*offsets: int) -> dict[str, Any]:
    values = [
        {"offset": n, "topic": "t", "time": None, "value": n, "encoding": "", "size": 1}
        for n in offsets
    ]
    return {"kind": "items", "items": values, "next": offsets[-1] + 1}


def rewind(reason: str, next_offset: int, *ranges: tuple[int, int], attempt: int = 0) -> Any:
    return {
        "kind": "rewind",
        "reason": reason,
        "ranges": ranges,
        "next": next_offset,
        "attempt": attempt,
        "key": json.dumps([reason, next_offset, attempt, ranges]),
    }


_TAKE = """({ Log }, [rowsUrl, steps]) => import(rowsUrl).then(({ Rows }) => {
    const log = new Log(new Rows());
    for (const [name, ...rest] of steps) log[name](...rest);
    const rows = log.rows.list.map((row) => {
        const [mark, offset] = [row.rewound ? "-" : "", row.offset];
        return row.kind === "item" ? `${mark}${offset}` : `${row.kind} ${offset}`;
    });
    return [rows.join(" "), log.start, log.end];
})"""


@pytest.mark.parametrize(
    ("steps", "rows", "start", "end"),
    [
        pytest.param(
            [["take", [items(0, 1, 2)]], ["take", [items(1, 2, 3)]]], "0 1 2 3", 0, 4, id="doubles"
        ),
        pytest.param(
            [
                ["take", [items(0, 1), rewind("attempt", 2, (0, 2), attempt=2), items(2)]],
                ["take", [rewind("attempt", 2, (0, 2), attempt=2), items(3)]],
            ],
            "-0 -1 rewind 2 2 3",
            0,
            4,
            id="a rewind that is told again",
        ),
        pytest.param(
            [
                ["begin", 2],
                ["take", [items(2, 3), rewind("attempt", 4, (0, 2), (3, 4)), items(4)]],
                ["takeEarlier", [items(0, 1, 2)], 0],
            ],
            "-0 -1 2 -3 rewind 4 4",
            0,
            5,
            id="what is read later of what was taken back",
        ),
        pytest.param(
            [["take", [items(0, 1, 2, 3), rewind("retry", 1, (1, 4)), items(1, 2)]]],
            "0 -1 -2 -3 rewind 1 1 2",
            0,
            3,
            id="a restart that uses offsets anew",
        ),
        pytest.param(
            [
                ["take", [items(0, 1, 2, 3), rewind("reset", 1, (1, 4)), items(1, 2)]],
                ["dropFrom", 2],
            ],
            "0 -1",
            0,
            1,
            id="rows dropped before a restart's rewind",
        ),
        pytest.param(
            [["take", [items(0, 1)]], ["dropFirst", 1], ["takeEarlier", [items(0, 1)], 0]],
            "0 1",
            0,
            2,
            id="rows dropped and read again",
        ),
        pytest.param(
            [
                ["take", [items(0), {"kind": "gap", "start": 1, "end": 5, "reason": "expired"}]],
                ["take", [{"kind": "gap", "start": 1, "end": 5, "reason": "expired"}, items(5)]],
            ],
            "0 gap 1 5",
            0,
            6,
            id="a gap that is told again",
        ),
        pytest.param(
            [
                ["take", [items(0, 1)]],
                ["take", [{"kind": "runs", "runs": [{"id": "a", "first": 0}]}]],
                ["take", [items(2, 3)]],
                ["take", [{"kind": "runs", "runs": [{"id": "b", "first": 3}]}]],
                ["take", [{"kind": "runs", "runs": [{"id": "c", "first": 5}]}]],
                ["take", [items(4)]],
                ["take", [items(5)]],
            ],
            "0 1 2 run 3 3 4 run 5 5",
            0,
            6,
            id="runs told late and early",
        ),
    ],
)
async def test_a_log_holds_each_item_once_with_what_became_of_it(
    looker: Looker, steps: list[Any], rows: str, start: int, end: int
) -> None:
    await looker.open()
    taken = await looker.in_module("log", _TAKE, [f"{looker.base}/viewer/rows.js", steps])
    assert taken == [rows, start, end]


async def test_an_address_says_what_is_shown_and_nothing_else_is_taken_for_one(
    looker: Looker,
) -> None:
    await looker.open()
    routes = [
        {"id": None, "from": "latest", "topics": [], "view": "items"},
        {"id": "a/b?c#d%20 é", "from": 7, "topics": ["x&y", "="], "view": "text"},
        {"id": "plain", "from": "start", "topics": [], "view": "items"},
    ]
    there_and_back = await looker.in_module(
        "route", "(r, routes) => routes.map((route) => r.parse(r.format(route)))", routes
    )
    assert there_and_back == routes
    odd = ["", "#", "#/stream/", "#/stream/%E0%A4%A", "#/x", "#/stream/?from=1e9&view=html"]
    parsed = await looker.in_module("route", "(r, odd) => odd.map((hash) => r.parse(hash))", odd)
    assert [route["id"] for route in parsed] == [None] * len(odd)
    assert {route["view"] for route in parsed} == {"items"}


async def test_the_rate_counts_each_item_once(looker: Looker) -> None:
    await looker.open()
    at = [{**item, "time": 100_000} for item in items(0, 1, 2)["items"]]
    series = await looker.in_module(
        "rates",
        """({ Rates }, items) => {
            const rates = new Rates();
            const notices = [{ kind: "items", items, next: 3 }];
            rates.count(notices, true, 101_000);
            rates.count(notices, true, 101_500);
            return [rates.series(102_000).slice(-4), rates.now(102_000, 3), rates.now(190_000)];
        }""",
        at,
    )
    assert series == [[0, 3, 0, 0], 1, 0]
