"""What a publisher says of items that did not get through, to whom, and how it goes on."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCStatusCode

from workflow_streams import WorkflowStreamClient, errors
from workflow_streams.embedded.ports import free_port
from workflow_streams.publish import publisher, pump

from .cancelling import Cut, cancelled
from .conftest import FEW_ATTEMPTS
from .hosts import Host, hosting
from .network import Network
from .test_network import publish_signals

DENIED = RPCStatusCode.PERMISSION_DENIED


async def far_stream(network: Network, workflow_id: str, **how: Any) -> WorkflowStreamClient:
    far = await Client.connect(network.address, retry_config=FEW_ATTEMPTS)
    return WorkflowStreamClient(far.get_workflow_handle(workflow_id), client=far, **how)


async def refused(network: Network, stream: WorkflowStreamClient) -> None:
    """Wait until the server has refused a call of this stream, and the pump has ended."""
    network.denied = 0
    network.deny(DENIED)
    stream.topic("t").publish("refused", force_flush=True)
    while any(task.get_name().startswith("publish ") for task in asyncio.all_tasks()):
        await asyncio.sleep(0.001)


async def items_of(client: Client, workflow_id: str) -> list[tuple[int, Any]]:
    await client.get_workflow_handle(workflow_id).signal(Host.close)
    stream = WorkflowStreamClient.create(client, workflow_id)
    return [(item.offset, item.data) async for item in stream.subscribe()]


async def test_error_that_nobody_waited_for_is_told_by_the_next_publish_and_all_goes_on(
    client: Client, unique: Any, network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        async with await far_stream(network, workflow_id) as stream:
            topic = stream.topic("t")
            assert await topic.send("before") == 0
            await refused(network, stream)
            network.restore()
            with pytest.raises(errors.PublishError) as raised:
                topic.publish("not taken")
            assert (raised.value.undelivered, raised.value.uncertain) == (1, 0)
            assert "1 item(s) were not delivered" in caplog.text
            topic.publish("after")
            await stream.flush()
            assert await topic.send("at last") == 2
        assert await publish_signals(client, workflow_id) == [1, 3, 4]
        assert await items_of(client, workflow_id) == [
            (0, "before"),
            (1, "after"),
            (2, "at last"),
        ]


async def test_error_counts_what_was_under_way_and_what_was_buffered(
    client: Client, unique: Any, network: Network
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id, max_batch_size=4)
        for value in range(3):
            stream.topic("t").publish(value)
        await stream.flush()
        network.deny(DENIED)
        for value in range(10):
            stream.topic("t").publish(value)
        with pytest.raises(errors.PublishError) as raised:
            await stream.flush()
        assert raised.value.undelivered == 10
        network.restore()
        stream.topic("t").publish("after")
        await stream.flush()
        assert await items_of(client, workflow_id) == [(0, 0), (1, 1), (2, 2), (3, "after")]


async def test_all_who_wait_are_told_and_nobody_else(
    client: Client, unique: Any, network: Network
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        async with await far_stream(network, workflow_id) as stream:
            topic = stream.topic("t")
            await topic.send("before")
            network.deny(DENIED)
            topic.publish("lost")
            found = await asyncio.gather(
                stream.flush(), stream.flush(), topic.send("lost"), return_exceptions=True
            )
            assert all(isinstance(error, errors.WorkflowStreamError) for error in found)
            assert isinstance(found[0], errors.PublishError)
            assert found[0] is found[1]
            network.restore()
            topic.publish("after")
        assert await items_of(client, workflow_id) == [(0, "before"), (1, "after")]


async def test_error_is_not_lost_with_the_only_one_who_waited_for_it(
    client: Client, unique: Any, network: Network
) -> None:
    """He is cancelled in the very moment in which the error comes."""
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)
        network.deny(DENIED)
        stream.topic("t").publish("lost")
        assert await cancelled(Cut("arriving", 0), stream.flush)
        network.restore()
        with pytest.raises(errors.PublishError) as raised:
            await stream.flush()
        assert raised.value.undelivered == 1
        stream.topic("t").publish("after")
        await stream.flush()
        assert await items_of(client, workflow_id) == [(0, "after")]


async def test_error_is_noted_on_the_exception_that_leaves_the_block(
    client: Client, unique: Any, network: Network
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)
        network.deny(DENIED)
        with pytest.raises(KeyError) as raised:
            async with stream:
                stream.topic("t").publish(1)
                stream.topic("t").publish(2)
                raise KeyError("the block's own")
        [note] = raised.value.__notes__
        assert workflow_id in note
        assert "2 item(s) were not delivered" in note
        network.restore()
        async with stream:
            stream.topic("t").publish("after")
        assert await items_of(client, workflow_id) == [(0, "after")]


async def test_pump_that_breaks_tells_those_who_wait(
    client: Client, unique: Any, network: Network
) -> None:
    """A filter of the user's logging raises where the publisher logs."""

    def broken(record: logging.LogRecord) -> bool:
        raise ZeroDivisionError("broken filter")

    logger = logging.getLogger("workflow_streams")
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)
        network.cut()
        logger.addFilter(broken)
        try:
            stream.topic("t").publish("lost")
            with pytest.raises(errors.PublishError, match="broken filter") as raised:
                await stream.flush()
        finally:
            logger.removeFilter(broken)
        assert raised.value.undelivered == 1
        assert isinstance(raised.value.__cause__, ZeroDivisionError)
        network.restore()
        stream.topic("t").publish("after")
        await stream.flush()
        assert await items_of(client, workflow_id) == [(0, "after")]


