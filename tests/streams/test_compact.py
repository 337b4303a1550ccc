"""The compact form on the way: who writes it, to whom, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest
import temporalio.contrib.workflow_streams as contrib
from temporalio.client import Client, WorkflowHandle
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, Worker

from tests.read.hosts import Host, HostInput, hosting
from tests.read.story import SECONDS, items, next_run, run_id_of, send, story
from tests.texts import encode_payload, entry_json
from workflow_streams import WorkflowStreamClient
from workflow_streams.log import wire
from workflow_streams.log.compact import ENCODING, SIGNAL_BOUNDS, compact_payload
from workflow_streams.log.entries import entry_of
from workflow_streams.log.payloads import json_payload
from workflow_streams.log.wire import Batch, Entry
from workflow_streams.publish import host_check
from workflow_streams.publish.outbox import Outbox
from workflow_streams.read.moments import entries_size
from workflow_streams.read.runs.history_run import _PAGE_BYTES
from workflow_streams.read.runs.source import WorkflowSource

from .polling import polled_values
from .switch_hosts import ContribHost, ContribInput

MEBIBYTE = 1024 * 1024


def entry(value: Any) -> Entry:
    return entry_of("out", json_payload(json.dumps(value).encode()))


async def encodings(handle: WorkflowHandle[Any, Any]) -> list[bytes]:
    """Return the encoding of each publish signal in a history."""
    return [
        event.workflow_execution_signaled_event_attributes.input.payloads[0].metadata["encoding"]
        for event in (await handle.fetch_history()).events
        if event.workflow_execution_signaled_event_attributes.signal_name == wire.PUBLISH_SIGNAL
    ]


async def test_publishers_write_it_to_hosts_of_this_package_only(
    client: Client, unique: Callable[[str], str]
) -> None:
    name, theirs = unique("ours"), unique("theirs")
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        assert await send(client, name, "a", "b") == [0, 1]
        assert await encodings(handle) == [ENCODING] * 2
        async with Worker(client, task_queue=theirs, workflows=[ContribHost]):
            await client.start_workflow("Host", ContribInput(), id=theirs, task_queue=theirs)
            other = client.get_workflow_handle(theirs)
            before = await other.query(wire.OFFSET_QUERY)
            async with WorkflowStreamClient.create(client, theirs) as stream:
                stream.topic("out", type=str).publish("a")
            assert await other.query(wire.OFFSET_QUERY) == before + 1
            assert await encodings(other) == [b"json/plain"]
            await other.terminate()
        await handle.signal("order", "finish")
        await handle.result()
    assert await story(client, name) == [*items("a", "b"), ("end", "completed", 2)]


async def test_a_host_that_the_contrib_has_taken_over_gets_what_it_can_read(
    client: Client, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another workflow under the same id, while a publisher goes on."""
    monkeypatch.setattr(host_check, "_OURS_SECONDS", 0.2)
    name = unique("host")
    async with WorkflowStreamClient.create(client, name) as stream:
        topic = stream.topic("out", type=str)
        async with hosting(client, name) as handle:
            await handle.query(wire.OFFSET_QUERY)
            assert await topic.send("a") == 0
            await handle.signal("order", "finish")
            await handle.result()
        async with Worker(client, task_queue=name, workflows=[ContribHost]):
            await client.start_workflow("Host", ContribInput(), id=name, task_queue=name)
            theirs = client.get_workflow_handle(name)
            before = await theirs.query(wire.OFFSET_QUERY)
            await asyncio.sleep(0.3)
            topic.publish("b")
            await stream.flush()
            assert await theirs.query(wire.OFFSET_QUERY) == before + 1
            await theirs.terminate()


