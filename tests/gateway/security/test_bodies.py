"""Bodies cost no more than their size, and take the gateway's room for so long only."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.gateway.json_bodies import json_values
from workflow_streams.errors import UsageError
from workflow_streams.gateway.formats.frames import shape_of
from workflow_streams.gateway.formats.json_text import MOST_NESTING
from workflow_streams.gateway.layers import incoming
from workflow_streams.gateway.layers.limit_settings import LimitSettings
from workflow_streams.gateway.layers.limits import LimitMiddleware
from workflow_streams.gateway.refusals.problems import InvalidRequestError
from workflow_streams.gateway.writing import bodies
from workflow_streams.hosted.appends import counted_bytes
from workflow_streams.log.packed import PackedEntries
from workflow_streams.log.payloads import JSON_KIND
from workflow_streams.testing.fixtures import StreamServer

from ..http.serving import GatewayProcess, running_gateway
from .layered import Layered
from .wire import Answer, connected, exchange, get, parse, serving

MEBIBYTE = 1024 * 1024
JSON = {"content-type": "application/json"}


@pytest.fixture(params=["at once", "one by one"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each of the two ways in which arrays are cut into their values."""
    if request.param == "one by one":
        monkeypatch.setattr(bodies, "_MOST_AT_ONCE", -1)
    yield


any_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers()
    | st.text(st.sampled_from('[]{},:"\\ab\ud800é')),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('[{,"\\')), inner),
    max_leaves=12,
)  # fmt: skip


@given(any_json, st.sampled_from([None, 1]), st.integers(-1, 0))
def test_a_body_is_cut_into_its_values_in_either_way(
    value: Any, indent: int | None, most: int
) -> None:
    body = json.dumps(value, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "_MOST_AT_ONCE", most)
        found = json_values(b" \n" + body + b"\t")
    assert [json.loads(one) for one in found] == (value if isinstance(value, list) else [value])
    assert all(one in body and one == one.strip() for one in found)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b" [ ] ", []),
        (b"[[]]", [b"[]"]),
        (b'["a,]b", {"k": [1, 2]} , 3]', [b'"a,]b"', b'{"k": [1, 2]}', b"3"]),
        (b'["\\"[", "\\\\"]', [b'"\\"["', b'"\\\\"']),
        (b'["\\ud83d", ["\\uDC00"], "\\\\ud83d"]',
         [b'"\\ud83d"', b'["\\uDC00"]', b'"\\\\ud83d"']),
        (b'"\\ud83d"', [b'"\\ud83d"']),
        (b'{"k": "\\ud83d"}', [b'{"k": "\\ud83d"}']),
    ],
)  # fmt: skip
def test_values_keep_the_bytes_that_they_were_sent_as(body: bytes, values: list[bytes]) -> None:
    assert json_values(body) == values


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("inmost", [b"", b"1", b'"["', b"{}", b'1, "x"'])
def test_values_are_as_deep_as_an_answer_can_be(inmost: bytes) -> None:
    levels = MOST_NESTING - inmost.count(b"{")
    deep = b"[" * levels + inmost + b"]" * levels
    for body in (b"[" + deep + b"]", b"[0, " + deep + b", 0]", b"[" + deep + b"," + deep + b"]"):
        assert deep in json_values(body)
        with pytest.raises(InvalidRequestError, match="levels of nesting"):
            json_values(body.replace(deep, b"[" + deep + b"]"))
    # A single value that is no array counts its own levels.
    objects = b'{"k":' * levels + (inmost or b"0").partition(b",")[0] + b"}" * levels
    assert json_values(objects) == [objects]
    with pytest.raises(InvalidRequestError, match="levels of nesting"):
        json_values(b'{"k":' + objects + b"}")


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize(
    "body", [b"", b"[", b"[1,]", b"[1 2]", b"[1]]", b"{]", b'["\\ud8"]', b"[NaN]",
             b"\xff", b"[" * 9**5],
)  # fmt: skip
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        json_values(body)


