"""However often it is asked whether the gateway is ready, Temporal is asked once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest
from temporalio.client import Client

from workflow_streams.gateway import GatewaySettings, create_app
from workflow_streams.gateway.telemetry.readiness import Readiness
from workflow_streams.gateway.temporal.link import TemporalLink

from .wire import serving

Unique = Callable[[str], str]


class Asked:
    """What is asked, and the clock by which answers grow old."""

    def __init__(self) -> None:
        self.calls = 0
        self.now = 100.0
        self.answer: bool | Exception = True
        self.go = asyncio.Event()
        self.go.set()
        self.readiness = Readiness(self.ask, clock=lambda: self.now)

    async def ask(self) -> bool:
        self.calls += 1
        await self.go.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("answer", [True, False])
async def test_an_answer_holds_for_a_second(answer: bool) -> None:
    asked = Asked()
    asked.answer = answer
    assert [await asked.readiness.is_ready() for _ in range(1000)] == [answer] * 1000
    assert asked.calls == 1
    asked.now += 0.99
    assert await asked.readiness.is_ready() is answer
    assert asked.calls == 1
    asked.now += 0.02
    asked.answer = not answer
    assert await asked.readiness.is_ready() is not answer
    assert asked.calls == 2


async def test_those_who_ask_at_once_share_a_call() -> None:
    asked = Asked()
    asked.go.clear()
    asking = [asyncio.create_task(asked.readiness.is_ready()) for _ in range(1000)]
    await asyncio.sleep(0)
    asked.now += 10  # a call that takes long is still the only one
    asking += [asyncio.create_task(asked.readiness.is_ready()) for _ in range(1000)]
    await asyncio.sleep(0)
    # Who leaves takes nobody with it, the first one neither.
    for task in asking[:500]:
        task.cancel()
    await asyncio.wait(asking[:500])
    asked.go.set()
    assert await asyncio.gather(*asking[500:]) == [True] * 1500
    assert asked.calls == 1


async def test_a_fault_is_no_readiness_and_is_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    asked = Asked()
    asked.answer = LookupError("odd")
    assert await asked.readiness.is_ready() is False
    assert "odd" in caplog.text
    asked.now += 2
    asked.answer = True
    assert await asked.readiness.is_ready() is True


async def test_a_call_under_way_ends_with_the_application() -> None:
    asked = Asked()
    asked.go.clear()
    waiting = asyncio.create_task(asked.readiness.is_ready())
    await asyncio.sleep(0)
    await asked.readiness.aclose()
    assert await waiting is False
    await asked.readiness.aclose()


async def test_a_flood_of_readyz_asks_temporal_once(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    is_ready = TemporalLink.is_ready

    async def counting(link: TemporalLink, seconds: float) -> bool:
        nonlocal calls
        calls += 1
        return await is_ready(link, seconds)

    monkeypatch.setattr(TemporalLink, "is_ready", counting)
    app = create_app(client, GatewaySettings(host_task_queue=unique("queue")))
    now = 0.0
    app.state.gateway.readiness = Readiness(
        lambda: app.state.gateway.link.is_ready(2.0), clock=lambda: now
    )
    async with (
        serving(app, lifespan="on") as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=100) as http,
    ):
        flood = await asyncio.gather(*(http.get("/readyz") for _ in range(200)))
        assert {answer.status_code for answer in flood} == {200}
        assert calls == 1
        now += 1.5
        assert (await http.get("/readyz")).json() == {"status": "ready"}
        assert calls == 2
        # That the process is about to end is told at once.
        app.state.gateway.close_viewers()
        assert (await http.get("/readyz")).status_code == 503
        assert calls == 2
