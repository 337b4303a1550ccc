"""Who asks too often is told to wait, and nobody else is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from temporalio.client import Client

from workflow_streams.errors import UsageError
from workflow_streams.gateway import GatewaySettings, LimitSettings, SecuritySettings, create_app
from workflow_streams.gateway import app as app_module
from workflow_streams.gateway.layers.rates import RateMiddleware, RequestRates
from workflow_streams.gateway.refusals import TooManyRequestsError
from workflow_streams.gateway.security import Secret

from .gated import JSON, SECRET, bearer, problem
from .layered import Layered
from .wire import Answer, exchange, get, serving

Unique = Callable[[str], str]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(rates: RequestRates, client: str, most: int = 1000) -> int:
    """How many requests a client may make now."""
    for count in range(most):
        try:
            rates.take(client)
        except TooManyRequestsError:
            return count
    return most


def test_a_bucket_holds_a_burst_and_fills_at_its_rate() -> None:
    clock = Clock()
    rates = RequestRates(4, 10, clock=clock)
    assert taken(rates, "a") == 10
    assert taken(rates, "a") == 0
    clock.now += 0.25
    assert taken(rates, "a") == 1
    clock.now += 1
    assert taken(rates, "a") == 4
    clock.now += 1000
    assert taken(rates, "a") == 10
    assert taken(rates, "b") == 10
    assert taken(rates, "") == 1000


def test_who_waits_as_long_as_it_is_told_gets_through() -> None:
    clock = Clock()
    for per_second in (0.1, 0.3, 1, 7, 1000):
        rates = RequestRates(per_second, 1, clock=clock)
        rates.take("a")
        with pytest.raises(TooManyRequestsError) as caught:
            rates.take("a")
        [(name, seconds)] = caught.value.headers
        assert name == "retry-after"
        assert int(seconds) == max(1, -(-1 // per_second))
        # To ask too early costs nothing.
        for _ in range(100):
            with pytest.raises(TooManyRequestsError):
                rates.take("a")
        clock.now += int(seconds)
        rates.take("a")


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=60),
    st.floats(0.1, 50),
    st.integers(1, 20),
)
def test_in_no_stretch_of_time_are_there_more_than_the_rate_and_a_burst(
    asked: list[tuple[str, float]], per_second: float, burst: int
) -> None:
    clock = Clock()
    rates = RequestRates(per_second, burst, clock=clock)
    times: dict[str, list[float]] = {}
    for client, pause in asked:
        clock.now += pause
        try:
            rates.take(client)
        except TooManyRequestsError:
            continue
        times.setdefault(client, []).append(clock.now)
    for made in times.values():
        for first in range(len(made)):
            for last in range(first, len(made)):
                most = burst + (made[last] - made[first]) * per_second
                assert last - first + 1 <= most + 1e-6


def test_the_table_is_bounded_and_forgets_those_that_have_been_silent() -> None:
    clock = Clock()
    rates = RequestRates(1, 5, most_clients=1000, clock=clock)
    assert taken(rates, "busy") == 5
    for number in range(100_000):
        rates.take(f"address 10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        assert rates.clients <= 1000
        if number % 900 == 0:
            clock.now += 1
            rates.take("busy")  # goes on, and is not forgotten
    assert taken(rates, "busy") == 0
    assert rates.clients > 500
    # When it is over, those who come later clear the table.
    clock.now += 100
    for number in range(1000):
        rates.take(f"later {number}")
        clock.now += 1
    assert rates.clients < 10


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_lets_nothing_through_or_all_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match="max_requests_per_second"):
        LimitSettings(max_requests_per_second=value)
    assert LimitSettings().max_requests_per_second is None


# In the layers


class Limited:
    """The layers' application behind the limit, for clients of any address."""

    def __init__(self, burst: int, **more: int) -> None:
        self.clock = Clock()
        self.rates = RequestRates(1, burst, clock=self.clock, **more)
        self.layered = Layered()
        self.layered.app.add_middleware(RateMiddleware, rates=self.rates)

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] == "http":
            told = dict(scope["headers"]).get(b"x-test-address", b"127.0.0.1").decode()
            scope["client"] = (told, 50_000) if told else None
        await self.layered.app(scope, receive, send)


