"""Nothing that a stream holds runs as code, hides itself or breaks the page."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.async_api import expect
from temporalio.api.common.v1 import Payload

from workflow_streams.gateway.formats.json_text import MOST_NESTING

from ..http.serving import GatewayProcess
from .hosts import Hosts
from .looking import Looker

pytestmark = pytest.mark.asyncio(loop_scope="package")

Unique = Callable[[str], str]

MARKUP = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 2'>",
    '"><svg onload="window.ran = 3">',
    "javascript:window.ran=4",
    "</pre></main><iframe srcdoc='<script>parent.ran = 5</script>'></iframe>",
    "<style>* { display: none }</style>",
    "{{constructor.constructor('window.ran = 6')()}}",
    "\u2028window.ran = 7\u2029",
    "]]>--><!--<math><mtext></form><form id=x><input name=children>",
]


def named(*codes: str) -> list[str]:
    """How the page writes characters that cannot be seen."""
    return [f"\u2039{code}\u203a" for code in codes]


async def nothing_ran(looker: Looker) -> None:
    assert await looker.page.evaluate("() => window.ran") is None
    assert await looker.at("main :is(script, iframe, img, style, math, form form)").count() == 0


async def test_markup_in_items_topics_and_ids_is_shown_as_text(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("<img src=x onerror='window.ran=9'>/a%2eb?#&\"'`${1}")
    await hosts.host(stream)
    await hosts.publish(
        stream,
        *((text, text) for text in MARKUP),
        *((text, {text: [text], "__proto__": {"ran": 1}, "text": text}) for text in MARKUP),
    )
    await looker.open(stream)
    await looker.live()
    await looker.head(2 * len(MARKUP))
    await expect(looker.at("#title-id")).to_have_text(stream)
    rows = await looker.rows()
    line_end, paragraph_end = named("2028", "2029")
    shown = [text.replace("\u2028", line_end).replace("\u2029", paragraph_end) for text in MARKUP]
    assert [row.topic for row in rows] == shown * 2
    assert [row.text for row in rows[: len(MARKUP)]] == [
        json.dumps(text, ensure_ascii=False) for text in shown
    ]
    await nothing_ran(looker)
    for row in await looker.at("#items .item").all():
        await row.click()
        await expect(looker.at("#details")).to_be_visible()
    await nothing_ran(looker)
    await looker.page.keyboard.press("t")
    await expect(looker.at("#text-body")).to_contain_text(MARKUP[0])
    await nothing_ran(looker)
    topic = looker.at("#topics button").first
    await topic.click()
    await looker.live()
    await expect(topic).to_have_attribute("aria-pressed", "true")
    await nothing_ran(looker)
    await looker.open()
    await expect(looker.at(".stream-id").filter(has_text=stream)).to_have_text(stream)
    await nothing_ran(looker)


async def test_an_id_that_no_workflow_can_have_is_refused_in_words(looker: Looker) -> None:
    await looker.open("a/../b")
    await expect(looker.at("#note")).to_have_text("No part of a workflow id may be '.' or '..'.")
    assert await looker.at("#items .row").count() == 0


async def test_the_page_may_run_and_load_nothing_but_its_own_files(gateway: GatewayProcess) -> None:
    async with httpx.AsyncClient(base_url=gateway.url) as http:
        page = await http.get("/")
        module = await http.get("/viewer/main.js")
    for answer in (page, module):
        policy = dict(
            part.strip().split(" ", 1)
            for part in answer.headers["content-security-policy"].split(";")
        )
        for name in ("default-src", "base-uri", "form-action", "frame-ancestors"):
            assert policy[name] == "'none'"
        for name in ("script-src", "style-src", "connect-src"):
            assert policy[name] == "'self'"
        assert policy["img-src"] == "'self' data:"
        assert policy["require-trusted-types-for"] == "'script'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-cache"
    assert "style=" not in page.text
    assert "onclick" not in page.text
    assert page.text.count("<script") == 1
    assert '<script type="module" blocking="render" src="viewer/main.js"></script>' in page.text


async def test_what_cannot_be_seen_is_made_visible(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("unseen")
    await hosts.host(stream)
    values = [
        "user\u202egnp.exe",
        "a\u0000b\u001b[31mred\u0007",
        "zero\u200bwidth\ufeff",
        "\u2066isolated\u2069 tab\t line\nend",
        "family 👨\u200d👩\u200d👧 stays",
    ]
    await hosts.publish(stream, *(("t\u202eopic", value) for value in values))
    await looker.open(stream)
    await looker.live()
    await looker.head(len(values))
    rows = await looker.rows()
    override, zero, mark, isolate, back = named("202E", "200B", "FEFF", "2066", "2069")
    assert [row.text for row in rows] == [
        f'"user{override}gnp.exe"',
        r'"a\u0000b\u001b[31mred\u0007"',
        f'"zero{zero}width{mark}"',
        rf'"{isolate}isolated{back} tab\t line\nend"',
        '"family 👨\u200d👩\u200d👧 stays"',
    ]
    assert {row.topic for row in rows} == {f"t{override}opic"}
    await looker.at("#items .item").nth(1).click()
    await expect(looker.at("#details-value")).to_have_text("a␀b␛[31mred␇")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("x" * 1_000_000, id="a long line"),
        pytest.param("e" + "\u0301" * 50_000, id="marks upon marks"),
        pytest.param([[n, {"k" * 200: [None] * 20}] for n in range(2000)], id="a large value"),
        pytest.param({f"key {n}": n for n in range(20_000)}, id="many keys"),
    ],
)
async def test_large_values_are_cut_in_the_row_and_whole_in_the_clipboard(
    looker: Looker, hosts: Hosts, unique: Unique, value: Any
) -> None:
    stream = unique("large")
    await hosts.host(stream)
    await hosts.publish(stream, ("big", value), ("small", 1))
    await looker.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await looker.open(stream)
    await looker.live()
    await looker.head(2)
    big, small = await looker.rows()
    assert len(big.text) < 1000
    assert small.text == "1"
    boxes = [await row.bounding_box() for row in await looker.at("#items .item").all()]
    assert all(box is not None for box in boxes)
    assert {round(box["height"]) for box in boxes if box} == {25}
    await looker.at("#items .item").first.click()
    await expect(looker.at("#details-cut")).to_contain_text("Copy takes all")
    assert len(await looker.at("#details-value").inner_text()) < 200_000
    await looker.at("#details-copy").click()
    await expect(looker.at("#toast")).to_have_text("The value is copied")
    copied = await looker.page.evaluate("() => navigator.clipboard.readText()")
    assert (copied if isinstance(value, str) else json.loads(copied)) == value


async def test_deep_nesting_and_long_numbers_are_shown(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("deep")
    await hosts.host(stream)
    deep, too_deep = (b"[" * levels + b"]" * levels for levels in (MOST_NESTING, 3000))
    numbers = b'{"id": 12345678901234567890, "x": 0.1, "big": 1e400}'
    await hosts.publish(
        stream,
        *(
            ("raw", Payload(metadata={"encoding": b"json/plain"}, data=data))
            for data in (deep, numbers, too_deep)
        ),
    )
    await looker.open(stream)
    await looker.live()
    await looker.head(3)
    rows = await looker.rows()
    assert rows[0].text == "[" * 64 + "…" + "]" * 64
    assert rows[1].text == '{"id": 12345678901234567890, "x": 0.1, "big": 1e400}'
    assert rows[2].text.startswith('json/plain "W1tb')
    await looker.at("#items .item").first.click()
    await expect(looker.at("#details-value")).to_contain_text("…")


async def test_bytes_that_are_no_json_say_what_they_are(
    looker: Looker, gateway: GatewayProcess, hosts: Hosts, unique: Unique
) -> None:
    workflow = unique("bytes")
    await hosts.host(workflow)
    await hosts.publish(workflow, ("raw", b"\x00\xff"))
    await looker.open(workflow)
    await looker.live()
    await looker.head(1)
    assert [row.text for row in await looker.rows()] == ['binary/plain "AP8="']
    texts = unique("texts")
    async with httpx.AsyncClient() as http:
        url = gateway.stream(texts)
        await http.put(url, headers={"content-type": "text/plain"})
        for body in ("first line\n", "<b>second</b>"):
            await http.post(url, content=body, headers={"content-type": "text/plain"})
    await looker.open(texts, view="text")
    await expect(looker.at("#text .text-part")).to_have_text("first line\n<b>second</b>")
    await nothing_ran(looker)


async def test_an_element_that_looks_like_an_envelope_is_not_taken_for_another_place(
    looker: Looker, gateway: GatewayProcess, unique: Unique
) -> None:
    stream = unique("posted")
    posted = [{"offset": 7, "topic": "forged", "data": 1}, {"offset": -1, "topic": "t", "data": 2}]
    async with httpx.AsyncClient() as http:
        url = gateway.stream(stream)
        await http.put(url, headers={"content-type": "application/json"})
        await http.post(
            url, content=json.dumps(posted), headers={"content-type": "application/json"}
        )
    await looker.open(stream)
    await looker.live()
    await looker.head(2)
    assert [(row.offset, row.topic) for row in await looker.rows()] == [(0, ""), (1, "")]
