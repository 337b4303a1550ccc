"""Streams that are not there yet: not started, or started with no worker so far."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from workflow_streams import WorkflowStreamClient
from workflow_streams.embedded.ports import free_port
from workflow_streams.testing.fixtures import StreamServer

from .events import EventSource, data_of
from .hosts import HOSTS, hosting
from .serving import GatewayProcess, metric, running_gateway

Unique = Callable[[str], str]

SSE = {"offset": "-1", "live": "sse"}
POLL = {"offset": "-1", "live": "long-poll"}
WAIT = {"wait": "100"}


@pytest.fixture(scope="module")
def patient(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    """A gateway that lets clients wait for a start, but not for long for a worker."""
    settings = {"wait_seconds": 100.0, "open_seconds": 0.3, "long_poll_seconds": 2.0}
    with running_gateway(stream_server.address, keep_alive_seconds=0.3, **settings) as gateway:
        yield gateway


@asynccontextmanager
async def started(client: Client, name: str) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """Start a workflow that no worker takes up so far."""
    handle = await client.start_workflow("Talks", id=name, task_queue=f"queue of {name}")
    try:
        yield handle
    finally:
        await handle.terminate()


def working(client: Client, name: str) -> Worker:
    return Worker(client, task_queue=f"queue of {name}", workflows=HOSTS)


async def in_progress(http: httpx.AsyncClient, gateway: GatewayProcess, count: int) -> None:
    """Wait until the gateway works on so many requests, that for the numbers left out."""
    while await metric(http, gateway, "workflow_streams_http_connections") < count + 1:
        await asyncio.sleep(0.02)


def values(answer: httpx.Response) -> list[Any]:
    return [item["data"] for item in answer.json()]


async def publish(client: Client, name: str, *items: Any) -> None:
    async with WorkflowStreamClient.create(client, name) as stream:
        for item in items:
            await stream.topic("t").send(item)


async def test_reads_wait_for_the_workflow_to_be_started(
    patient: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("late")
    url = patient.stream(name)

    async def follow() -> list[Any]:
        async with http.stream("GET", url, params=SSE | WAIT) as response:
            assert response.status_code == 200
            events = EventSource(response)
            seen: list[Any] = []
            async for event in events.events():
                seen += [item["data"] for item in event.json] if event.kind == "data" else []
                if seen:
                    return seen
        raise AssertionError("ended")

    async with asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        # What asks for the head has it all: nothing was there when it asked.
        heads = [
            group.create_task(http.get(url, params={"offset": place, "live": "long-poll"} | WAIT))
            for place in ("-1", "now", "-5")
        ]
        group_of_reads = [
            group.create_task(http.get(url, params=WAIT)),
            group.create_task(http.head(url, params=WAIT)),
        ]
        await in_progress(http, patient, 6)
        assert not any(task.done() for task in [following, *heads, *group_of_reads])
        async with hosting(client, "Talks", name):
            catch_up, head = [await task for task in group_of_reads]
            await publish(client, name, "first")
            polled = [await task for task in heads]
            assert await following == ["first"]
    assert (catch_up.status_code, head.status_code) == (200, 200)
    assert catch_up.headers["stream-next-offset"].strip("0")[:1] in ("", "_")
    assert [values(answer) for answer in polled] == [["first"]] * 3


async def test_the_wait_ends_with_404_when_the_time_is_over_or_the_gateways_is(
    gateway: GatewayProcess, stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    url = gateway.stream(unique("never"))
    for params in ({}, SSE, POLL):
        assert (await http.get(url, params=params | {"wait": "0.1"})).status_code == 404
    assert (await http.head(url, params={"wait": "0.1"})).status_code == 404
    assert (await http.get(url, params={"wait": "soon"})).status_code == 400
    assert (await http.head(url, params={"wait": "-1"})).status_code == 400
    with running_gateway(stream_server.address, wait_seconds=0.1) as hasty:
        answer = await http.get(hasty.stream(unique("never")), params={"wait": "999999999"})
        assert answer.status_code == 404


async def test_who_waits_counts_as_a_connection_and_leaves_without_a_trace(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    limits = {"max_connections": 3}
    with running_gateway(stream_server.address, limits=limits, wait_seconds=100.0) as gateway:
        url = gateway.stream(unique("never"))
        waiting = [asyncio.create_task(http.get(url, params=WAIT)) for _ in range(3)]
        await in_progress(http, gateway, 3)
        assert (await http.get(f"{gateway.url}/v1/streams")).status_code == 503
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        while (await http.get(f"{gateway.url}/v1/streams")).status_code != 200:
            await asyncio.sleep(0.02)
        # Nobody asks for the workflow any more.
        name, before = "workflow_streams_temporal_rpc_seconds_count", -1.0
        while before != (before := await metric(http, gateway, name, 'call="describe"')):
            await asyncio.sleep(1.2)
        assert before > 0
        assert gateway.end() == ""


async def test_who_may_not_read_it_does_not_wait(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    secret = {"WORKFLOW_STREAMS_JWT_SECRET": "a secret of more than thirty-two bytes"}
    with running_gateway(stream_server.address, environ=secret, wait_seconds=100.0) as gateway:
        answer = await http.get(gateway.stream(unique("never")), params=WAIT)
        assert answer.status_code == 401


async def test_a_gateway_that_ends_sends_away_who_waits(
    stream_server: StreamServer, http: httpx.AsyncClient, unique: Unique
) -> None:
    with running_gateway(stream_server.address, wait_seconds=100.0) as gateway:
        waiting = asyncio.create_task(http.get(gateway.stream(unique("never")), params=WAIT))
        await in_progress(http, gateway, 1)
        await asyncio.to_thread(gateway.end)
        assert (await waiting).status_code == 503


@pytest.mark.processes
async def test_an_outage_is_no_404(http: httpx.AsyncClient, unique: Unique) -> None:
    gateway = GatewayProcess(f"127.0.0.1:{free_port()}")
    try:
        answer = await http.get(gateway.stream(unique("never")), params={"wait": "0.1"})
        assert answer.status_code == 503
    finally:
        gateway.end()


@pytest.mark.parametrize("offset", ["-1", "now", "-5"])
async def test_an_event_stream_opens_before_a_worker_is_there(
    patient: GatewayProcess,
    http: httpx.AsyncClient,
    client: Client,
    unique: Unique,
    offset: str,
) -> None:
    name = unique("unopened")
    params = {"offset": offset, "live": "sse"}
    async with (
        started(client, name),
        http.stream("GET", patient.stream(name), params=params) as response,
    ):
        assert response.status_code == 200
        source = EventSource(response)
        events = source.events()
        told = await anext(events)
        assert told.kind == "control"
        assert told.json["problem"]["status"] == 503
        assert told.json["problem"]["request_id"]
        assert "upToDate" not in told.json
        # Nothing has an offset yet, so that a client who comes back begins at the start.
        assert told.json["streamNextOffset"] == told.id == "-1"
        # Whatever it says, it is not up to date; and it is not silent.
        quiet = asyncio.create_task(anext(events))
        while source.raw.count(b": keep-alive") < 2:
            await asyncio.sleep(0.02)
        assert not quiet.done()
        async with working(client, name):
            await publish(client, name, "a", "b")
            seen = data_of([await quiet])
            while len(seen) < 2:
                seen += data_of([await anext(events)])
            assert [item["data"] for item in seen] == ["a", "b"]
        await events.aclose()


async def test_a_long_poll_waits_for_a_worker_within_its_time(
    patient: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("unopened")
    url = patient.stream(name)
    async with started(client, name):
        for offset, then in [("-1", "-1"), ("now", "-1"), ("-5", "-1"), ("7", "7")]:
            answer = await http.get(url, params={"offset": offset, "live": "long-poll"})
            assert (answer.status_code, answer.headers["stream-next-offset"]) == (204, then)
            assert answer.headers["stream-up-to-date"] == "true"
            assert answer.headers["stream-cursor"].isdigit()
        # What is there now nobody knows.
        for answer in (await http.get(url), await http.head(url)):
            assert answer.status_code == 503
            assert "retry-after" in answer.headers
        polling = asyncio.create_task(poll(http, url))
        async with working(client, name):
            await publish(client, name, "first")
            assert await polling == ["first"]


async def poll(http: httpx.AsyncClient, url: str) -> list[Any]:
    while True:
        answer = await http.get(url, params=POLL)
        if answer.status_code != 204:
            return values(answer)


async def test_viewers_of_an_unopened_stream_are_sent_away_with_a_place(
    stream_server: StreamServer, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("unopened")
    settings = {"open_seconds": 0.1, "sse_seconds": 0.5}
    async with started(client, name):
        with running_gateway(stream_server.address, **settings) as gateway:
            for params in (SSE, {"offset": "3", "live": "sse"}):
                async with http.stream("GET", gateway.stream(name), params=params) as response:
                    story = await EventSource(response).rest()
                assert [event.kind for event in story] == ["control", "control"]
                assert story[-1].json == {
                    "streamNextOffset": params["offset"],
                    "closing": "recycled",
                }
            assert gateway.end() == ""


async def test_what_turns_out_to_be_no_stream_ends_the_connection(
    patient: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("unopened")
    handle = await client.start_workflow("Quiet", id=name, task_queue=f"queue of {name}")
    async with http.stream("GET", patient.stream(name), params=SSE) as response:
        assert response.status_code == 200
        reading = asyncio.create_task(EventSource(response).rest())
        async with working(client, name):
            story = await reading
    # First that no worker is there, and in the end that there is no stream.
    assert [list(event.json) for event in story] == [["streamNextOffset", "problem"]] * 2
    assert [event.json["problem"]["status"] for event in story] == [503, 404]
    await handle.terminate()
