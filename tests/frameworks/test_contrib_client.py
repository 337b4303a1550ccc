"""Activities that publish with the contrib's client: retries are told, late writes are fenced."""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import temporalio.client as sdk
import temporalio.contrib.workflow_streams as contrib
from temporalio import activity
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from tests.read.story import Line, following, items
from workflow_streams import WorkflowStreamsPlugin
from workflow_streams.log import wire
from workflow_streams.log.batches import parse_signal
from workflow_streams.temporal import attempts
from workflow_streams.testing.fixtures import StreamServer

from . import publishers, reading
from .hosts import ContribHost, OurHost, Task

REWOUND = [
    *items("1a", "1b"),
    ("rewind", [(0, 2)], "attempt", 2),
    *items("2a", "2b", "2c", start=2),
    ("end", "completed", 5),
]
AS_WITH_THE_CONTRIB = [*items("1a", "1b", "2a", "2b", "2c"), ("end", "completed", 5)]


async def played(
    client: Client,
    name: str,
    task: Task,
    activity: Callable[..., Any],
    host: type[Any] = OurHost,
    **worker: Any,
) -> list[Line]:
    """Run the activity; return what readers are told."""
    work = {"workflows": [host], "activities": [activity], **worker}
    return await reading.played(client, name, host.run, task, **work)


async def signalled(client: Client, name: str) -> list[wire.Batch]:
    """Return the batches that stand in the workflow's history."""
    batches: list[wire.Batch] = []
    async for event in client.get_workflow_handle(name).fetch_history_events():
        signal = event.workflow_execution_signaled_event_attributes
        if signal.signal_name == wire.PUBLISH_SIGNAL:
            parsed = parse_signal(signal.input.payloads[0])
            assert isinstance(parsed, list)
            batches += parsed
    return batches


@pytest.fixture
async def plain(stream_server: StreamServer) -> Client:
    """A client without the plugin."""
    return await Client.connect(stream_server.address)


async def test_a_retry_rewinds_what_the_failed_attempt_wrote(client: Client, unique: Any) -> None:
    assert await played(client, unique("retry"), Task("stumble"), publishers.stumble) == REWOUND


async def test_without_the_plugin_both_attempts_stand(plain: Client, unique: Any) -> None:
    lines = await played(plain, unique("plain"), Task("stumble"), publishers.stumble)
    assert lines == AS_WITH_THE_CONTRIB


async def test_a_stream_that_the_contrib_hosts_is_as_without_the_plugin(
    client: Client, unique: Any
) -> None:
    lines = await played(
        client, unique("contrib"), Task("stumble"), publishers.stumble, host=ContribHost
    )
    assert lines == AS_WITH_THE_CONTRIB


async def test_late_writes_of_an_older_attempt_are_fenced(client: Client, unique: Any) -> None:
    lingering = publishers.Lingering()
    lines = await played(client, unique("late"), Task("linger", seconds=1), lingering.linger)
    await asyncio.gather(*lingering.tasks)
    assert len(lingering.tasks) == 2
    assert lines == [
        *items("1a"),
        ("rewind", [(0, 1)], "attempt", 1),
        *items("2a", "2b", start=1),
        ("end", "completed", 3),
    ]


async def test_a_retry_is_told_before_it_publishes(client: Client, unique: Any) -> None:
    name, pausing = unique("announced"), publishers.Pausing()
    async with Worker(client, task_queue=name, workflows=[OurHost], activities=[pausing.pause]):
        handle = await client.start_workflow(OurHost.run, Task("pause"), id=name, task_queue=name)
        async with following(client, name) as reader:
            rewound = [*items("1a"), ("rewind", [(0, 1)], "attempt", 1)]
            await reader.until(lambda lines: lines == rewound)
            pausing.go.set()
            await handle.result()
            lines = await reader.end()
    assert lines == [*rewound, *items("2a", start=1), ("end", "completed", 2)]
    assert [len(batch.entries) for batch in await signalled(client, name)] == [1, 0, 1]


