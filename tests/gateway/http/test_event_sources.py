"""Refusals that pass do not end an ``EventSource``; other clients get the plain status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx_sse
import pytest
from starlette.types import Scope
from temporalio.client import Client

from workflow_streams.embedded.ports import free_port
from workflow_streams.gateway.refusals import (
    AuthenticationRequiredError,
    ForbiddenError,
    OverloadedError,
    RefusedError,
    TooManyConnectionsError,
    TooManyRequestsError,
)
from workflow_streams.gateway.refusals.event_sources import is_event_source, told_by_events
from workflow_streams.gateway.refusals.problems import (
    BrokenStreamError,
    ConflictError,
    GoneError,
    InternalError,
    InvalidRequestError,
    NoStreamError,
    NotOpenedError,
    NotStartedError,
    UnavailableError,
)
from workflow_streams.testing.fixtures import StreamServer

from .events import Event, data_of, parse_events
from .hosts import ended, hosting, said
from .serving import GatewayProcess, metric, running_gateway

Unique = Callable[[str], str]
Headers = dict[str, str]

CHROMIUM = {"accept": "text/event-stream", "cache-control": "no-cache"}
FIREFOX = {**CHROMIUM, "pragma": "no-cache"}
FETCH_EVENT_SOURCE = {"accept": "text/event-stream"}
DURABLE_STREAMS_PYTHON = {"accept": "text/event-stream"}
DURABLE_STREAMS_NODE = {"accept": "*/*", "sec-fetch-mode": "cors"}
HTTPX_SSE = {"accept": "text/event-stream", "cache-control": "no-store"}
CURL = {"accept": "*/*"}
OTHERS = [FETCH_EVENT_SOURCE, DURABLE_STREAMS_PYTHON, DURABLE_STREAMS_NODE, HTTPX_SSE, CURL, {}]

SSE = {"offset": "-1", "live": "sse"}


def scope_of(headers: Headers, query: str = "", method: str = "GET") -> Scope:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "query_string": query.encode(), "headers": raw}


@pytest.mark.parametrize("headers", [CHROMIUM, FIREFOX, {**CHROMIUM, "last-event-id": "7"}])
def test_a_browsers_event_source_is_known_by_what_it_sends(headers: Headers) -> None:
    assert is_event_source(scope_of(headers))
    assert is_event_source(scope_of(headers, "offset=-1&live=sse"))
    assert not is_event_source(scope_of(headers, "errors=status"))
    assert not is_event_source(scope_of(headers, method="HEAD"))
    assert not is_event_source(scope_of(headers, method="POST"))


@pytest.mark.parametrize("headers", OTHERS)
def test_other_clients_are_taken_for_none_unless_they_say_so(headers: Headers) -> None:
    assert not is_event_source(scope_of(headers))
    assert not is_event_source(scope_of({**headers, "last-event-id": "7"}))
    assert is_event_source(scope_of(headers, "live=sse&errors=events"))


def told(refusal: RefusedError, headers: Headers = CHROMIUM, query: str = "") -> bytes | None:
    return told_by_events(refusal, scope_of(headers, query), {"status": refusal.status})


@pytest.mark.parametrize(
    ("refusal", "seconds"),
    [
        (UnavailableError("no"), 1),
        (NotOpenedError(), 1),
        (NotStartedError(), 2),
        (BrokenStreamError("no"), 10),
        (OverloadedError("no"), 5),
        (TooManyConnectionsError("no"), 5),
        (TooManyRequestsError(17), 17),
    ],
)
def test_what_passes_is_told_with_a_time_to_come_back(refusal: RefusedError, seconds: int) -> None:
    answer = told(refusal)
    assert answer is not None
    comment, retry, *_ = answer.decode().split("\n")
    assert comment == f": {refusal.status} {refusal.title}: {refusal.detail}"
    assert seconds * 1000 <= int(retry.removeprefix("retry: ")) <= seconds * 1500
    [event] = parse_events(answer)
    assert event.kind == "control"
    assert event.json["problem"] == {"status": refusal.status}
    for headers in OTHERS:
        assert told(refusal, headers) is None


@pytest.mark.parametrize(
    "refusal",
    [
        AuthenticationRequiredError(), ForbiddenError(), ConflictError("no"), GoneError("no"),
        InvalidRequestError("no"), NoStreamError(), InternalError(),
    ],
)  # fmt: skip
def test_what_does_not_pass_keeps_its_status(refusal: RefusedError) -> None:
    assert told(refusal) is None


def test_a_refusals_words_cannot_break_out_of_the_comment() -> None:
    answer = told(UnavailableError("a\n\ndata: b\r\rid: c"))
    assert answer is not None
    assert len(parse_events(answer)) == 1


@pytest.mark.parametrize(
    ("query", "headers", "event_id"),
    [
        ("offset=now", {}, "-1"), ("offset=-50", {}, "-1"), ("last=3", {}, "-1"), ("", {}, "-1"),
        ("offset=7", {}, ""), ("offset=now", {"last-event-id": "7"}, ""),
    ],
)  # fmt: skip
def test_who_asks_for_the_head_of_what_is_not_there_yet_resumes_at_its_start(
    query: str, headers: Headers, event_id: str
) -> None:
    answer = told(NotStartedError(), {**CHROMIUM, **headers}, query)
    assert answer is not None
    [event] = parse_events(answer)
    assert event.id == event_id
    assert event.json.get("streamNextOffset", "") == event_id
    unavailable = told(UnavailableError("no"), {**CHROMIUM, **headers}, query)
    assert unavailable is not None
    assert parse_events(unavailable)[0].id == ""


async def ask(http: httpx.AsyncClient, url: str, **more: Any) -> tuple[httpx.Response, list[Event]]:
    """Ask as Chromium's ``EventSource`` does, and read to the end of the answer."""
    answer = await http.get(url, params=more.pop("params", SSE), headers={**CHROMIUM, **more})
    if answer.headers.get("content-type") != "text/event-stream":
        return answer, []
    return answer, parse_events(answer.content)


