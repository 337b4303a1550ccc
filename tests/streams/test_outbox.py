"""Publishers of one process share signals, and each of them is judged by itself."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, Interceptor, OutboundInterceptor, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from tests.read.hosts import hosting
from tests.read.story import SECONDS
from workflow_streams import FencedError, PublishError, WorkflowStreamClient
from workflow_streams.log import wire
from workflow_streams.log.batches import parse_signal
from workflow_streams.log.payloads import JSON_KIND
from workflow_streams.log.publisher_ids import ActivityPublisher, Attempt
from workflow_streams.publish.message import Message
from workflow_streams.publish.outbox import Outbox
from workflow_streams.testing.fixtures import StreamServer

from .switch_hosts import ContribHost, ContribInput

Unique = Callable[[str], str]
INTERVAL = timedelta(milliseconds=100)
PUBLISHERS, ITEMS = 30, 40


async def signals(handle: WorkflowHandle[Any, Any]) -> int:
    """Return how many publish signals a history has."""
    return sum(
        event.workflow_execution_signaled_event_attributes.signal_name == wire.PUBLISH_SIGNAL
        for event in (await handle.fetch_history()).events
    )


async def publishers(client: Client, name: str) -> list[WorkflowStreamClient]:
    """Return five publishers, once their host is known; until then, each batch goes by itself."""
    streams = [WorkflowStreamClient.create(client, name) for _ in range(5)]
    await streams[0].topic("first").send(0)
    return streams


async def read(client: Client, name: str, count: int) -> dict[str, list[Any]]:
    """Return the values of each topic, in order, once there are so many."""
    found: dict[str, list[Any]] = {}
    async with (
        asyncio.timeout(SECONDS),
        WorkflowStreamClient.create(client, name).subscribe() as stream,
    ):
        async for item in stream:
            found.setdefault(item.topic, []).append(item.data)
            if item.offset == count - 1:
                return found
    raise AssertionError


async def stream_tokens(client: Client, name: str, topic: str) -> None:
    """Publish as a model does, for longer than an interval."""
    async with WorkflowStreamClient.create(client, name, batch_interval=INTERVAL) as stream:
        for number in range(ITEMS):
            stream.topic(topic, type=int).publish(number)
            await asyncio.sleep(0.025)


async def test_many_publishers_need_hardly_more_signals_than_one(
    client: Client, unique: Unique
) -> None:
    one, many = unique("one"), unique("many")
    async with hosting(client, one) as alone, hosting(client, many) as shared:
        for handle in (alone, shared):
            await handle.query(wire.OFFSET_QUERY)
            # Until the host is known, each batch goes by itself.
            await WorkflowStreamClient.create(client, handle.id).topic("first").send(0)
        await stream_tokens(client, one, "0")
        async with asyncio.TaskGroup() as tasks:
            for number in range(PUBLISHERS):
                tasks.create_task(stream_tokens(client, many, str(number)))
        found = await read(client, many, 1 + PUBLISHERS * ITEMS)
        # Each forces one batch as it leaves its block.
        assert await signals(shared) < 3 * await signals(alone) + PUBLISHERS
    assert found.pop("first") == [0]
    assert found == {str(number): list(range(ITEMS)) for number in range(PUBLISHERS)}


async def test_batches_that_are_sent_at_the_same_time_are_one_signal(
    client: Client, unique: Unique
) -> None:
    name = unique("same")
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        streams = [WorkflowStreamClient.create(client, name) for _ in range(PUBLISHERS)]
        await streams[0].topic("first").send(0)
        offsets = await asyncio.gather(
            *(stream.topic("t", type=int).send(n) for n, stream in enumerate(streams))
        )
        assert sorted(offsets) == list(range(1, PUBLISHERS + 1))
        assert await signals(handle) == 2
        found = await read(client, name, PUBLISHERS + 1)
    assert found == {"first": [0], "t": list(range(PUBLISHERS))}


async def test_each_of_them_is_told_its_own_verdict(client: Client, unique: Unique) -> None:
    name = unique("verdicts")
    async with hosting(client, name) as handle:
        run = handle.first_execution_run_id or ""
        await handle.query(wire.OFFSET_QUERY)
        attempts = [ActivityPublisher(run, "activity", Attempt(1, number)) for number in (1, 2)]
        old, new, other = (
            WorkflowStreamClient(client.get_workflow_handle(name), _activity=publisher)
            for publisher in (*attempts, None)
        )
        assert await new.topic("t").send("newer") == 0
        results = await asyncio.gather(
            other.topic("t").send("other"),
            old.topic("t").send("zombie"),
            new.topic("t").send("newest"),
            return_exceptions=True,
        )
        assert isinstance(results[1], FencedError)
        assert [results[0], results[2]] == [1, 2]
        assert await read(client, name, 3) == {"t": ["newer", "other", "newest"]}


async def test_who_is_cancelled_takes_nothing_from_the_others(
    client: Client, unique: Unique
) -> None:
    name = unique("cancelled")
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        streams = [WorkflowStreamClient.create(client, name) for _ in range(4)]
        await streams[0].topic("first").send(0)
        sending = [
            asyncio.create_task(stream.topic("t", type=int).send(n))
            for n, stream in enumerate(streams)
        ]
        await asyncio.sleep(0)
        for task in sending[::2]:
            task.cancel()
        results = await asyncio.gather(*sending, return_exceptions=True)
        assert [isinstance(result, int) for result in results] == [False, True, False, True]
        for stream in streams:
            await stream.flush()
        count = await handle.query(wire.OFFSET_QUERY)
        found = (await read(client, name, count))["t"]
        assert {1, 3} <= set(found) <= {0, 1, 2, 3}
        assert len(found) == len(set(found))


async def test_who_comes_right_after_a_cancelled_one_is_not_cancelled_with_it(
    client: Client, unique: Unique
) -> None:
    """Though nobody waits any more for the signal that was about to go."""
    handle = client.get_workflow_handle(unique("right-after"))
    box = Outbox()
    sent: list[Payload] = []

    async def signal(payload: Payload) -> None:
        sent.append(payload)

    def send(publisher: str) -> asyncio.Task[None]:
        batch = Message([("t", JSON_KIND, b"1")], publisher, 1)
        return asyncio.create_task(
            box.send(batch, handle, signal, to="", compact=True, patience=10.0)
        )

    alone = send("alone")
    await asyncio.sleep(0)
    alone.cancel()
    await asyncio.wait({alone, after := send("after")})
    assert alone.cancelled()
    await after
    [batch] = parse_signal(sent[0]) or []
    assert (batch.publisher_id, len(sent)) == ("after", 1)


async def test_one_look_serves_all_who_wait_for_it_and_the_next_looks_again(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that nobody answers takes a second, and is not made by one publisher after the other."""
    name, looks = unique("looks"), list[str]()
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)

        async def unanswered(self: WorkflowHandle[Any, Any], **_: Any) -> None:
            looks.append(self.id)
            await asyncio.sleep(0.2)
            raise RPCError("away", RPCStatusCode.UNAVAILABLE, b"")

        with monkeypatch.context() as patched:
            patched.setattr(WorkflowHandle, "describe", unanswered)
            for expected in (1, 2):
                streams = [WorkflowStreamClient.create(client, name) for _ in range(10)]
                for number, stream in enumerate(streams):
                    stream.topic("t", type=int).publish(number)
                await asyncio.gather(*(stream.flush() for stream in streams))
                assert looks == [name] * expected
        found = await read(client, name, 20)
    assert sorted(found["t"]) == sorted([*range(10)] * 2)