async def test_a_worker_that_has_not_seen_the_failed_attempt_rewinds_with_the_first_batch(
    stream_server: StreamServer, client: Client, unique: Any
) -> None:
    name, pausing = unique("elsewhere"), publishers.Pausing(timedelta(seconds=1))
    pausing.go.set()

    def worker(client: Client) -> Worker:
        # It lets the attempt that has published come to its end.
        grace = timedelta(seconds=60)
        work = {"activities": [pausing.pause], "graceful_shutdown_timeout": grace}
        return Worker(client, task_queue=name, **work)

    handle = await client.start_workflow(OurHost.run, Task("pause"), id=name, task_queue=name)
    async with (
        Worker(client, task_queue=name, workflows=[OurHost]),
        following(client, name) as reader,
    ):
        async with worker(client):
            await reader.count(1)
        async with worker(await stream_server.connect()):
            await handle.result()
        lines = await reader.end()
    assert lines == [
        *items("1a"),
        ("rewind", [(0, 1)], "attempt", 1),
        *items("2a", start=1),
        ("end", "completed", 2),
    ]
    assert [len(batch.entries) for batch in await signalled(client, name)] == [1, 1]


async def test_a_retry_that_cannot_be_announced_rewinds_with_the_first_batch(
    stream_server: StreamServer, unique: Any
) -> None:
    refused: list[Any] = []

    class Refusing(sdk.Interceptor):
        """Lets no announcement pass."""

        def intercept_client(self, next: sdk.OutboundInterceptor) -> sdk.OutboundInterceptor:
            return RefusingCalls(next)

    class RefusingCalls(sdk.OutboundInterceptor):
        async def signal_workflow(self, input: sdk.SignalWorkflowInput) -> None:
            if isinstance(input.args[0], RawValue):
                refused.append(input.args[0])
                raise RPCError("refused", RPCStatusCode.UNAVAILABLE, b"")
            await super().signal_workflow(input)

    client = await stream_server.connect(interceptors=[Refusing()])
    lines = await played(client, unique("refused"), Task("stumble"), publishers.stumble)
    assert lines == REWOUND
    assert len(refused) == 1


async def test_a_client_that_the_activity_makes_itself_may_have_the_plugin(
    stream_server: StreamServer, plain: Client, unique: Any
) -> None:
    task = Task("stumble_with_a_client_of_its_own", stream_server.address)
    stumble = publishers.stumble_with_a_client_of_its_own
    assert await played(plain, unique("own"), task, stumble) == REWOUND


async def test_activities_in_threads_publish_under_their_attempt(
    client: Client, unique: Any
) -> None:
    stumble = publishers.Threaded(client).stumble_in_a_thread
    with ThreadPoolExecutor(1) as executor:
        threads = {"activity_executor": executor, "max_concurrent_activities": 1}
        task = Task("stumble_in_a_thread")
        assert await played(client, unique("thread"), task, stumble, **threads) == REWOUND


async def test_the_plugin_on_client_and_worker_and_twice_is_one(
    stream_server: StreamServer, unique: Any
) -> None:
    plugins = [WorkflowStreamsPlugin(), WorkflowStreamsPlugin()]
    client = await stream_server.connect(plugins=plugins)
    with pytest.warns(UserWarning, match="present from both client and worker"):
        lines = await played(
            client,
            unique("twice"),
            Task("stumble"),
            publishers.stumble,
            plugins=[WorkflowStreamsPlugin()],
        )
    assert lines == REWOUND


