"""Many tabs over HTTP/1.1, where a browser has six connections to a host: all of them are live."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from workflow_streams.testing.fixtures import StreamServer

from ..http.serving import GatewayProcess, metric, running_gateway
from ..security.issuing import token
from .conftest import OpenLooker
from .hosts import Hosts
from .looking import Looker, eventually

pytestmark = pytest.mark.asyncio(loop_scope="package")

SECRET = "a secret of the tests, long enough for HS256"
TABS = 9
DOCS = Path(__file__).parents[3] / "docs" / "gateway.md"

Unique = Callable[[str], str]


@pytest.fixture
def own_gateway(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    with running_gateway(stream_server.address) as gateway:
        yield gateway


async def tabs_of(looker: Looker, count: int) -> list[Looker]:
    """As many tabs of one browser; the first is there already."""
    tabs = [Looker(looker.context, await looker.context.new_page(), looker.base)
            for _ in range(count - 1)]  # fmt: skip
    for tab in tabs:
        tab.faults = looker.faults
    return [looker, *tabs]


async def shared(gateway: GatewayProcess, connections: int = 1) -> None:
    """Wait until the tabs follow over so many connections."""
    async with httpx.AsyncClient(timeout=100) as http:

        async def so_many() -> bool:
            name = "workflow_streams_viewers{"
            return await metric(http, gateway, name, 'mode="sse"') == connections

        await eventually(so_many)


async def offsets(tab: Looker) -> list[int]:
    await tab.page.bring_to_front()
    rows = await tab.rows()
    assert {row.kind for row in rows} == {"item"}
    return [row.offset for row in rows]


async def all_live(tabs: list[Looker]) -> None:
    await asyncio.gather(*(tab.live() for tab in tabs))


async def all_have(tabs: list[Looker], count: int) -> None:
    """Each tab has all items up to there, each once, in order."""
    await asyncio.gather(*(tab.head(count) for tab in tabs))
    for tab in tabs:
        assert await offsets(tab) == list(range(count))


async def test_tabs_of_one_stream_share_a_connection_and_each_has_all(
    new_looker: OpenLooker, own_gateway: GatewayProcess, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("watched")
    await hosts.host(stream)
    await hosts.numbers(stream, 0, 3)
    tabs = await tabs_of(await new_looker(own_gateway.url), TABS)
    await asyncio.gather(*(tab.open(stream) for tab in tabs))
    await all_live(tabs)
    await shared(own_gateway)
    await hosts.numbers(stream, 3, 20)
    await all_have(tabs, 20)
    # Those that are left go on, and nothing is read for nobody.
    for tab in tabs[:5]:
        await tab.page.close()
    await hosts.numbers(stream, 20, 25)
    await all_have(tabs[5:], 25)
    for tab in tabs[5:]:
        await tab.page.goto("about:blank")
    await shared(own_gateway, 0)


async def test_tabs_of_as_many_streams_share_a_connection_and_each_has_its_own(
    new_looker: OpenLooker, own_gateway: GatewayProcess, hosts: Hosts, unique: Unique
) -> None:
    streams = [unique(f"watched-{n}") for n in range(TABS)]
    for n, stream in enumerate(streams):
        await hosts.host(stream)
        await hosts.numbers(stream, 0, n)
    tabs = await tabs_of(await new_looker(own_gateway.url), TABS)
    await asyncio.gather(*(tab.open(stream) for tab, stream in zip(tabs, streams, strict=True)))
    await all_live(tabs)
    await shared(own_gateway)
    for n, stream in enumerate(streams):
        await hosts.numbers(stream, n, n + 10)
    for n, tab in enumerate(tabs):
        await all_have([tab], n + 10)
    # The end of one, and what is no JSON, come over it as well.
    handle = hosts.client.get_workflow_handle(streams[0])
    await handle.signal("tell", "close")
    await tabs[0].ended()
    assert [row.kind for row in await tabs[0].rows()] == ["item"] * 10 + ["end"]
    await hosts.numbers(streams[1], 11, 12)
    await all_have([tabs[1]], 12)


async def test_texts_and_topics_come_over_the_shared_connection_as_over_ones_own(
    new_looker: OpenLooker, own_gateway: GatewayProcess, hosts: Hosts, unique: Unique
) -> None:
    text, bytes_, topics = unique("text"), unique("bytes"), unique("topics")
    async with httpx.AsyncClient(timeout=100) as http:
        for name, content_type in ((text, "text/plain"), (bytes_, "image/png")):
            headers = {"content-type": content_type}
            url = own_gateway.stream(name)
            assert (await http.put(url, headers=headers, content=b"a")).status_code == 201
        await hosts.host(topics)
        tabs = await tabs_of(await new_looker(own_gateway.url), 3)
        await tabs[0].open(text)
        await tabs[1].open(bytes_)
        await tabs[2].open(topics, topic="a")
        await all_live(tabs)
        await shared(own_gateway)
        for name, content_type in ((text, "text/plain"), (bytes_, "image/png")):
            headers = {"content-type": content_type}
            content = 'é\n"x"'.encode()
            await http.post(own_gateway.stream(name), headers=headers, content=content)
        await hosts.publish(topics, ("a", 1), ("b", 2), ("a", 3))
        await asyncio.gather(tabs[0].head(2), tabs[1].head(2), tabs[2].head(3))
    texts = []
    for tab in tabs:
        await tab.page.bring_to_front()
        texts.append([(row.topic, row.text) for row in await tab.rows()])
    assert texts[0] == [("", '"a"'), ("", r'"é\n\"x\""')]
    assert [text for _, text in texts[1]] == ['binary/plain "YQ=="', 'binary/plain "w6kKIngi"']
    assert texts[2] == [("a", "1"), ("a", "3")]


async def test_connections_that_end_lose_and_double_nothing(
    new_looker: OpenLooker, stream_server: StreamServer, hosts: Hosts, unique: Unique
) -> None:
    with running_gateway(stream_server.address, sse_seconds=0.7) as gateway:
        streams = [unique("watched"), unique("watched")]
        for stream in streams:
            await hosts.host(stream)
        tabs = await tabs_of(await new_looker(gateway.url), 4)
        for n, tab in enumerate(tabs):
            await tab.open(streams[n % 2])
        for n in range(40):
            await asyncio.gather(*(hosts.numbers(stream, n, n + 1) for stream in streams))
            await asyncio.sleep(0.05)
        await all_have(tabs, 40)


async def test_when_the_worker_dies_the_tabs_go_on_and_share_another(
    browser: Browser,
    new_looker: OpenLooker,
    own_gateway: GatewayProcess,
    hosts: Hosts,
    unique: Unique,
) -> None:
    stream = unique("watched")
    await hosts.host(stream)
    await hosts.numbers(stream, 0, 3)
    tabs = await tabs_of(await new_looker(own_gateway.url), TABS)
    await asyncio.gather(*(tab.open(stream) for tab in tabs))
    await all_live(tabs)
    await shared(own_gateway)
    await kill_worker(browser, own_gateway.url)
    await hosts.numbers(stream, 3, 10)
    await all_have(tabs, 10)
    await shared(own_gateway)
    await hosts.numbers(stream, 10, 15)
    await all_have(tabs, 15)


async def kill_worker(browser: Browser, base: str) -> None:
    session = await browser.new_browser_cdp_session()
    targets = (await session.send("Target.getTargets"))["targetInfos"]
    [worker] = [t for t in targets if t["type"] == "shared_worker" and t["url"].startswith(base)]
    attached = await session.send(
        "Target.attachToTarget", {"targetId": worker["targetId"], "flatten": False}
    )
    await session.send(
        "Target.sendMessageToTarget",
        {
            "sessionId": attached["sessionId"],
            "message": '{"id":1,"method":"Runtime.evaluate","params":{"expression":"close()"}}',
        },
    )
    await session.detach()


async def test_tabs_of_different_logins_share_nothing(
    new_looker: OpenLooker, stream_server: StreamServer, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("watched")
    await hosts.host(stream)
    environ = {"WORKFLOW_STREAMS_JWT_SECRET": SECRET}
    with running_gateway(stream_server.address, environ=environ) as gateway:
        rules = [{"ids": ["*"], "actions": ["read", "metrics"]}]
        tabs = await tabs_of(await new_looker(gateway.url), 4)
        logins = {
            topic: token(
                SECRET, streams=[{"ids": [stream], "actions": ["read"], "topics": [topic]}]
            )
            for topic in "ab"
        }
        for tab, topic in zip(tabs, "abab", strict=True):
            await tab.open(stream)
            dialog = tab.page.get_by_role("dialog", name="Token")
            await dialog.get_by_label("Bearer token").fill(logins[topic])
            await dialog.get_by_role("button", name="Use it").click()
            await tab.live()
        bearer = {"authorization": f"Bearer {token(SECRET, streams=rules)}"}
        async with httpx.AsyncClient(timeout=100, headers=bearer) as http:

            async def two_connections() -> bool:
                return await metric(http, gateway, "workflow_streams_viewers{", '"sse"') == 2

            await eventually(two_connections)
        await hosts.publish(stream, *((topic, f"for {topic}") for topic in "abab"))
        for tab, topic in zip(tabs, "abab", strict=True):
            await expect(tab.at("#figure-head")).to_have_text("4")
            await tab.page.bring_to_front()
            await tab.frame()
            rows = await tab.rows()
            assert [row.topic for row in rows] == [topic, topic]
            assert [row.text for row in rows] == [f'"for {topic}"'] * 2


async def test_the_script_of_the_docs_follows_several_streams_to_their_end(
    looker: Looker, hosts: Hosts, unique: Unique
) -> None:
    [script] = re.findall(r"```js\n(/\*\* Follow streams;.*?)```", DOCS.read_text(), re.DOTALL)
    streams = [unique("followed"), unique("later")]
    await hosts.host(streams[0])
    await looker.open()
    await looker.page.evaluate(
        f"""(streams) => {{
            {script}
            window.items = [];
            window.source = followAll(streams, (id, {{ data }}) => items.push([id, data]));
        }}""",
        streams,
    )
    await hosts.numbers(streams[0], 0, 3)
    await looker.until("() => items.length === 3")
    await hosts.host(streams[1])
    await hosts.numbers(streams[1], 0, 2)
    await looker.until("() => items.length === 5")
    for stream in streams:
        handle = hosts.client.get_workflow_handle(stream)
        await handle.signal("tell", "close")
    await looker.until("() => source.readyState === EventSource.CLOSED")
    items = await looker.page.evaluate("() => items")
    assert items == [[streams[0], n] for n in range(3)] + [[streams[1], n] for n in range(2)]
    warned = [fault for fault in looker.faults if streams[1] in fault]
    assert len(warned) == 1
    looker.faults.clear()


async def test_without_shared_workers_each_tab_reads_for_itself(
    new_looker: OpenLooker, own_gateway: GatewayProcess, hosts: Hosts, unique: Unique
) -> None:
    stream = unique("watched")
    await hosts.host(stream)
    looker = await new_looker(own_gateway.url)
    await looker.context.add_init_script("delete window.SharedWorker")
    tabs = await tabs_of(looker, 2)
    await asyncio.gather(*(tab.open(stream) for tab in tabs))
    await all_live(tabs)
    await shared(own_gateway, 2)
    await hosts.numbers(stream, 0, 5)
    await all_have(tabs, 5)


@pytest.mark.parametrize(
    ("event", "unwrapped"),
    [
        (
            {"event": "data", "data": '{"index":1,"stream":"a\\"}","streamNextOffset":"03_x",'
             '"items":[1,\n{"a":"}"}]}'},
            {"event": "data", "data": '[1,\n{"a":"}"}]', "id": "03_x"},
        ),
        (
            {"event": "data", "data": '{"index":1,"stream":"a","streamNextOffset":"3",'
             '"text":"x\\ny"}'},
            {"event": "data", "data": "x\ny", "id": "3"},
        ),
        (
            {"event": "data", "data": '{"index":1,"stream":"a","streamNextOffset":"3",'
             '"base64":"YQ=="}'},
            {"event": "data", "data": "YQ==", "id": "3"},
        ),
        (
            {"event": "control", "data": '{"index":1,"stream":"a","streamNextOffset":"3",'
             '"upToDate":true}'},
            {"event": "control", "data": '{"streamNextOffset":"3","upToDate":true}', "id": "3"},
        ),
        (
            {"event": "control", "data": '{"index":1,"stream":"a","problem":{"status":404}}'},
            {"event": "control", "data": '{"problem":{"status":404}}', "id": ""},
        ),
        ({"event": "control", "data": '{"closing":"recycled"}'}, None),
    ],
)  # fmt: skip
async def test_an_event_of_several_streams_is_one_of_its_stream(
    looker: Looker, event: dict[str, Any], unwrapped: dict[str, Any] | None
) -> None:
    await looker.open()
    found = await looker.in_module("several", "({ unwrap }, event) => unwrap(event)", event)
    assert (found and found["event"]) == unwrapped
    if found:
        assert (found["index"], found["token"]) == (1, unwrapped and unwrapped["id"])


async def test_a_token_is_sent_back_as_it_came_unless_it_is_of_another_offset(
    looker: Looker,
) -> None:
    await looker.open()
    tokens = await looker.in_module(
        "place",
        """({ offsetOf, tokenAt }, known) => [
            offsetOf(known), tokenAt(7, known), tokenAt(8, known), tokenAt(8, ""),
        ]""",
        f"{7:020d}_aB-_",
    )
    assert tokens == [7, f"{7:020d}_aB-_", f"{8:020d}", f"{8:020d}"]