@pytest.mark.parametrize(
    ("content_type", "body", "elsewhere"),
    [
        ("application/json", b"[" + b"0," * 32_765 + b"0]", True),
        ("application/json", b"[" + b"{}," * 5_000 + b"{}]", True),
        ("application/json", b'["' + b"x" * 60_000 + b'"]', False),
        ("application/json", b"[1,2,3]", False),
        ("text/plain", b"," * 60_000, False),
        ("text/plain", b"x" * MEBIBYTE, True),
    ],
)  # fmt: skip
async def test_bodies_of_many_values_do_not_hold_up_other_requests(
    monkeypatch: pytest.MonkeyPatch, content_type: str, body: bytes, elsewhere: bool
) -> None:
    """A value takes microseconds, so 64 KiB of them took as long as a body of a megabyte."""
    entries_of, threads = bodies.entries_of, list[threading.Thread]()

    def noting(*arguments: Any) -> PackedEntries:
        threads.append(threading.current_thread())
        return entries_of(*arguments)

    monkeypatch.setattr(bodies, "entries_of", noting)
    shape = shape_of(content_type)
    entries = await bodies.read_entries(body, shape, "t")
    assert [thread is not threading.current_thread() for thread in threads] == [elsewhere]
    assert entries.packed_bytes <= counted(entries) <= bodies.most_bytes(body, shape, "t")


def counted(entries: PackedEntries) -> int:
    """Return how much entries count where batches are bounded."""
    return sum(counted_bytes(*entry) for entry in entries)


@given(any_json, st.text(), st.sampled_from(["application/json", "text/plain"]))
def test_entries_are_never_larger_than_they_were_said_to_be(
    value: Any, topic: str, content_type: str
) -> None:
    body, shape = json.dumps(value, separators=(",", ":")).encode(), shape_of(content_type)
    entries = bodies.entries_of(body, shape, topic)
    assert counted(entries) <= bodies.most_bytes(body, shape, topic)
    assert entries.packed_bytes <= bodies.most_bytes(body, shape, topic)


@given(any_json)
def test_values_become_the_payloads_that_converters_make(value: Any) -> None:
    body = json.dumps([value]).encode()
    [entry] = bodies.entries_of(body, shape_of("application/json"), "t")
    assert entry == ("t", JSON_KIND, body[1:-1])


def highest(gateway: GatewayProcess) -> int:
    """Return the most memory that a process has had so far, in bytes."""
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize(
    ("head", "value", "tail", "status"),
    [
        (b"[[", b'{"":0}', b"]]", 204),
        (b"[", b"0", b"]", 413),
        (b"[[", b"[[]]", b"]]", 204),
        (b'{"k":[', b'"x"', b"]}", 204),
    ],
    ids=["one value of objects", "numbers", "lists in lists", "texts"],
)
async def test_a_body_of_very_many_values_costs_as_much_as_any_other(
    stream_server: StreamServer,
    http: httpx.AsyncClient,
    unique: Callable[[str], str],
    head: bytes,
    value: bytes,
    tail: bytes,
    status: int,
) -> None:
    """Python's objects would take twice as much memory as the whole write does."""
    size = 8 * MEBIBYTE
    count = (size - len(head) - len(tail) + 1) // (len(value) + 1)
    body = head + b",".join([value] * count) + tail
    with running_gateway(stream_server.address) as gateway:
        url = gateway.stream(unique("stream"))
        assert (await http.put(url, headers=JSON)).status_code == 201
        before = highest(gateway)
        sent = await http.post(url, headers=JSON, content=body)
        assert sent.status_code == status, sent.text
        assert highest(gateway) - before < 24 * size
        if status == 204:
            assert (await http.get(url)).content == (body if body[:1] == b"[" else b"[%b]" % body)


SLOW = LimitSettings(body_idle_seconds=100, body_seconds=0.5)


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_a_body_has_a_time_to_arrive_however_steadily_it_comes(http: str) -> None:
    layered = Layered(SLOW)
    async with serving(layered.app, http=http) as port, connected(port) as (reader, writer):
        writer.write(get("/items/a", method="PUT", body=b"x" * 10_000)[:-10_000])
        # Up to the end of its JSON only: a byte that comes too late resets the connection.
        answering = asyncio.create_task(reader.readuntil(b"}"))
        while not answering.done():
            writer.write(b"x")
            await asyncio.sleep(0.02)
        answer = parse(await answering)
    assert answer.status == 408
    assert answer.problem()["detail"] == "A body has 0.5 seconds to arrive."
    assert layered.bodies == []


ROOM = LimitSettings(max_body_bytes=MEBIBYTE, max_total_body_bytes=2 * MEBIBYTE)


