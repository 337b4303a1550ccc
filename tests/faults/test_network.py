"""The network is cut, stalls or loses answers: nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.service import RetryConfig

from workflow_streams import End, WorkflowStreamClient, errors
from workflow_streams.log import wire
from workflow_streams.log.batches import batch_payload, parse_signal
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload

from .conftest import FEW_ATTEMPTS, ONE_ATTEMPT
from .hosts import Host, hosting
from .network import Network
from .reading import Reader, reading


async def publish_signals(client: Client, workflow_id: str) -> list[int]:
    """Sequences of the batches in the history, in order."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    sequences = []
    for event in history.events:
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name == wire.PUBLISH_SIGNAL:
            batches = parse_signal(signal.input.payloads[0])
            assert isinstance(batches, list)
            sequences += [batch.sequence for batch in batches]
    return sequences


@asynccontextmanager
async def behind(
    network: Network, client: Client, workflow_id: str, retry: RetryConfig | None = ONE_ATTEMPT
) -> AsyncIterator[tuple[WorkflowStreamClient, Reader]]:
    """Publisher and reader behind the network; the reader follows to the end."""
    far = await Client.connect(network.address, retry_config=retry)
    stream = WorkflowStreamClient.create(far, workflow_id, batch_interval=timedelta(0))
    async with reading(stream) as reader:
        async with stream:
            yield stream, reader
        await client.get_workflow_handle(workflow_id).signal(Host.close)


@pytest.mark.parametrize("failure", [Network.cut, Network.stall, Network.lose_answers])
async def test_network_that_fails_and_comes_back_in_mid_stream(
    client: Client, unique: Any, network: Network, failure: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        near = WorkflowStreamClient.create(client, workflow_id)
        async with behind(network, client, workflow_id) as (far, reader):
            for outage in range(3):
                far.topic("far").publish(f"before {outage}")
                await near.topic("near").send(f"before {outage}")
                await reader.count(6 * outage + 2)
                failure(network)
                for name in ("first", "second"):
                    far.topic("far").publish(f"{name} {outage}")
                    await asyncio.sleep(0.02)
                for name in ("first", "second"):
                    await near.topic("near").send(f"{name} {outage}")
                network.restore()
                await far.flush()
                await reader.count(6 * outage + 6)
        each = [f"{name} {i}" for i in range(3) for name in ("before", "first", "second")]
        assert [e.data for e in reader.events if getattr(e, "topic", "") == "far"] == each
        assert [e.data for e in reader.events if getattr(e, "topic", "") == "near"] == each
        assert [offset for offset, _ in reader.items] == list(range(18))
        assert [type(e) for e in reader.events[18:]] == [End]
        assert [(i.offset, i.data) async for i in near.subscribe()] == reader.items


async def test_call_that_failed_after_it_got_through(
    client: Client, unique: Any, network: Network
) -> None:
    """The batch stands in the history twice, and in the stream once."""
    async with hosting(client, unique("host")) as workflow_id:
        async with behind(network, client, workflow_id) as (stream, reader):
            for value in range(3):
                await stream.topic("t").send(f"sent {value}")
                before = len(await publish_signals(client, workflow_id))
                network.lose_answers()
                sending = asyncio.create_task(stream.topic("t").send(f"doubted {value}"))
                while len(await publish_signals(client, workflow_id)) == before:
                    await asyncio.sleep(0.01)
                await network.until(lambda: network.lost > 0)
                network.restore()
                assert await sending == 2 * value + 1
        signals = await publish_signals(client, workflow_id)
        assert signals == [1, 2, 2, 3, 4, 4, 5, 6, 6]
        values = [f"{how} {value}" for value in range(3) for how in ("sent", "doubted")]
        assert reader.items == list(enumerate(values))


async def test_call_that_the_sdk_repeats_by_itself_counts_once(
    client: Client, unique: Any, network: Network
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        async with behind(network, client, workflow_id, retry=None) as (stream, reader):
            await stream.topic("t").send("sent")
            network.lose_answers()
            sending = asyncio.create_task(stream.topic("t").send("doubted"))
            while await publish_signals(client, workflow_id) != [1, 2]:
                await asyncio.sleep(0.01)
            await network.until(lambda: network.lost > 0)
            network.restore()
            assert await sending == 1
            stream.topic("t").publish("after")
        assert await publish_signals(client, workflow_id) == [1, 2, 3]
        assert reader.items == [(0, "sent"), (1, "doubted"), (2, "after")]


@pytest.mark.parametrize("failure", [Network.cut, Network.stall])
async def test_giving_up_is_bounded_with_all_that_the_sdk_tries_by_itself(
    client: Client, unique: Any, network: Network, failure: Any
) -> None:
    """Within one call the SDK tries again for 10 s, or waits 30 s for an answer."""
    async with hosting(client, unique("host")) as workflow_id:
        far = await Client.connect(network.address)
        stream = WorkflowStreamClient(
            far.get_workflow_handle(workflow_id),
            client=far,
            max_retry_duration=timedelta(seconds=1),
        )
        topic = stream.topic("t")
        async with stream:
            topic.publish("delivered")
            await stream.flush()
            failure(network)
            topic.publish("doubted")
            topic.publish("doubted, too")
            began = asyncio.get_running_loop().time()
            with pytest.raises(errors.PublishTimeoutError) as raised:
                await stream.flush()
            assert asyncio.get_running_loop().time() - began < 5
            assert raised.value.undelivered == 2
            assert isinstance(raised.value.__cause__, errors.ServerUnavailableError)
            network.restore()
            topic.publish("after")
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        near = WorkflowStreamClient.create(client, workflow_id)
        values = [item.data async for item in near.subscribe()]
        # What was given up may still have stood in the cable.
        assert raised.value.uncertain == 2
        assert values in (
            ["delivered", "after"],
            ["delivered", "doubted", "doubted, too", "after"],
        )


async def test_reader_that_catches_up_survives_a_cut(
    client: Client, unique: Any, network: Network
) -> None:
    """A history of several pages; the network is cut within the first, between, within the last."""
    entries = [entry_of("t", json_payload(b"%d" % value)) for value in range(1100)]
    async with hosting(client, unique("host")) as workflow_id:
        handle = client.get_workflow_handle(workflow_id)
        near = WorkflowStreamClient.create(client, workflow_id)
        async with asyncio.TaskGroup() as group:
            for entry in entries:
                message = RawValue(batch_payload([entry], "", 0))
                group.create_task(handle.signal(wire.PUBLISH_SIGNAL, message))
        await handle.signal(Host.close)
        whole = [(item.offset, item.data) async for item in near.subscribe()]

    async def read() -> list[tuple[int, object]]:
        far = await Client.connect(network.address, retry_config=FEW_ATTEMPTS)
        async with reading(WorkflowStreamClient.create(far, workflow_id)) as reader:
            pass
        return reader.items

    assert await read() == whole
    answers = network.passed
    for cuts, part in enumerate((0.1, 0.5, 0.9), 1):
        network.cut_after(int(part * answers))
        assert await read() == whole
        assert network.cuts == cuts
    assert [offset for offset, _ in whole] == list(range(1100))
    assert sorted(value for _, value in whole) == list(range(1100))