async def test_a_client_that_has_published_is_not_kept(
    stream_server: StreamServer, client: Client, unique: Unique
) -> None:
    name = unique("kept")

    async def publish() -> weakref.ref[Client]:
        other = await stream_server.connect()
        async with WorkflowStreamClient.create(other, name) as stream:
            await stream.topic("t").send("a")
        return weakref.ref(other)

    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        kept = await publish()
        async with asyncio.timeout(SECONDS):
            while kept() is not None:
                await asyncio.sleep(0.05)
                gc.collect()


class Refusing(Interceptor):
    """Answers a number of publish signals with an error, after it has let them pass, or not."""

    def __init__(self, *, status: RPCStatusCode, passes: bool) -> None:
        self.left = 0
        self._status = status
        self._passes = passes

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        refusing = self

        class Outbound(OutboundInterceptor):
            async def signal_workflow(self, input: Any) -> None:
                if input.signal == wire.PUBLISH_SIGNAL and refusing.left:
                    refusing.left -= 1
                    if refusing._passes:
                        await super().signal_workflow(input)
                    raise RPCError("refused", refusing._status, b"")
                await super().signal_workflow(input)

        return Outbound(next)


async def test_a_signal_without_an_answer_is_sent_again_and_nothing_is_double(
    stream_server: StreamServer, unique: Unique
) -> None:
    refusing = Refusing(status=RPCStatusCode.UNAVAILABLE, passes=True)
    client, name = await stream_server.connect(interceptors=[refusing]), unique("again")
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        streams = await publishers(client, name)
        refusing.left = 2
        await asyncio.gather(*(s.topic("t", type=int).send(n) for n, s in enumerate(streams)))
        await asyncio.gather(*(s.topic("t", type=int).send(n) for n, s in enumerate(streams, 5)))
        assert refusing.left == 0
        found = (await read(client, name, 11))["t"]
    assert sorted(found[:5]) == list(range(5))
    assert sorted(found[5:]) == list(range(5, 10))