class Room:
    """Requests that hold bodies of a mebibyte, all but their last bytes sent."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asking: list[asyncio.Task[Answer]] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def ask(self, *, size: int = MEBIBYTE, most: int = 10) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(get("/items/a", method="PUT", body=b"x" * size)[:-most])
        self.writers.append(writer)
        self.asking.append(asyncio.create_task(self._read(reader)))

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        return parse(await reader.read())

    async def finish(self, index: int, *, most: int = 10) -> Answer:
        self.writers[index].write(b"x" * most)
        return await self.asking[index]

    async def __aenter__(self) -> Room:
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self.writers:
            writer.close()
        for task in self.asking:
            task.cancel()
        await asyncio.wait(self.asking)


async def until(met: Callable[[], bool]) -> None:
    while not met():
        await asyncio.sleep(0.005)


async def test_bodies_beyond_the_common_room_are_refused_and_small_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(incoming, "_PROMPT_SECONDS", 1000.0)
    layered = Layered(ROOM)
    counted = MEBIBYTE - 64 * 1024
    async with serving(layered.app) as port, Room(port) as room:
        for count in (1, 2):
            await room.ask()
            await until(lambda count=count: layered.room.held == count * counted - 10 * count)  # type: ignore[misc]
        answer = await exchange(port, get("/items/a", method="PUT", body=b"x" * MEBIBYTE))
        assert (answer.status, answer.header("retry-after")) == (503, "1")
        assert answer.problem()["type"] == "urn:workflow-streams:overloaded"
        assert answer.problem()["title"] == "The gateway takes no more bodies now"
        small = await exchange(port, get("/items/a", method="PUT", body=b"x" * 64 * 1024))
        assert small.status == 200
        # Those that are there come to their end, and make room.
        assert (await room.finish(0)).status == 200
        await until(lambda: layered.room.held == counted - 10)
        answer = await exchange(port, get("/items/a", method="PUT", body=b"x" * MEBIBYTE))
        assert answer.status == 200
        # So does one whose client leaves.
        room.writers[1].close()
        await until(lambda: layered.room.held == 0)
    assert layered.bodies == [64 * 1024, MEBIBYTE, MEBIBYTE]
    refused = "workflow_streams_requests_refused_total"
    assert layered.value(refused, reason="overloaded") == 1


async def test_a_body_that_comes_slowly_gives_way_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layered = Layered(ROOM)
    counted = MEBIBYTE - 64 * 1024 - 10
    async with serving(layered.app) as port, Room(port) as room:
        for count in (1, 2):
            await room.ask()
            await until(lambda count=count: layered.room.held == count * counted)  # type: ignore[misc]
        monkeypatch.setattr(incoming, "_PROMPT_SECONDS", 0.0)
        answer = await exchange(port, get("/items/a", method="PUT", body=b"x" * MEBIBYTE))
        assert answer.status == 200
        given_up = await room.asking[0]
        assert given_up.status == 408
        assert given_up.problem()["detail"].endswith("this one comes too slowly.")
        assert (await room.finish(1)).status == 200
        await until(lambda: layered.room.held == 0)


async def test_a_body_in_work_does_not_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is complete: its client could do nothing about it."""
    monkeypatch.setattr(incoming, "_PROMPT_SECONDS", 0.0)
    layered = Layered(ROOM)
    working = asyncio.Event()

    async def at_work(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/work":
            while (await receive()).get("more_body"):
                pass
            await working.wait()
        await layered.app.router(scope, receive, send)

    app = LimitMiddleware(at_work, ROOM, layered.connections, layered.room)
    async with serving(app) as port:
        asking = [
            asyncio.create_task(exchange(port, get("/work", method="PUT", body=b"x" * MEBIBYTE)))
            for _ in range(2)
        ]
        counted = MEBIBYTE - 64 * 1024
        await until(lambda: layered.room.held == 2 * counted and not layered.room.arriving)
        answer = await exchange(port, get("/items/a", method="PUT", body=b"x" * MEBIBYTE))
        assert answer.status == 503
        working.set()
        assert [(await one).status for one in asking] == [404, 404]
        await until(lambda: layered.room.held == 0)


def test_the_largest_body_has_room() -> None:
    with pytest.raises(UsageError, match="max_total_body_bytes"):
        LimitSettings(max_body_bytes=2, max_total_body_bytes=1)