@pytest.mark.parametrize("turns", [0, 1, 5, 50])
async def test_pump_that_somebody_cancels_does_not_cancel_those_who_wait(
    client: Client, unique: Any, network: Network, turns: int
) -> None:
    """Some frameworks cancel every task there is."""
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)
        network.stall()
        stream.topic("t").publish("lost")
        flushing = asyncio.create_task(stream.flush())
        await asyncio.sleep(0)
        [pump] = [t for t in asyncio.all_tasks() if t.get_name().startswith("publish ")]
        for _ in range(turns):
            await asyncio.sleep(0)
        pump.cancel()
        with pytest.raises(errors.PublishError, match="cancelled") as raised:
            await flushing
        assert raised.value.undelivered == 1
        assert pump.cancelled()
        network.restore()
        stream.topic("t").publish("after")
        await stream.flush()
        found = await items_of(client, workflow_id)
        assert [data for _, data in found if data != "lost"] == ["after"]
        assert len(found) <= 1 + raised.value.uncertain


async def test_leaving_by_cancellation_delivers_first(
    client: Client, unique: Any, network: Network
) -> None:
    """The network is back within the grace; the exception says nothing of a loss."""
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)

        async def block() -> None:
            async with stream:
                await stream.topic("t").send("before")
                network.stall()
                for value in range(3):
                    stream.topic("t").publish(value)
                await asyncio.Event().wait()

        task = asyncio.create_task(block())
        while network.passed == 0 or stream._publisher.undelivered < 3:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        network.restore()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        assert not hasattr(raised.value, "__notes__")
        expected = [(0, "before"), (1, 0), (2, 1), (3, 2)]
        assert await items_of(client, workflow_id) == expected


async def stalled_exit(network: Network, stream: WorkflowStreamClient) -> asyncio.Task[None]:
    """A task that is leaving its block, with two items that cannot be delivered."""
    await stream.flush()

    async def block() -> None:
        async with stream:
            await stream.topic("t").send("before")
            network.stall()
            stream.topic("t").publish("lost")
            stream.topic("t").publish("lost, too")

    task = asyncio.create_task(block())
    while stream._publisher._phase is not publisher._Phase.LEAVING:
        await asyncio.sleep(0.001)
    return task


async def test_second_cancellation_of_an_exit_ends_it_at_once_and_the_rest_is_sent_on(
    client: Client, unique: Any, network: Network
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)
        task = await stalled_exit(network, stream)
        task.cancel()
        await asyncio.sleep(0.02)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        [note] = raised.value.__notes__
        assert "2 item(s) are not delivered yet" in note
        network.restore()
        async with stream:
            stream.topic("t").publish("after")
        found = [data for _, data in await items_of(client, workflow_id)]
        assert found == ["before", "lost", "lost, too", "after"]


async def test_grace_after_a_cancellation_is_bounded(
    client: Client, unique: Any, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "GRACE_SECONDS", 0.1)
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)
        task = await stalled_exit(network, stream)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        assert "2 item(s) were not delivered" in raised.value.__notes__[0]


async def test_block_under_a_time_limit_ends_with_it(
    client: Client, unique: Any, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pump, "GRACE_SECONDS", 0.1)
    async with hosting(client, unique("host")) as workflow_id:
        stream = await far_stream(network, workflow_id)
        with pytest.raises(TimeoutError) as raised:
            async with asyncio.timeout(None) as limit, stream:
                await stream.topic("t").send("before")
                network.stall()
                stream.topic("t").publish("lost")
                limit.reschedule(asyncio.get_running_loop().time() + 0.5)
                await stream.flush()
        assert "1 item(s) were not delivered" in raised.value.__cause__.__notes__[0]


async def test_cancelled_flush_stops_trying(client: Client, unique: Any) -> None:
    """Outside of a block nothing runs on that nobody waits for; the item stays in the buffer."""
    far = await Client.connect(f"127.0.0.1:{free_port()}", lazy=True)
    stream = WorkflowStreamClient.create(far, unique("nobody"))
    stream.topic("t").publish("kept")
    flushing = asyncio.create_task(stream.flush())
    await asyncio.sleep(0.05)
    flushing.cancel()
    await asyncio.wait([flushing])
    async with asyncio.timeout(100):
        while any(task.get_name().startswith("publish ") for task in asyncio.all_tasks()):
            await asyncio.sleep(0.001)
    with pytest.warns(ResourceWarning, match=r"1 item\(s\)"):
        del stream, flushing


async def test_flush_with_nothing_to_flush_returns_at_once(client: Client, unique: Any) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(
            client, workflow_id, batch_interval=timedelta(seconds=100)
        )
        async with asyncio.timeout(100):
            await stream.flush()
            async with stream:
                await stream.flush()
                stream.topic("t").publish("first")
                await stream.flush()
                await stream.flush()
                stream.topic("t").publish("second")
                await stream.flush()
        assert await items_of(client, workflow_id) == [(0, "first"), (1, "second")]


async def test_second_block_at_the_same_time_is_refused(client: Client, unique: Any) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        async with WorkflowStreamClient.create(client, workflow_id) as stream:
            with pytest.raises(errors.UsageError, match="already in use"):
                async with stream:
                    pass
            stream.topic("t").publish("first")
        async with stream:
            stream.topic("t").publish("second")
        assert await items_of(client, workflow_id) == [(0, "first"), (1, "second")]
