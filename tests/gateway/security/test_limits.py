"""What is over a limit is refused in the right words, and costs nobody else anything."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from workflow_streams.errors import UsageError
from workflow_streams.gateway.layers.limit_settings import LimitSettings
from workflow_streams.gateway.layers.limits import ConnectionLimits, network_of
from workflow_streams.gateway.refusals import OverloadedError, TooManyConnectionsError

from .layered import Layered
from .wire import Answer, connected, exchange, get, parse, serving

SMALL = LimitSettings(
    max_url_bytes=100,
    max_header_bytes=300,
    max_headers=8,
    max_body_bytes=1000,
    body_idle_seconds=0.5,
    max_connections=4,
    max_connections_per_client=3,
)
HTTP = ["h11", "httptools"]


@pytest.mark.parametrize("http", HTTP)
async def test_the_url_may_be_as_long_as_its_limit(http: str) -> None:
    layered = Layered(SMALL)
    async with serving(layered.app, http=http) as port:
        path = "/items/" + "x" * 93
        assert (await exchange(port, get(path))).status == 200
        answer = await exchange(port, get(path + "x"))
        assert answer.status == 414
        assert answer.problem()["type"] == "urn:workflow-streams:url-too-long"
        query = "/items/x?" + "y" * 92
        assert (await exchange(port, get(query))).status == 200
        assert (await exchange(port, get(query + "y"))).status == 414
        # Counted as it was sent, not as it is decoded.
        assert (await exchange(port, get("/items/" + "%41" * 32))).status == 414


@pytest.mark.parametrize("http", HTTP)
async def test_header_fields_may_be_as_many_and_as_large_as_their_limits(http: str) -> None:
    layered = Layered(SMALL)
    base = len("host") + len("127.0.0.1") + len("connection") + len("close")
    async with serving(layered.app, http=http) as port:
        fits = "x: " + "y" * (300 - base - 1)
        assert (await exchange(port, get("/items/a", fits))).status == 200
        answer = await exchange(port, get("/items/a", fits + "y"))
        assert answer.status == 431
        assert answer.problem()["type"] == "urn:workflow-streams:headers-too-large"
        assert (await exchange(port, get("/items/a", *["x: y"] * 6))).status == 200
        assert (await exchange(port, get("/items/a", *["x: y"] * 7))).status == 431


@pytest.mark.parametrize("http", HTTP)
async def test_a_body_may_be_as_large_as_its_limit(http: str) -> None:
    layered = Layered(SMALL)
    async with serving(layered.app, http=http) as port:
        assert (await exchange(port, get("/items/a", method="PUT", body=b"x" * 1000))).status == 200
        answer = await exchange(port, get("/items/a", method="PUT", body=b"x" * 1001))
        assert answer.status == 413
        assert answer.problem()["type"] == "urn:workflow-streams:body-too-large"
        assert answer.header("connection") == "close"
    assert layered.bodies == [1000]


def chunked(*parts: bytes, end: bool = True) -> bytes:
    head = b"POST /items/a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
    return head + chunks + (b"0\r\n\r\n" if end else b"")


@pytest.mark.parametrize("http", HTTP)
async def test_a_body_that_does_not_say_its_size_is_counted(http: str) -> None:
    layered = Layered(SMALL)
    async with serving(layered.app, http=http) as port:
        answer = await exchange(port, chunked(b"x" * 600, b"x" * 401))
        assert answer.status == 413
        # Without an end: the answer comes all the same.
        assert (await exchange(port, chunked(*[b"x" * 600] * 9, end=False))).status == 413
    assert layered.bodies == []


@pytest.mark.parametrize("http", HTTP)
async def test_the_answer_to_a_body_far_over_the_limit_is_read_by_its_client(http: str) -> None:
    limits = LimitSettings(max_body_bytes=1_000_000)
    layered = Layered(limits)
    async with serving(layered.app, http=http) as port:
        # The client reads only when it has sent all, as simple ones do.
        for raw in (get("/items/a", method="PUT", body=b"x" * 1_900_000),
                    chunked(*[b"x" * 100_000] * 19)):  # fmt: skip
            answer = await exchange(port, raw)
            assert answer.status == 413
            assert answer.problem()["status"] == 413


@pytest.mark.parametrize("http", HTTP)
async def test_a_body_that_stops_coming_is_given_up(http: str) -> None:
    layered = Layered(SMALL)
    async with serving(layered.app, http=http) as port:
        answer = await exchange(port, get("/items/a", method="PUT", body=b"x" * 100)[:-50])
        assert answer.status == 408
        assert answer.problem()["type"] == "urn:workflow-streams:body-timeout"
    assert layered.bodies == []


async def test_a_request_without_a_body_may_take_its_time() -> None:
    layered = Layered(SMALL)
    async with serving(layered.app) as port:
        asking = asyncio.create_task(exchange(port, get("/wait/a")))
        await asyncio.sleep(2 * SMALL.body_idle_seconds)
        assert not asking.done()
        layered.release.set()
        assert (await asking).body == b"waited"


async def open_wait(port: int) -> asyncio.StreamWriter:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(get("/wait/a"))
    return writer


async def until(met: object) -> None:
    assert callable(met)
    while not met():
        await asyncio.sleep(0.005)


async def test_one_client_has_its_connections_and_no_more() -> None:
    layered = Layered(SMALL)
    async with serving(layered.app) as port:
        waiting = [await open_wait(port) for _ in range(3)]
        await until(lambda: layered.connections.open == 3)
        answer = await exchange(port, get("/items/a"))
        assert answer.status == 429
        assert answer.problem()["type"] == "urn:workflow-streams:too-many-connections"
        assert answer.header("retry-after") == "5"
        # Health and metrics answer all the same; a stream of such a name does not.
        assert (await exchange(port, get("/healthz"))).status == 200
        assert (await exchange(port, get("/metrics"))).status == 200
        assert (await exchange(port, get("/items/healthz"))).status == 429
        waiting.pop().close()
        layered.release.set()
        await until(lambda: layered.connections.open == 0)
        assert (await exchange(port, get("/items/a"))).status == 200
        for writer in waiting:
            writer.close()
    assert layered.connections.count_of("address 127.0.0.1") == 0


async def test_all_clients_together_have_the_gateways_connections_and_no_more() -> None:
    layered = Layered(LimitSettings(max_connections=2, max_connections_per_client=9))
    async with serving(layered.app) as port:
        waiting = [await open_wait(port) for _ in range(2)]
        await until(lambda: layered.connections.open == 2)
        answer = await exchange(port, get("/items/a"))
        assert answer.status == 503
        assert answer.problem()["type"] == "urn:workflow-streams:overloaded"
        assert answer.header("retry-after") == "5"
        layered.release.set()
        await until(lambda: layered.connections.open == 0)
        assert (await exchange(port, get("/items/a"))).status == 200
        for writer in waiting:
            writer.close()
    refused = "workflow_streams_requests_refused_total"
    assert layered.value(refused, reason="overloaded") == 1


async def test_connections_that_come_and_go_leave_nothing_behind() -> None:
    layered = Layered(LimitSettings(max_connections_per_client=1))
    async with serving(layered.app) as port:
        for _ in range(50):
            assert (await exchange(port, get("/items/a"))).status == 200
            # One that leaves in the middle of its request.
            async with connected(port) as (_, writer):
                writer.write(get("/items/a", method="PUT", body=b"x" * 100)[:-50])
                await until(lambda: layered.connections.open == 1)
                writer.close()
                await until(lambda: layered.connections.open == 0)
    assert layered.connections.count_of("address 127.0.0.1") == 0


def test_connections_are_given_back_whatever_happens() -> None:
    limits = ConnectionLimits(SMALL)
    with pytest.raises(LookupError), limits.connection("192.0.2.1"):
        raise LookupError
    assert (limits.open, limits.count_of("address 192.0.2.1")) == (0, 0)
    with ExitStack() as open_:
        for _ in range(3):
            open_.enter_context(limits.of_client("subject ann"))
        with pytest.raises(TooManyConnectionsError), limits.of_client("subject ann"):
            raise AssertionError
        with limits.of_client("subject bob"), limits.of_client(""), limits.of_client(""):
            assert limits.open == 0
    assert limits.count_of("subject ann") == 0
    with ExitStack() as open_:
        for _ in range(4):
            open_.enter_context(limits.connection(None))
        with pytest.raises(OverloadedError), limits.connection("192.0.2.1"):
            raise AssertionError
    assert limits.open == 0


def test_clients_that_have_left_take_no_memory() -> None:
    limits = ConnectionLimits(SMALL)
    for i in range(1000):
        with limits.connection(f"192.0.2.{i}"), limits.of_client(f"subject {i}"):
            assert limits.clients == 2
    assert limits.clients == 0


def test_an_ipv6_client_is_its_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") == "2001:db8::/64"
    assert network_of("2001:db8:0:1::1") == "2001:db8:0:1::/64"
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("testclient") == "testclient"


@pytest.mark.parametrize("name", ["max_url_bytes", "body_idle_seconds", "max_connections"])
def test_a_limit_that_lets_nothing_through_is_refused(name: str) -> None:
    for value in (0, -1):
        with pytest.raises(UsageError, match=name):
            LimitSettings(**{name: value})


def test_an_answer_is_parsed_as_it_is_sent() -> None:
    raw = b"HTTP/1.1 200 OK\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    assert parse(raw) == Answer(200, {"a": ["b"], "transfer-encoding": ["chunked"]}, b"abc")