async def test_a_refusal_for_good_is_told_to_each_of_them(
    stream_server: StreamServer, unique: Unique
) -> None:
    refusing = Refusing(status=RPCStatusCode.PERMISSION_DENIED, passes=False)
    client, name = await stream_server.connect(interceptors=[refusing]), unique("refused")
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        streams = await publishers(client, name)
        refusing.left = 1
        results = await asyncio.gather(
            *(s.topic("t", type=int).send(n) for n, s in enumerate(streams)),
            return_exceptions=True,
        )
        assert [(type(error), getattr(error, "undelivered", None)) for error in results] == [
            (PublishError, 1)
        ] * 5
        await asyncio.gather(*(s.topic("t", type=int).send(n) for n, s in enumerate(streams)))
        assert sorted((await read(client, name, 6))["t"]) == list(range(5))


async def test_what_does_not_fit_into_one_signal_goes_in_several(
    client: Client, unique: Unique
) -> None:
    name, large = unique("large"), "x" * 200_000
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        streams = await publishers(client, name)
        await asyncio.gather(*(s.topic(str(n)).send(large) for n, s in enumerate(streams)))
        assert await signals(handle) == 1 + 3
        found = await read(client, name, 6)
    assert found == {"first": [0], **{str(n): [large] for n in range(5)}}


async def test_a_host_of_the_contrib_gets_a_signal_from_each(
    client: Client, unique: Unique
) -> None:
    name = unique("theirs")
    async with Worker(client, task_queue=name, workflows=[ContribHost]):
        await client.start_workflow("Host", ContribInput(), id=name, task_queue=name)
        async with AsyncExitStack() as stack:
            streams = [
                await stack.enter_async_context(WorkflowStreamClient.create(client, name))
                for _ in range(5)
            ]
            for number, stream in enumerate(streams):
                stream.topic(str(number), type=int).publish(number, force_flush=True)
        found = await read(client, name, 6)
        assert found == {"own": ["init"], **{str(n): [n] for n in range(5)}}
        assert await signals(client.get_workflow_handle(name)) == 5
        await client.get_workflow_handle(name).terminate()


async def test_clients_of_different_make_share_no_signal(
    stream_server: StreamServer, client: Client, unique: Unique
) -> None:
    """Each has interceptors and a codec of its own."""
    refusing = Refusing(status=RPCStatusCode.PERMISSION_DENIED, passes=False)
    other, name = await stream_server.connect(interceptors=[refusing]), unique("two")
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        mine, theirs = (WorkflowStreamClient.create(c, name) for c in (client, other))
        await asyncio.gather(mine.topic("t").send("a"), theirs.topic("t").send("b"))
        before, refusing.left = await signals(handle), 1
        results = await asyncio.gather(
            mine.topic("t").send("c"), theirs.topic("t").send("d"), return_exceptions=True
        )
        assert results[0] == 2
        assert isinstance(results[1], PublishError)
        assert await signals(handle) == before + 1


async def test_an_outbox_ends_with_its_client_and_its_event_loop(
    client: Client, unique: Unique, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workflow_streams.publish import outbox

    monkeypatch.setattr(outbox, "_MOST_OUTBOXES", 2)
    names = [unique("bounded") for _ in range(4)]
    kept = [outbox.outbox_of(client.get_workflow_handle(name)) for name in names]
    assert [outbox.outbox_of(client.get_workflow_handle(n)) in kept for n in names[2:]] == [
        True
    ] * 2
    assert len(outbox._outboxes[client]) == 2

    def elsewhere() -> None:
        async def make() -> None:
            outbox.outbox_of(client.get_workflow_handle(names[0]))

        asyncio.run(make())

    await asyncio.to_thread(elsewhere)
    outbox.outbox_of(client.get_workflow_handle(names[1]))
    assert not any(loop.is_closed() for loop, *_ in outbox._outboxes[client])


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has no eager tasks before")
async def test_event_loops_that_begin_a_task_where_it_is_made_lose_nothing(
    client: Client, unique: Unique
) -> None:
    name = unique("eager")
    loop = asyncio.get_running_loop()
    async with hosting(client, name) as handle:
        await handle.query(wire.OFFSET_QUERY)
        loop.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
        try:
            async with AsyncExitStack() as stack:
                for number in range(5):
                    stream = WorkflowStreamClient.create(client, name)
                    await stack.enter_async_context(stream)
                    stream.topic(str(number), type=int).publish(number, force_flush=True)
                    await stream.flush()
                    await stream.topic(str(number), type=int).send(number)
        finally:
            loop.set_task_factory(None)
        assert await read(client, name, 10) == {str(n): [n, n] for n in range(5)}
