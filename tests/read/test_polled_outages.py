"""Polls of a contrib's host that keep failing are an outage, as failing reads of a history are."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowUpdateHandle, WorkflowUpdateStage

from tests.faults.conftest import ONE_ATTEMPT, network  # noqa: F401
from tests.faults.network import Network
from workflow_streams import WorkflowStreamClient, errors
from workflow_streams.log import wire
from workflow_streams.read.history import outage
from workflow_streams.read.runs.polled import calls

from .contrib_hosts import ContribHost
from .test_contrib import contrib_hosting, publish

SHORT = timedelta(milliseconds=300)
UPDATES_IN_FLIGHT = 10


def told(caplog: pytest.LogCaptureFixture, *about: str) -> list[str]:
    """The levels of what the log says of outages."""
    return [
        record.levelname
        for record in caplog.records
        if any(text in record.getMessage() for text in (" has failed for ", " goes on after "))
        and all(text in record.getMessage() for text in about)
    ]


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not met():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def others_waiting(client: Client, name: str) -> AsyncIterator[None]:
    """As many polls of other readers as the server lets wait, until something is published."""
    handle = client.get_workflow_handle(name)
    waiting: list[WorkflowUpdateHandle[Any]] = [
        await handle.start_update(
            wire.POLL,
            wire.PollInput([], 1),
            id=f"other-{number}",
            wait_for_stage=WorkflowUpdateStage.ACCEPTED,
        )
        for number in range(UPDATES_IN_FLIGHT)
    ]
    yield
    await asyncio.gather(*(update.result() for update in waiting))


async def test_polls_that_the_server_refuses_are_told_and_end_a_step_with_a_limit(
    client: Client, unique: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "TELL_SECONDS", 0.2)
    caplog.set_level(logging.INFO, "workflow_streams")
    name = unique("busy")
    async with contrib_hosting(client, name) as handle:
        await publish(client, name, "a")
        address = client.service_client.config.target_host
        impatient = await Client.connect(address, retry_config=ONE_ATTEMPT)
        stream = WorkflowStreamClient.create(impatient, name)
        async with others_waiting(client, name):
            items = stream.subscribe(from_offset=1, max_outage=SHORT)
            with pytest.raises(errors.ServerUnavailableError, match=r"failed for 0\.3 s") as raised:
                await anext(items)
            assert raised.value.__cause__ is not None
            patient = asyncio.create_task(anext(stream.subscribe(from_offset=1)))
            await until(lambda: told(caplog, name) == ["WARNING"])
            with pytest.raises(errors.ServerUnavailableError):
                await anext(items)
            assert not patient.done()
            await publish(client, name, "b")
            assert (await patient).data == "b"
        # With room for its poll again, nothing is left of the outage.
        await until(lambda: told(caplog, name) == ["WARNING", "INFO"])
        again = stream.subscribe(from_offset=1, max_outage=SHORT)
        assert (await anext(again)).data == "b"
        waiting = asyncio.create_task(anext(again))
        await asyncio.wait([waiting], timeout=2 * SHORT.total_seconds())
        assert not waiting.done()
        await publish(client, name, "c")
        assert (await waiting).data == "c"
        await handle.signal(ContribHost.order, "finish")
        assert [item async for item in again] == []
        assert told(caplog, name) == ["WARNING", "INFO"]


async def test_a_lost_connection_is_told_once_though_both_polls_and_history_fail(
    client: Client,
    unique: Any,
    network: Network,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "TELL_SECONDS", 0.2)
    caplog.set_level(logging.INFO, "workflow_streams")
    name = unique("far")
    far = await Client.connect(network.address, retry_config=ONE_ATTEMPT)
    async with contrib_hosting(client, name) as handle:
        await publish(client, name, "a")
        items = WorkflowStreamClient.create(far, name).subscribe(max_outage=SHORT)
        assert (await anext(items)).data == "a"
        network.cut()
        with pytest.raises(errors.ServerUnavailableError):
            await anext(items)
        await until(lambda: told(caplog, name) == ["WARNING"])
        await asyncio.sleep(4 * outage.TELL_SECONDS)
        network.restore()
        await publish(client, name, "b")
        while True:
            try:
                assert (await anext(items)).data == "b"
                break
            except errors.ServerUnavailableError:
                pass
        await handle.signal(ContribHost.order, "finish")
        assert [item async for item in items] == []
        assert told(caplog, name) == ["WARNING", "INFO"]


async def test_a_closed_stream_whose_server_is_lost_while_it_is_asked_ends_a_step_with_a_limit(
    client: Client,
    unique: Any,
    network: Network,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "workflow_streams")
    name = unique("closed")
    far = await Client.connect(network.address, retry_config=ONE_ATTEMPT)
    async with contrib_hosting(client, name) as handle:
        await publish(client, name, "a")
        await handle.signal(ContribHost.order, "finish")
        await handle.result()
    # No worker is left, so the query waits for one.
    items = WorkflowStreamClient.create(far, name).subscribe(max_outage=SHORT)
    step = asyncio.create_task(anext(items))
    await until(lambda: f"Asking workflow {name!r} is retried" in caplog.text)
    assert not step.done()
    network.cut()
    with pytest.raises(errors.ServerUnavailableError, match=r"failed for 0\.3 s"):
        await step
    await items.aclose()
    assert SHORT.total_seconds() < calls.QUERY_SECONDS
