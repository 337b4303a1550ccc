"""What is acknowledged stands in the stream, at the offset that is told, and is waited for."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import Client

from workflow_streams import WorkflowStreamClient
from workflow_streams.log.publisher_ids import ActivityPublisher, Attempt
from workflow_streams.read.feeds.lookup import feed_of
from workflow_streams.read.runs.source import WorkflowSource

from .codecs import Holding, with_codec
from .conftest import ONE_ATTEMPT
from .hosts import Host, HostInput, hosting
from .network import Network
from .test_network import publish_signals

BUSY_SECONDS = 0.5


async def test_offset_counts_what_the_server_holds_back_while_a_task_runs(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        handle = client.get_workflow_handle(workflow_id)
        stream = WorkflowStreamClient.create(client, workflow_id)
        assert await stream.topic("t").send("first") == 0
        for head in (2, 3):
            await handle.signal(Host.work, BUSY_SECONDS)
            stream.topic("t").publish("held back")
            await stream.flush()
            assert await stream.get_offset() == head
        await handle.signal(Host.close)


async def test_offset_counts_what_is_flushed_while_the_codec_holds_its_page_up(
    client: Client, unique: Any
) -> None:
    """Two batches come in one page. The first is folded, the second waits for the codec."""
    codec = Holding(b"held")
    far = await Client.connect(
        client.service_client.config.target_host, data_converter=with_codec(codec)
    )
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(far, workflow_id)
        other = WorkflowStreamClient.create(client, workflow_id)
        assert await stream.topic("t").send("first") == 0
        await client.get_workflow_handle(workflow_id).signal(Host.work, BUSY_SECONDS)
        stream.topic("t").publish("flushed")
        await stream.flush()
        other.topic("held").publish("of another")
        await other.flush()
        asking = asyncio.create_task(stream.get_offset())
        await codec.holds.wait()
        await asyncio.wait([asking], timeout=0.5)
        codec.released.set()
        assert await asking in (2, 3)


async def test_send_keeps_the_verdict_on_what_stands_when_a_copy_of_it_is_fenced(
    client: Client, unique: Any, network: Network
) -> None:
    """The batch arrives, its answer does not. A newer attempt publishes, then the copy comes."""
    far = await Client.connect(network.address, retry_config=ONE_ATTEMPT)
    async with hosting(client, unique("host")) as workflow_id:
        older, newer = (
            WorkflowStreamClient(
                c.get_workflow_handle(workflow_id),
                client=c,
                _activity=ActivityPublisher("run", "activity", Attempt(number, number)),
            )
            for number, c in enumerate((far, client), 1)
        )
        assert await older.topic("t").send("first") == 0
        network.lose_answers()
        sending = asyncio.create_task(older.topic("t").send("stands"))
        while await publish_signals(client, workflow_id) != [1, 2]:
            await asyncio.sleep(0.01)
        await newer.topic("t").send("anew")
        await network.until(lambda: network.lost > 0)
        network.restore()
        assert await sending == 1
        # Those of the newer attempt are the announcement and the item.
        assert await publish_signals(client, workflow_id) == [1, 2, 1, 2, 2]
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        found = [(item.offset, item.data) async for item in newer.subscribe()]
        assert found == [(0, "first"), (1, "stands"), (2, "anew")]


async def test_offset_of_a_workflow_started_anew_under_the_same_id(
    client: Client, unique: Any
) -> None:
    """The new one knows nothing of what the client has published to the old one."""
    name = unique("host")
    async with hosting(client, name):
        stream = WorkflowStreamClient.create(client, name)
        for value in range(3):
            await stream.topic("t").send(value)
        await client.get_workflow_handle(name).terminate()
        await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
        async with asyncio.timeout(100):
            assert await WorkflowStreamClient.create(client, name).get_offset() == 0
            assert await stream.get_offset() == 0
            assert await stream.topic("t").send("anew") == 0
        await client.get_workflow_handle(name).signal(Host.close)
        assert [(i.offset, i.data) async for i in stream.subscribe()] == [(0, "anew")]


async def test_send_right_after_the_workflow_was_started_anew_learns_the_new_offset(
    client: Client, unique: Any
) -> None:
    """The reader behind it is still with the one before, and sees only its end."""
    name = unique("host")
    async with hosting(client, name):
        stream = WorkflowStreamClient.create(client, name)
        for generation in range(3):
            for value in range(generation + 1):
                assert await stream.topic("t").send(f"{generation} {value}") == value
            if generation < 2:
                await client.get_workflow_handle(name).terminate()
                await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
        await client.get_workflow_handle(name).signal(Host.close)
        found = [(item.offset, item.data) async for item in stream.subscribe()]
        assert found == [(value, f"2 {value}") for value in range(3)]


async def test_sends_at_the_same_time_each_learn_their_own_offset(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id, max_batch_size=7)
        async with stream:
            offsets = await asyncio.gather(*(stream.topic("t").send(n) for n in range(50)))
            assert not feed_of(WorkflowSource(client, workflow_id)).mailbox
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        found = [(item.offset, item.data) async for item in stream.subscribe()]
        assert found == sorted((offset, n) for n, offset in enumerate(offsets))
        assert [offset for offset, _ in found] == list(range(50))


async def test_verdicts_are_kept_no_longer_than_somebody_may_ask_for_them(
    client: Client, unique: Any
) -> None:
    """At any time a send is under way; still verdicts do not pile up."""
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        [publisher_id] = [stream._publisher_id]
        kept: list[int] = []

        async def send_on() -> None:
            for value in range(20):
                await stream.topic("t").send(value)
                mailbox = feed_of(WorkflowSource(client, workflow_id)).mailbox
                kept.append(len(mailbox._by_publisher.get(publisher_id, ())))

        async with stream:
            await asyncio.gather(send_on(), send_on(), send_on())
        assert max(kept) <= 6
        assert not feed_of(WorkflowSource(client, workflow_id)).mailbox