async def test_a_look_that_is_refused_is_not_made_for_each_batch(
    client: Client, unique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of the host has become old, and it cannot be found out any more."""
    monkeypatch.setattr(host_check, "_OURS_SECONDS", 0.1)
    name = unique("refused")
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        check, look = host_check.HostCheck(handle), Outbox().look
        await check.before(look)
        assert check.reads_compact
        looks: list[str] = []

        async def refused(self: WorkflowHandle[Any, Any], **_: Any) -> None:
            looks.append(self.id)
            raise RPCError("denied", RPCStatusCode.PERMISSION_DENIED, b"")

        with monkeypatch.context() as patched:
            patched.setattr(WorkflowHandle, "describe", refused)
            await asyncio.sleep(0.2)
            for _ in range(5):
                await check.before(look)
                assert not check.reads_compact
        assert looks == [name]
        await handle.signal("order", "finish")
        await handle.result()


async def test_a_topic_with_half_a_character_is_read_as_it_was_written(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("half")
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        async with WorkflowStreamClient.create(client, name) as stream:
            await stream.topic("\ud800", type=str).send("a")
            await stream.topic("whole", type=str).send("b")
        assert await encodings(handle) == [ENCODING, ENCODING]
        await handle.signal("order", "finish")
        await handle.result()
    found = [
        (item.topic, item.data)
        async for item in WorkflowStreamClient.create(client, name).subscribe()
    ]
    assert found == [("\ud800", "a"), ("whole", "b")]


async def test_clients_that_poll_get_it_too_across_rollovers_and_in_a_replay(
    client: Client, unique: Callable[[str], str]
) -> None:
    name = unique("polled")
    got: list[tuple[int, bytes]] = []
    async with hosting(client, name) as handle:
        reading = asyncio.create_task(polled_values(client, name, got))
        run, sent = await run_id_of(handle), 0
        for _ in range(3):
            batches = [
                Batch([entry(sent + i) for i in range(3)], "p", 1 + sent),
                Batch([entry(sent + i) for i in range(3, 5)], "q", 1 + sent),
            ]
            for _ in range(2):  # the second time, it is a duplicate
                await handle.signal(wire.PUBLISH_SIGNAL, RawValue(compact_payload(batches)))
            sent += 5
            async with asyncio.timeout(SECONDS):
                while len(got) < sent:
                    await asyncio.sleep(0.02)
            await handle.signal("order", "roll")
            before, run = run, await next_run(handle, run)
            history = await client.get_workflow_handle(name, run_id=before).fetch_history()
            await Replayer(workflows=[Host]).replay_workflow(history)
        await handle.signal("order", "finish")
        await handle.result()
        await asyncio.wait_for(reading, SECONDS)
    assert got == [(i, str(i).encode()) for i in range(15)]
    stream = WorkflowStreamClient.create(client, name)
    assert [item.data async for item in stream.subscribe()] == list(range(15))


@pytest.mark.parametrize("early", [True, False])
async def test_what_becomes_much_larger_is_read_and_hosted_bit_by_bit(
    client: Client, unique: Callable[[str], str], early: bool
) -> None:
    """A hundred bytes of a signal become ten megabytes of a reader's memory."""
    name, signals = unique("large"), 30
    count = SIGNAL_BOUNDS.items
    body = compact_payload([Batch([entry(0)] * count, "", 0)])
    assert len(body.data) < 2_000
    handle = client.get_workflow_handle(name)
    if early:
        await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
        for _ in range(signals):
            await handle.signal(wire.PUBLISH_SIGNAL, RawValue(body))
    async with Worker(client, task_queue=name, workflows=[Host]):
        if not early:
            await client.start_workflow(Host.run, HostInput(), id=name, task_queue=name)
            await handle.query(wire.OFFSET_QUERY)
            for _ in range(signals):
                await handle.signal(wire.PUBLISH_SIGNAL, RawValue(body))
        assert await handle.query(wire.OFFSET_QUERY) == signals * count
        run_id = await run_id_of(handle)
        await handle.signal("order", "finish")
        await handle.result()
    one = entries_size([entry(0)] * count)
    offset, largest = 0, 0
    async with aclosing(WorkflowSource(client, name).read(run_id).pages()) as pages:
        async for page in pages:
            chunks = [moment.chunk for moment in page.moments if moment.chunk is not None]
            for chunk in chunks:
                assert chunk.offset == offset
                offset += len(chunk.entries)
            largest = max(largest, sum(entries_size(chunk.entries) for chunk in chunks))
    assert offset == signals * count
    assert largest <= 2 * max(one, _PAGE_BYTES)
    history = await handle.fetch_history()
    await Replayer(workflows=[Host]).replay_workflow(history)


def test_the_contribs_form_stays_what_it_is() -> None:
    """It is that of the contrib's own client, in the history of any host."""
    data = encode_payload(json_payload(b"1"))
    theirs = contrib.PublishInput([contrib.PublishEntry("t", data)], "p", 1)
    text = json.loads(entry_json(*entry_of("t", json_payload(b"1"))))
    assert text == {"topic": theirs.items[0].topic, "data": theirs.items[0].data}
