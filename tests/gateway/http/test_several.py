"""Several streams over one connection: each whole, in order, and none harmed by another."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient
from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.testing.fixtures import StreamServer

from ..security.wire import serving
from .events import Event, EventSource
from .hosts import ended, hosting, said
from .serving import GatewayProcess, running_gateway
from .several import following, is_level, items_by_stream, number, of, until

Unique = Callable[[str], str]
TEXT = {"content-type": "text/plain"}


@pytest.fixture(scope="module")
def hasty(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    """A gateway whose event streams are quiet and live for a short time only."""
    with running_gateway(
        stream_server.address, keep_alive_seconds=0.3, sse_seconds=2.0, event_bytes=64 * 1024
    ) as gateway:
        yield gateway


async def test_each_event_names_its_stream_and_all_is_over_when_each_is(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    talks, values, text = unique("a/talks"), unique("values"), unique("text")
    closed = {"stream-closed": "true"}
    await http.put(gateway.stream(values), json=[1, "two"])
    await http.put(gateway.stream(text), headers=TEXT | closed, content="so far\n")
    async with (
        hosting(client, "Talks", talks) as handle,
        following(http, gateway, [talks, values, text]) as source,
    ):
        assert source.response.headers["content-type"] == "text/event-stream"
        assert source.response.headers["x-accel-buffering"] == "no"
        assert "no-cache" in source.response.headers["cache-control"]
        reading = asyncio.create_task(source.rest())
        await handle.signal("say", args=["t", '{"x":1}'])
        await said(handle, 1)
        await http.post(gateway.stream(values), json=[3], headers=closed)
        await handle.signal("end", "fail")
        await ended(handle)
        story = await asyncio.wait_for(reading, 100)
    items = items_by_stream(story)
    assert [(i["offset"], i["topic"], i["data"]) for i in items.pop(talks)] == [(0, "t", {"x": 1})]
    assert items == {values: [1, "two", 3], text: ["so far\n"]}
    for index, (name, end, outcome) in enumerate(
        [(talks, 1, "failed"), (values, 3, "completed"), (text, 1, "completed")]
    ):
        last = of(story, name)[-1]
        assert number(last.pop("streamNextOffset")) == end
        assert last == {"index": index, "stream": name, "streamClosed": True, "outcome": outcome,
                        "upToDate": True}  # fmt: skip
    assert story[-1].json == {"allClosed": True}
    # A browser that reconnects is told not to.
    params = {"id": [talks, values, text]}
    resumed = {"last-event-id": story[-1].id}
    answer = await http.get(f"{gateway.url}/v1/streams/events", params=params, headers=resumed)
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_client_that_is_cut_off_again_and_again_misses_and_repeats_nothing(
    hasty: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    names = [unique(f"talks-{n}") for n in range(3)]
    total = 200
    async with AsyncExitStack() as hosts:
        for name in names:
            await hosts.enter_async_context(hosting(client, "Talks", name))
        publishing = asyncio.gather(*(publish(client, name, total) for name in names))
        seen: list[Event] = []
        last_id, connections = "", 0

        def complete() -> bool:
            return sum(map(len, items_by_stream(seen).values())) >= 3 * total

        while not complete():
            connections += 1
            headers = {"last-event-id": last_id} if last_id else {}
            # Cut off in the middle now and then, else until the gateway has had enough.
            patience = 0.2 if connections % 2 else 30
            async with following(http, hasty, names, headers=headers) as source:
                try:
                    async with asyncio.timeout(patience):
                        async for event in source.events():
                            seen.append(event)
                            last_id = event.id
                            if event.kind == "data" and complete():
                                break
                except TimeoutError:
                    continue
        await publishing
    for items in items_by_stream(seen).values():
        assert [item["offset"] for item in items] == list(range(total))
        assert [item["data"] for item in items] == list(range(total))
    assert connections > 1


async def publish(client: Client, name: str, total: int) -> None:
    async with WorkflowStreamClient.create(client, name) as stream:
        numbers = stream.topic("n", type=int)
        for n in range(total):
            numbers.publish(n)
            await asyncio.sleep(0.01)


async def test_each_begins_at_an_offset_of_its_own_and_one_may_be_there_twice(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    names = [unique("values") for _ in range(3)]
    for name in names:
        await http.put(gateway.stream(name), json=[0, 1, 2])
    ids = [*names, names[0]]
    async with following(http, gateway, ids, "now", "-1", f"{2:020d}", f"{1:020d}") as source:
        seen: list[Event] = []
        await until(source, seen, lambda: all(is_level(seen, name, 3)() for name in names)
                    and sum(map(len, items_by_stream(seen).values())) == 6)  # fmt: skip
    data = {e.json["index"]: (e.json["stream"], e.json["items"]) for e in seen if e.kind == "data"}
    assert data == {1: (names[1], [0, 1, 2]), 2: (names[2], [2]), 3: (names[0], [1, 2])}
    for event in seen:
        assert len(event.id.split(",")) == 5


@pytest.mark.parametrize("offset", ["-1", "now"])
async def test_a_stream_that_is_not_there_yet_is_told_and_comes_when_it_is(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Unique, offset: str
) -> None:
    there, later = unique("there"), unique("later")
    await http.put(gateway.stream(there), json=["a"])
    async with following(http, gateway, [later, there], offset) as source:
        seen: list[Event] = []
        events = source.events()

        async def read(done: Callable[[], bool]) -> None:
            async with asyncio.timeout(100):
                while not done():
                    seen.append(await anext(events))

        await read(lambda: bool(of(seen, later)) and bool(of(seen, there)))
        [told] = of(seen, later)
        assert told["problem"]["status"] == 404
        assert told["problem"]["type"] == "urn:workflow-streams:stream-not-found"
        # By which the log can be searched, as of any other problem.
        assert told["problem"]["request_id"] == source.response.headers["x-request-id"]
        await http.post(gateway.stream(there), json=["b"])
        await read(lambda: items_by_stream(seen).get(there, [])[-1:] == ["b"])
        await http.put(gateway.stream(later), json=["first"])
        await read(lambda: later in items_by_stream(seen))
        assert items_by_stream(seen)[later] == ["first"]
        assert sum("problem" in told for told in of(seen, later)) == 1


async def test_a_stream_that_fails_or_that_nobody_opens_harms_no_other(
    stream_server: StreamServer, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    with running_gateway(stream_server.address, open_seconds=0.5) as gateway:
        good, gone, dead = unique("good"), unique("gone"), unique("dead")
        for name in (good, gone):
            await http.put(gateway.stream(name), json=[0])
        handle = await client.start_workflow("Talks", id=dead, task_queue=f"nobody's {dead}")
        async with following(http, gateway, [dead, gone, good]) as source:
            seen: list[Event] = []
            events = source.events()
            while not (is_level(seen, good, 1)() and is_level(seen, gone, 1)()):
                seen.append(await anext(events))
            while not of(seen, dead):
                seen.append(await anext(events))
            await http.delete(gateway.stream(gone))
            while not any("problem" in t or "streamClosed" in t for t in of(seen, gone)):
                seen.append(await anext(events))
            await http.post(gateway.stream(good), json=[1])
            while items_by_stream(seen)[good] != [0, 1]:
                seen.append(await anext(events))
        assert of(seen, dead)[0]["problem"]["status"] == 503
        await handle.terminate()


async def test_gaps_and_rewinds_are_of_their_stream(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    talks, stutters = unique("talks"), unique("stutters")
    async with (
        hosting(client, "Talks", talks) as talking,
        hosting(client, "Stutters", stutters) as stuttering,
    ):
        await talking.signal("count", args=[0, 10])
        await talking.signal("truncate", 6)
        await said(talking, 10)
        offsets = (f"{3:020d}", "-1")
        async with following(http, gateway, [talks, stutters], *offsets) as source:
            seen: list[Event] = []
            await stuttering.signal("start")

            def over() -> bool:
                is_over = any("streamClosed" in told for told in of(seen, stutters))
                return is_over and is_level(seen, talks, 10)()

            await until(source, seen, over)
    items = items_by_stream(seen)
    assert [item["offset"] for item in items[talks]] == [6, 7, 8, 9]
    assert [i["data"] for i in items[stutters]] == ["one of 1", "two of 1", "one of 2", "two of 2"]
    gaps = [told["gap"] for told in of(seen, talks) if "gap" in told]
    assert [(number(g["start"]), number(g["end"]), g["reason"]) for g in gaps] == [
        (3, 6, "truncated")
    ]
    rewinds = [told["rewind"] for told in of(seen, stutters) if "rewind" in told]
    assert [(r["reason"], number(r["nextOffset"]), r["attempt"]) for r in rewinds] == [
        ("attempt", 2, 2)
    ]
    assert not any("gap" in told for told in of(seen, stutters))
    assert not any("rewind" in told for told in of(seen, talks))


async def test_readers_of_one_stream_and_of_several_are_told_alike_that_it_is_gone(
    client: Client, http: httpx.AsyncClient, unique: Unique
) -> None:
    """As when its runs are deleted before they have read that it was ended."""
    name = unique("gone")
    app = create_app(client, GatewaySettings(host_task_queue=unique("queue")))
    async with serving(app, lifespan="on") as port:
        root = f"http://127.0.0.1:{port}/v1"
        await http.put(f"{root}/stream/{name}", json=[0])
        reads = [(f"{root}/stream/{name}", {"live": "sse", "offset": "-1"}),
                 (f"{root}/streams/events", {"id": name})]  # fmt: skip
        problems: list[dict[str, object]] = []
        for url, params in reads:
            async with http.stream("GET", url, params=params) as response:
                seen: list[Event] = []
                async for event in EventSource(response).events():
                    seen.append(event)
                    if event.json.get("upToDate") if event.kind == "control" else False:
                        async with app.state.gateway.found(name) as stream:
                            stream.feed.stop()
                    if "problem" in event.text:
                        break
            problem = seen[-1].json["problem"]
            assert problem.pop("request_id") == response.headers["x-request-id"]
            problems.append(problem)
        assert problems[0] == problems[1]
        assert (problems[0]["status"], problems[0]["type"]) == (
            404,
            "urn:workflow-streams:stream-not-found",
        )


async def test_topics_are_filtered_and_the_places_move_on_all_the_same(
    hasty: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    names = [unique("talks"), unique("talks")]
    async with (
        hosting(client, "Talks", names[0]) as one,
        hosting(client, "Talks", names[1]) as two,
        following(http, hasty, names, topics=["a"]) as source,
    ):
        seen: list[Event] = []
        for handle in (one, two):
            for topic in "abab":
                await handle.signal("say", args=[topic, f'"{topic}"'])

        def level() -> bool:
            # Silence is broken by the places, since the client's are old ones.
            return bool(seen) and seen[-1].id.count(",") == 2 and {
                place.partition("_")[0] for place in seen[-1].id.split(",")[1:]
            } == {"4"}  # fmt: skip

        await until(source, seen, level)
    got = {
        stream: [(item["offset"], item["data"]) for item in items]
        for stream, items in items_by_stream(seen).items()
    }
    assert got == {name: [(0, "a"), (2, "a")] for name in names}


async def test_a_connection_ends_after_its_time_with_places_to_resume_at(
    hasty: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    names = [unique("values"), unique("values")]
    for name in names:
        await http.put(hasty.stream(name), json=[0])
    async with following(http, hasty, names) as source:
        story = await source.rest()
    assert story[-1].json == {"closing": "recycled"}
    assert [place.partition("_")[0] for place in story[-1].id.split(",")[1:]] == ["1", "1"]
    assert source.raw.count(b": keep-alive\n\n") >= 3
    for name in names:
        await http.post(hasty.stream(name), json=[1])
    headers = {"last-event-id": story[-1].id}
    async with following(http, hasty, names, headers=headers) as source:
        resumed = await source.rest()
    assert items_by_stream(resumed) == {name: [1] for name in names}


async def test_a_gateway_that_ends_sends_its_clients_away_with_places_to_resume_at(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    with running_gateway(stream_server.address) as gateway:
        name = unique("values")
        await http.put(gateway.stream(name), json=[0])
        async with following(http, gateway, [name]) as source:
            seen: list[Event] = []
            events = source.events()
            while not is_level(seen, name, 1)():
                seen.append(await anext(events))
            gateway.process.send_signal(signal.SIGTERM)
            seen += [event async for event in events]
        assert seen[-1].json == {"closing": "shutdown"}
        assert seen[-1].id.split(",")[1].partition("_")[0] == "1"