async def test_a_batch_that_is_sent_again_counts_once(
    stream_server: StreamServer, unique: Any
) -> None:
    sent: list[tuple[str, int]] = []

    class Lossy(sdk.Interceptor):
        """Loses the answer to each publish once. It comes before the plugin's interceptor."""

        def intercept_client(self, next: sdk.OutboundInterceptor) -> sdk.OutboundInterceptor:
            return LossyCalls(next)

    class LossyCalls(sdk.OutboundInterceptor):
        async def signal_workflow(self, input: sdk.SignalWorkflowInput) -> None:
            await super().signal_workflow(input)
            batch = input.args[0]
            if isinstance(batch, contrib.PublishInput):
                sent.append((batch.publisher_id, batch.sequence))
                if sent.count(sent[-1]) == 1:
                    raise RPCError("lost", RPCStatusCode.UNAVAILABLE, b"")

    client = await stream_server.connect(interceptors=[Lossy()])

    @activity.defn(name="insist")
    async def insist(argument: str) -> None:
        attempt = activity.info().attempt
        async with contrib.WorkflowStreamClient.from_within_activity() as stream:
            with pytest.raises(RPCError):
                await publishers.send(stream, f"{attempt}a")
            await stream.flush()
            if attempt == 1:
                raise publishers.STUMBLED

    assert await played(client, unique("again"), Task("insist"), insist) == [
        *items("1a"),
        ("rewind", [(0, 1)], "attempt", 1),
        *items("2a", start=1),
        ("end", "completed", 2),
    ]
    assert [sequence for _, sequence in sent] == [1, 1, 1, 1]
    ids = [publisher_id for publisher_id, _ in sent]
    assert ids[0] == ids[1] != ids[2] == ids[3], "the contrib's batches were changed"


async def test_ids_of_any_length_and_with_slashes_are_taken(client: Client, unique: Any) -> None:
    name = unique("odd")
    lines = await played(
        client, name, Task("stumble_under_odd_ids"), publishers.stumble_under_odd_ids
    )
    # The third has this package's own form, the last is none: both go as they are.
    first, second = (
        [f"{attempt} {name}" for name in ("a/b", "äää", "wfs", "")] for attempt in (1, 2)
    )
    assert lines == [
        *items(*first),
        ("rewind", [(0, 2)], "attempt", 4),
        *items(second[0], second[1], second[3], start=4),
        ("end", "completed", 7),
    ]
    assert all(len(batch.publisher_id) < 200 for batch in await signalled(client, name))


async def test_batches_made_by_hand_keep_their_id(client: Client, unique: Any) -> None:
    lines = await played(
        client, unique("hand"), Task("stumble_by_hand"), publishers.stumble_by_hand
    )
    assert lines == [*items("by hand", "by hand"), ("end", "completed", 2)]


async def test_a_retry_rewinds_what_was_published_to_another_workflow(
    client: Client, unique: Any
) -> None:
    pausing, other = publishers.Pausing(), unique("other")
    queue = {"task_queue": other, "workflows": [OurHost]}
    async with Worker(client, **queue, activities=[pausing.pause, publishers.stumble_elsewhere]):
        hosting = await client.start_workflow(
            OurHost.run, Task("pause"), id=other, task_queue=other
        )
        async with following(client, other) as reader:
            await reader.count(2)
            task = Task("stumble_elsewhere", other)
            await client.execute_workflow(OurHost.run, task, id=unique("sender"), task_queue=other)
            pausing.go.set()
            await hosting.result()
            lines = await reader.end()
    assert lines == [
        *items("1a"),
        ("rewind", [(0, 1)], "attempt", 1),
        *items("1a", "1b", start=1),
        ("rewind", [(1, 3)], "attempt", 3),
        *items("2a", "2b", "2c", "2a", start=3),
        ("end", "completed", 7),
    ]


@pytest.mark.parametrize(
    "other",
    [{"workflow_id": None, "workflow_run_id": None}, {"namespace": "another"}],
    ids=["standalone", "of another namespace"],
)
async def test_an_activity_that_the_workflow_has_not_started_is_left_alone(
    client: Client, unique: Any, other: dict[str, Any]
) -> None:
    name = unique("foreign")
    await client.start_workflow(OurHost.run, Task("none"), id=name, task_queue=name)
    default = ActivityEnvironment.default_info()
    environment = ActivityEnvironment(client=client)
    own = {"workflow_id": name, "namespace": client.namespace}
    environment.info = dataclasses.replace(default, **own | other)
    await environment.run(publishers.publish_to, name)
    [batch] = await signalled(client, name)
    assert re.fullmatch("[0-9a-f]{16}", batch.publisher_id)
    await client.get_workflow_handle(name).terminate()


def test_what_is_known_of_activities_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_MAX_EXECUTIONS", 3)
    sources = attempts._Executions()
    for n in range(5):
        sources.add(f"source {n}")
    sources.discard("source 3")
    assert [f"source {n}" in sources for n in range(5)] == [False, False, True, False, True]
