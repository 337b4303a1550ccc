"""However many read what is there already, few do so at once, and others are not kept waiting."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from temporalio.client import Client

from workflow_streams import LATEST, WorkflowStreamClient
from workflow_streams.gateway import GatewaySettings, LimitSettings, create_app
from workflow_streams.gateway.reading.rendering import COMPRESSIONS_AT_ONCE
from workflow_streams.gateway.sessions import Gateway
from workflow_streams.hosted.host import HostSetup, start_host
from workflow_streams.read.beside import CALLS_AT_ONCE
from workflow_streams.testing.fixtures import StreamServer

from ..gateway.http.events import Event
from ..gateway.http.test_events import follow
from ..gateway.security.wire import serving
from ..read.counting import HistoryReads

Unique = Callable[[str], str]
JSON = {"content-type": "application/json"}
MEBIBYTE = 1024 * 1024
PATIENT = 1000.0
# Under half a signal, so that the history has a page of several.
VALUES = [{"n": n, "pad": base64.b85encode(os.urandom(3_200)).decode()} for n in range(1_500)]


class Served:
    """A gateway in this process, and a stream whose items stand in a run before the current one."""

    def __init__(self, app: Starlette, http: httpx.AsyncClient, name: str) -> None:
        self.gateway: Gateway = app.state.gateway
        self.http = http
        self.name = name

    def get(self, **params: str) -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(self.http.get(self.name, params={"offset": "-1", **params}))


@asynccontextmanager
async def served(client: Client, unique: Unique, **limits: Any) -> AsyncIterator[Served]:
    settings = GatewaySettings(
        host_task_queue=unique("queue"),
        limits=LimitSettings(**limits),
        open_seconds=PATIENT,
        append_seconds=PATIENT,
        write_seconds=PATIENT,
    )
    app = create_app(client, settings)
    async with serving(app, lifespan="on") as port:
        base = f"http://127.0.0.1:{port}/v1/stream/"
        async with httpx.AsyncClient(base_url=base, timeout=PATIENT) as http:
            one = Served(app, http, unique("stream"))
            await fill(client, one)
            yield one


async def fill(client: Client, one: Served) -> None:
    """Write more than a run holds, and wait until the stream has rolled over after that."""
    assert (await one.http.put(one.name, headers=JSON)).status_code == 201
    handle = client.get_workflow_handle(one.name)
    first = (await handle.describe()).run_id
    for at in range(0, len(VALUES), 300):
        posted = await one.http.post(one.name, json=VALUES[at : at + 300], headers=JSON)
        assert posted.status_code == 204, posted.text
    while (await handle.describe()).run_id == first:
        await asyncio.sleep(0.05)


async def until(met: Callable[[], bool]) -> None:
    while not met():
        await asyncio.sleep(0.01)


@asynccontextmanager
async def busy(one: Served, client: str, turns: int) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for _ in range(turns):
            await stack.enter_async_context(one.gateway.catch_ups.turn(client))
        yield


async def test_readers_of_one_process_take_turns_at_the_history(
    stream_server: StreamServer, unique: Unique
) -> None:
    reads = HistoryReads()
    client = await stream_server.connect(interceptors=[reads])
    async with served(client, unique) as one:
        stream = WorkflowStreamClient.create(client, one.name)
        reads.forget()
        # Only the last item's number, so that nobody holds what all have read.
        whole = list(range(len(VALUES)))

        async def numbers() -> list[int]:
            topic = stream.topic("default")
            return [item.data["n"] async for item in topic.subscribe(until=LATEST)]

        assert await asyncio.gather(*(numbers() for _ in range(20))) == [whole] * 20
    # One more is the feed's own.
    assert 0 < reads.most <= CALLS_AT_ONCE + 1


async def test_answers_are_made_a_few_at_a_time_and_all_of_them_come(
    client: Client, unique: Unique
) -> None:
    async with served(client, unique, max_catch_ups=2, catch_up_wait_seconds=PATIENT) as one:
        turns, taken = one.gateway.catch_ups, set[int]()

        async def look() -> None:
            while True:
                taken.add(turns.taken)
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        # From different places, so that they have no answer in common.
        starts = [*range(6), *range(6)]
        answers = await asyncio.gather(
            *(one.get(offset=str(start)) for start in range(6)),
            *(one.get(offset=str(start), live="long-poll") for start in range(6)),
        )
        looking.cancel()
        for start, answer in zip(starts, answers, strict=True):
            values = answer.json()
            while "stream-up-to-date" not in answer.headers:
                params = {"offset": answer.headers["stream-next-offset"]}
                answer = await one.http.get(one.name, params=params)
                values += answer.json()
            assert values == VALUES[start:]
        assert max(taken) == 2
        await until(lambda: turns.taken == one.gateway.unread.held == 0)


async def test_what_does_not_have_its_turn_in_time_is_told_when_to_come_back(
    client: Client, unique: Unique
) -> None:
    limits = {"max_catch_ups": 1, "catch_up_wait_seconds": 0.05}
    async with served(client, unique, **limits) as one:
        # Without anybody who follows it, since that would keep it in memory.
        await until(lambda: one.gateway.readers() == 0)
        async with busy(one, "another", 1):
            for answer in (
                await one.get(),
                await one.get(live="long-poll"),
                await one.get(live="sse"),
                await one.http.get(one.name, params={"offset": "now"}),
                await one.http.head(one.name),
                await one.http.get(one.name, headers={"if-none-match": '"x"'}),
            ):
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            # Writers go on, and so do those that are level with the stream.
            assert (await one.http.post(one.name, json=7, headers=JSON)).status_code == 204
            url = str(one.http.base_url.join(one.name))
            async with follow(one.http, url, "now") as source:
                told: AsyncIterator[Event] = source.events()
                assert (await anext(told)).json["upToDate"]
                assert (await one.http.post(one.name, json=8, headers=JSON)).status_code == 204
                assert (await anext(told)).json == [8]
        assert (await one.get()).status_code == 200


async def test_a_client_has_its_turn_however_many_requests_another_has(
    client: Client, unique: Unique
) -> None:
    limits = {"max_catch_ups": 2, "max_catch_ups_per_client": 1}
    async with served(client, unique, **limits) as one, busy(one, "another", 1):
        waiting = [asyncio.create_task(one.gateway.catch_ups.take("another")) for _ in range(50)]
        assert (await one.get()).status_code == 200
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


async def test_however_many_ask_for_the_same_all_are_answered_by_one_reading(
    stream_server: StreamServer, unique: Unique
) -> None:
    """There is one turn, and nobody waits long for one."""
    reads, many = HistoryReads(), 100
    client = await stream_server.connect(interceptors=[reads])
    limits = {"max_catch_ups": 1, "catch_up_wait_seconds": 0.05}
    async with served(client, unique, **limits) as one:
        await until(lambda: one.gateway.readers() == 0)
        answers, unread = one.gateway.answers, one.gateway.unread
        async with one.gateway.renderer.turn:
            asking = [one.get() for _ in range(many)]
            await until(lambda: answers.waiting == many)
            await until(lambda: unread.held > 4 * MEBIBYTE)
            alone, before = unread.held, reads.most
            # Those who leave take nothing from the others, the first one of them included.
            for task in asking[:10]:
                task.cancel()
            await until(lambda: answers.waiting == many - 10)
        bodies = set[bytes]()
        for task in asking[10:]:
            answer = await task
            assert answer.status_code == 200
            assert "stream-up-to-date" not in answer.headers
            bodies.add(answer.content)
        [body] = bodies
        values = json.loads(body)
        assert values == VALUES[: len(values)]
        assert reads.most == before
        # Of what they share there is one.
        assert alone < 4 * len(body)
        await until(lambda: unread.held == answers.waiting == one.gateway.catch_ups.taken == 0)


async def test_a_client_that_leaves_waits_for_no_turn(client: Client, unique: Unique) -> None:
    limits = {"max_catch_ups": 1, "catch_up_wait_seconds": PATIENT}
    async with served(client, unique, **limits) as one, busy(one, "another", 1):
        turns = one.gateway.catch_ups
        await until(lambda: one.gateway.readers() == 0)
        asking = [one.get(), one.get(live="long-poll"), one.get(live="sse")]
        await until(lambda: turns.waiting == len(asking))
        for task in asking:
            task.cancel()
        await until(lambda: turns.waiting == 0)
        assert turns.taken == 1


async def test_a_stream_that_nobody_opens_keeps_no_other_from_being_read(
    client: Client, unique: Unique
) -> None:
    limits = {"max_catch_ups": 1, "catch_up_wait_seconds": PATIENT}
    async with served(client, unique, **limits) as one:
        name = unique("unopened")
        setup = HostSetup("application/json")
        await start_host(client, name, setup, task_queue=unique("no-worker"))
        asking = asyncio.create_task(one.http.get(name))
        await until(lambda: one.gateway.catch_ups.taken == 1)
        assert (await one.get()).status_code == 200
        assert not asking.done()
        asking.cancel()
        await until(lambda: one.gateway.catch_ups.taken == 0)


async def test_what_an_answer_is_made_of_counts_as_unread(client: Client, unique: Unique) -> None:
    async with served(client, unique) as one:
        unread, renderer = one.gateway.unread, one.gateway.renderer
        async with renderer.turn:
            asking = one.get()
            await until(lambda: unread.held > 4 * MEBIBYTE)
        assert (await asking).status_code == 200
        await until(lambda: unread.held == 0)


async def test_an_answer_that_has_no_room_while_it_is_made_is_refused(
    client: Client, unique: Unique
) -> None:
    async with served(client, unique, max_unread_bytes=5 * MEBIBYTE) as one:
        async with one.gateway.renderer.turn:
            # Two that have no answer in common.
            asking = [one.get(), one.get(topic="default")]
            await until(lambda: one.gateway.catch_ups.taken == 2)
            unread = one.gateway.unread
            await until(lambda: unread.held > 0)
        answers = sorted([(await task).status_code for task in asking])
        assert answers[-1] == 503
        await until(lambda: unread.held == 0)
        assert (await one.get()).status_code in (200, 503)


async def test_few_answers_are_compressed_at_once_and_those_that_wait_count(
    client: Client, unique: Unique
) -> None:
    async with served(client, unique) as one:
        compressing, unread = one.gateway.renderer.compressing, one.gateway.unread
        async with AsyncExitStack() as stack:
            for _ in range(COMPRESSIONS_AT_ONCE):
                await stack.enter_async_context(compressing)
            request = one.http.build_request(
                "GET", one.name, params={"offset": "-1"}, headers={"accept-encoding": "gzip"}
            )
            asking = asyncio.create_task(one.http.send(request, stream=True))
            await until(lambda: unread.held > 2 * MEBIBYTE and compressing.locked())
            assert not asking.done()
        answer = await asking
        body = b"".join([part async for part in answer.aiter_raw()])
        await answer.aclose()
        values = json.loads(gzip.decompress(body))
        assert values == VALUES[: len(values)]
        await until(lambda: unread.held == 0)


async def test_an_event_stream_counts_what_it_holds_of_the_history(
    client: Client, unique: Unique
) -> None:
    async with served(client, unique) as one:
        await until(lambda: one.gateway.readers() == 0)
        url = str(one.http.base_url.join(one.name))
        # A part of it is sent, and the page that the next is in waits for the client.
        async with follow(one.http, url, "-1") as source:
            while one.gateway.unread.held <= MEBIBYTE:
                await asyncio.sleep(0)  # it may not last
            assert (await source.until("upToDate"))[-1].json["upToDate"]
            await until(lambda: one.gateway.unread.held == 0)


async def test_forks_are_copied_a_few_at_a_time(client: Client, unique: Unique) -> None:
    limits = {"max_catch_ups": 1, "catch_up_wait_seconds": 0.05}
    async with served(client, unique, **limits) as one:
        fork = unique("fork")
        headers = {**JSON, "stream-forked-from": f"/v1/stream/{one.name}"}
        async with one.gateway.copies.turn("another"):
            refused = await one.http.put(fork, headers=headers)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert (await one.http.head(fork)).status_code == 404
        assert (await one.http.put(fork, headers=headers)).status_code == 201


@pytest.mark.parametrize("setting", ["max_catch_ups", "max_catch_ups_per_client"])
async def test_there_is_always_room_for_one(setting: str) -> None:
    with pytest.raises(Exception, match=setting):
        LimitSettings(**{setting: 0})