async def ask(port: int, address: str, path: str = "/items/a") -> Answer:
    return await exchange(port, get(path, f"x-test-address: {address}"))


async def test_an_address_that_asks_too_often_is_refused_and_no_other() -> None:
    limited = Limited(3)
    async with serving(limited, http="httptools") as port:
        for address in ("192.0.2.1", "192.0.2.2"):
            assert [(await ask(port, address)).status for _ in range(3)] == [200] * 3
            refused = await ask(port, address)
            assert refused.status == 429
            assert refused.header("retry-after") == "1"
            assert refused.json()["type"] == "urn:workflow-streams:too-many-requests"
        assert (await ask(port, "192.0.2.1", "/healthz")).status == 200
        # A Unix socket has no address.
        assert [(await ask(port, "")).status for _ in range(9)] == [200] * 9
        # One who has a network to choose from is one.
        found = [(await ask(port, f"2001:db8::{number}")).status for number in range(1, 5)]
        assert found == [200, 200, 200, 429]
        limited.clock.now += 1
        assert (await ask(port, "192.0.2.1")).status == 200
        assert (await ask(port, "192.0.2.1")).status == 429


async def test_many_addresses_do_not_fill_the_memory() -> None:
    limited = Limited(3, most_clients=50)
    async with serving(limited, http="httptools") as port:
        for number in range(300):
            assert (await ask(port, f"10.0.{number >> 8}.{number & 255}")).status == 200
            assert limited.rates.clients <= 50


# In the whole gateway


@asynccontextmanager
async def gateway_with(
    client: Client, queue: str, **limits: float
) -> AsyncIterator[tuple[Starlette, Callable[..., httpx.AsyncClient]]]:
    settings = GatewaySettings(
        security=SecuritySettings(jwt_secret=Secret(SECRET)),
        limits=LimitSettings(**limits),  # type: ignore[arg-type]
        host_task_queue=queue,
    )
    app = create_app(client, settings)
    async with serving(app, lifespan="on") as port:

        def from_(address: str) -> httpx.AsyncClient:
            transport = httpx.AsyncHTTPTransport(local_address=address)
            base = f"http://127.0.0.1:{port}"
            return httpx.AsyncClient(base_url=base, transport=transport, timeout=100)

        yield app, from_


async def test_a_subject_counts_from_all_its_addresses_and_a_fork_once(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(
        app_module,
        "rates_of",
        lambda limits: RequestRates(1, limits.max_request_burst, clock=clock),
    )
    name = f"/v1/stream/{unique('rates')}"
    async with (
        gateway_with(client, unique("queue"), max_requests_per_second=1, max_request_burst=4) as (
            _,
            from_,
        ),
        from_("127.0.0.2") as one,
        from_("127.0.0.3") as other,
    ):
        for _ in range(3):  # counts for the address, not for a subject
            problem(await other.get(name), 401, "authentication-required")
        ann = bearer()
        assert (await one.put(name, headers={**ann, **JSON}, content="[1]")).status_code == 201
        fork = {**ann, **JSON, "stream-forked-from": name}
        assert (await one.put(f"{name}-fork", headers=fork)).status_code == 201
        assert (await one.get(name, headers=ann)).json() == [1]
        assert (await other.get(name, headers=ann)).json() == [1]
        # Each address has asked four times by now or less, and ann has.
        problem(await one.get(name, headers=ann), 429, "too-many-requests")
        clock.now += 1
        assert (await one.get(name, headers=bearer(sub="bob"))).json() == [1]
        assert (await other.get(name, headers=ann)).json() == [1]
        refused = await other.get("/v1/streams", headers=bearer(sub="bob"))
        problem(refused, 429, "too-many-requests")
        assert refused.headers["retry-after"] == "1"
        assert (await other.get("/readyz")).status_code == 200


async def test_by_default_there_is_no_limit(client: Client, unique: Unique) -> None:
    async with gateway_with(client, unique("queue")) as (_, from_), from_("127.0.0.1") as http:
        name = f"/v1/stream/{unique('rates')}"
        found = {(await http.get(name, headers=bearer())).status_code for _ in range(150)}
        assert found == {404}