def problem_in(answer: httpx.Response, events: list[Event]) -> dict[str, Any]:
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert b"\nretry: " in answer.content
    [event] = events
    problem: dict[str, Any] = event.json["problem"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


async def test_a_workflow_that_is_not_there_yet_is_told_and_read_once_it_is(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    url = gateway.stream(name)
    refused = "workflow_streams_requests_refused_total"
    before = await metric(http, gateway, refused, "stream-not-found")
    answer, events = await ask(http, url, params={"offset": "now", "live": "sse"})
    problem = problem_in(answer, events)
    assert (problem["status"], problem["type"]) == (404, "urn:workflow-streams:stream-not-found")
    assert await metric(http, gateway, refused, "stream-not-found") == before + 1
    for headers in OTHERS:
        plain = await http.get(url, params=SSE, headers=headers)
        assert plain.status_code == 404
        assert plain.headers["content-type"] == "application/problem+json"
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("count", args=[0, 3])
        await said(talks, 3)
        await talks.signal("end", "complete")
        await ended(talks)
    # It asked for what comes from now on, and that is all there is.
    last_id = events[-1].id
    again = {"offset": "now", "live": "sse"}
    answer, events = await ask(http, url, params=again, **{"last-event-id": last_id})
    assert [item["data"] for item in data_of(events)] == [0, 1, 2]


async def test_what_is_no_stream_and_what_is_not_permitted_ends_it(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("quiet")
    async with hosting(client, "Quiet", name):
        answer, _ = await ask(http, gateway.stream(name))
        assert answer.status_code == 404
    answer, _ = await ask(http, gateway.stream(name), params={**SSE, "cursor": "x"})
    assert answer.status_code == 400
    answer, _ = await ask(http, f"{gateway.url}/nowhere")
    assert answer.status_code == 404


async def test_what_was_there_and_has_been_deleted_ends_it(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    url = gateway.stream(unique("expired"))
    answer, _ = await ask(http, url, **{"last-event-id": f"{3:020d}"})
    assert answer.status_code == 404
    answer, _ = await ask(http, url, **{"last-event-id": f"{3:020d}.end"})
    assert answer.status_code == 204
    for headers in OTHERS:
        ends = {**headers, "last-event-id": f"{3:020d}.end"}
        assert (await http.get(url, params=SSE, headers=ends)).status_code == 404


@pytest.mark.processes
async def test_without_temporal_it_is_told_to_come_back(http: httpx.AsyncClient) -> None:
    gateway = GatewayProcess(f"127.0.0.1:{free_port()}")
    try:
        answer, events = await ask(http, gateway.stream("early"))
        assert problem_in(answer, events)["status"] == 503
        for headers in OTHERS:
            plain = await http.get(gateway.stream("early"), params=SSE, headers=headers)
            assert plain.status_code == 503
            assert plain.headers["retry-after"] == "1"
        answer, _ = await ask(http, gateway.stream("early"), params={**SSE, "errors": "status"})
        assert answer.status_code == 503
    finally:
        gateway.end()


@pytest.fixture(scope="module")
def strict(stream_server: StreamServer) -> Iterator[GatewayProcess]:
    """A gateway that takes one connection of a client, and one request in a long while."""
    limits = {"max_connections_per_client": 1, "max_requests_per_second": 0.01}
    with running_gateway(
        stream_server.address, limits={**limits, "max_request_burst": 3}
    ) as gateway:
        yield gateway


async def test_too_many_connections_or_requests_are_told(
    strict: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    url = strict.stream(unique("stream"))
    assert (await http.put(url, json=[1])).status_code == 201
    async with http.stream("GET", url, params=SSE) as held:
        assert held.status_code == 200
        answer, events = await ask(http, url)
        assert problem_in(answer, events)["type"].endswith(":too-many-connections")
        answer, events = await ask(http, url)
        assert problem_in(answer, events)["type"].endswith(":too-many-requests")
        plain = await http.get(url, params=SSE)
        assert plain.status_code == 429
        assert int(plain.headers["retry-after"]) > 5


async def test_who_knows_the_end_is_told_by_204_to_stop(
    gateway: GatewayProcess, http: httpx.AsyncClient, new_stream: Callable[[], str]
) -> None:
    url = new_stream()
    await http.put(url, json=["a", "b"], headers={"stream-closed": "true"})
    answer, events = await ask(http, url)
    assert answer.status_code == 200
    assert data_of(events) == ["a", "b"]
    assert events[-1].json["streamClosed"] is True
    last_id = events[-1].id

    answer, _ = await ask(http, url, **{"last-event-id": last_id})
    assert (answer.status_code, answer.content) == (204, b"")
    # The others can read the end once more.
    for headers in OTHERS:
        again = await http.get(url, params=SSE, headers={**headers, "last-event-id": last_id})
        assert [e.json["streamClosed"] for e in parse_events(again.content)] == [True]
    # Items came without the end, or the end with more before it.
    for known in (last_id.removesuffix(".end"), f"{0:020d}.end"):
        answer, events = await ask(http, url, **{"last-event-id": known})
        assert answer.status_code == 200
        assert events[-1].json["streamClosed"] is True
    assert data_of(events) == ["a", "b"]


async def test_who_knows_the_end_of_some_topics_stops_as_well(
    gateway: GatewayProcess, http: httpx.AsyncClient, client: Client, unique: Unique
) -> None:
    name = unique("talks")
    async with hosting(client, "Talks", name) as talks:
        await talks.signal("say", args=["a", "1"])
        await talks.signal("say", args=["b", "2"])
        await talks.signal("end", "complete")
        await ended(talks)
    params = {**SSE, "topic": "a"}
    answer, events = await ask(http, gateway.stream(name), params=params)
    assert [item["data"] for item in data_of(events)] == [1]
    last_id = events[-1].id
    # The last item was not for it.
    for known in (last_id, f"{1:020d}.end"):
        answer, _ = await ask(http, gateway.stream(name), params=params, **{"last-event-id": known})
        assert answer.status_code == 204


async def test_httpx_sse_raises_for_what_it_cannot_read(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    url = gateway.stream(unique("never"))
    async with httpx_sse.aconnect_sse(http, "GET", url, params=SSE) as source:
        with pytest.raises(httpx.HTTPStatusError):
            source.response.raise_for_status()
    asked = {**SSE, "errors": "events"}
    async with httpx_sse.aconnect_sse(http, "GET", url, params=asked) as source:
        events = [event async for event in source.aiter_sse()]
    assert [event.json()["problem"]["status"] for event in events] == [404]
    assert events[0].retry is not None


async def test_many_who_ask_at_once_come_back_one_by_one(
    gateway: GatewayProcess, http: httpx.AsyncClient, unique: Unique
) -> None:
    url = gateway.stream(unique("never"))
    answers = await asyncio.gather(*(ask(http, url) for _ in range(20)))
    retries = {answer.content.split(b"retry: ")[1].split(b"\n")[0] for answer, _ in answers}
    assert len(retries) > 10
    assert all(2000 <= int(retry) <= 3000 for retry in retries)
