"""A server that stays away from readers: the log says since when, and who asks is told in time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from workflow_streams import WorkflowStreamClient, errors
from workflow_streams.read.history import outage

from .conftest import ONE_ATTEMPT
from .hosts import Host, hosting
from .network import Network
from .reading import reading

SHORT = timedelta(milliseconds=300)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "TELL_SECONDS", 0.2)


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What the log says of outages that last."""
    return [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if " has failed for " in record.getMessage() or " goes on after " in record.getMessage()
    ]


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):
        while not met():
            await asyncio.sleep(0.01)


async def until_told(caplog: pytest.LogCaptureFixture, times: int) -> None:
    await until(lambda: len(told(caplog)) >= times)


async def test_outage_that_lasts_is_a_warning_once_for_all_readers_and_its_end_is_told(
    client: Client,
    unique: Any,
    network: Network,
    soon: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "workflow_streams")
    far = await Client.connect(network.address, retry_config=ONE_ATTEMPT)
    async with hosting(client, unique("host")) as workflow_id:
        near = WorkflowStreamClient.create(client, workflow_id)
        stream = WorkflowStreamClient.create(far, workflow_id)
        async with reading(stream) as one, reading(stream) as other:
            for episode in range(2):
                await near.topic("t").send(episode)
                await one.count(episode + 1)
                await other.count(episode + 1)
                network.cut()
                await until_told(caplog, 2 * episode + 1)
                await asyncio.sleep(0.2)
                network.restore()
                await until_told(caplog, 2 * episode + 2)
            await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert one.items == other.items == [(0, 0), (1, 1)]
        levels = [level for level, _ in told(caplog)]
        assert levels == ["WARNING", "INFO", "WARNING", "INFO"]
        texts = [text for _, text in told(caplog)]
        assert all(f"Reading workflow {workflow_id!r} " in text for text in texts)
        assert ", since 20" in texts[0]


async def test_short_failure_is_no_warning(
    client: Client, unique: Any, network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "workflow_streams")
    far = await Client.connect(network.address, retry_config=ONE_ATTEMPT)
    async with hosting(client, unique("host")) as workflow_id:
        near = WorkflowStreamClient.create(client, workflow_id)
        async with reading(WorkflowStreamClient.create(far, workflow_id)) as reader:
            await near.topic("t").send("before")
            await reader.count(1)
            network.cut()
            await until(lambda: "is retried" in caplog.text)
            network.restore()
            await near.topic("t").send("after")
            await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert [data for _, data in reader.items] == ["before", "after"]
        # On a slow machine, too: what is told of it is told in full.
        assert [level for level, _ in told(caplog)] in ([], ["WARNING", "INFO"])


async def test_reader_with_a_limit_is_told_of_an_outage_and_may_go_on(
    client: Client, unique: Any, network: Network
) -> None:
    far = await Client.connect(network.address, retry_config=ONE_ATTEMPT)
    async with hosting(client, unique("host")) as workflow_id:
        near = WorkflowStreamClient.create(client, workflow_id)
        stream = WorkflowStreamClient.create(far, workflow_id)
        items = stream.topic("t").subscribe(max_outage=SHORT)
        patient = asyncio.create_task(anext(stream.subscribe(from_offset=1)))
        await near.topic("t").send("before")
        assert (await anext(items)).data == "before"
        # Without an outage, a step may take longer than that.
        waiting = asyncio.create_task(anext(items))
        await asyncio.wait([waiting], timeout=3 * SHORT.total_seconds())
        assert not waiting.done()
        network.cut()
        with pytest.raises(errors.ServerUnavailableError, match=r"failed for 0\.3 s") as raised:
            await waiting
        assert raised.value.__cause__ is not None
        with pytest.raises(errors.ServerUnavailableError):
            await anext(items)
        assert not patient.done()
        network.restore()
        await near.topic("t").send("after")
        while True:
            try:
                item = await anext(items)
                break
            except errors.ServerUnavailableError:
                pass
        assert (item.offset, item.data) == (1, "after")
        assert (await patient).data == "after"
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        assert [item async for item in items] == []
