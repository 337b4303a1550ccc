"""A publisher that is cancelled anywhere delivers in order, once, and leaves no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import Client

from workflow_streams import WorkflowStreamClient
from workflow_streams.read.feeds.lookup import feed_of
from workflow_streams.read.runs.source import WorkflowSource

from .cancelling import Cut, cancelled, everywhere, no_task_named
from .hosts import Host, hosting
from .reading import reading


@dataclass
class Run:
    """One run of an operation.

    Attributes:
        published: What has been published, in order.
        acknowledged: How many of them are known to have been taken.
        doubtful: What was to be sent when the cancellation came.
    """

    stream: WorkflowStreamClient
    name: str
    published: list[str] = field(default_factory=list)
    acknowledged: int = 0
    doubtful: str | None = None

    def _next(self) -> str:
        return f"{self.name} {len(self.published)}"

    def publish(self, count: int, *, force_flush: bool = False) -> None:
        for _ in range(count):
            value = self._next()
            self.stream.topic("t").publish(value, force_flush=force_flush)
            self.published.append(value)

    async def flush(self) -> None:
        count = len(self.published)
        await self.stream.flush()
        self.acknowledged = max(self.acknowledged, count)

    async def send(self) -> None:
        self.doubtful = self._next()
        await self.stream.topic("t").send(self.doubtful)
        self.published.append(self.doubtful)
        self.doubtful = None
        self.acknowledged = len(self.published)

    def possible(self) -> list[list[str]]:
        """What may stand in the stream when everything published has arrived."""
        doubtful = [] if self.doubtful is None else [self.doubtful]
        return [self.published, self.published + doubtful]


Step = Callable[[Run], Awaitable[None]]


async def cancel_everywhere(
    client: Client, workflow_id: str, operation: Step, afterwards: Step | None = None
) -> list[tuple[Run, list[str]]]:
    """Run an operation once for each cut; return what then stands in the stream for each run."""
    runs: list[Run] = []

    async def run(cut: Cut) -> bool:
        stream = WorkflowStreamClient.create(
            client, workflow_id, batch_interval=timedelta(milliseconds=2)
        )
        this = Run(stream, f"{cut.how}-{cut.n}")
        runs.append(this)

        async def operate() -> None:
            await operation(this)

        was_cancelled = await cancelled(cut, operate)
        if afterwards is not None:
            await afterwards(this)
        await no_task_named("publish ")
        assert not feed_of(WorkflowSource(client, workflow_id)).mailbox
        return was_cancelled

    cuts = await everywhere(run)
    assert {cut.how for cut in cuts} == {"waiting", "arriving", "iterations"}
    async with reading(WorkflowStreamClient.create(client, workflow_id)) as reader:
        await client.get_workflow_handle(workflow_id).signal(Host.close)
    assert [offset for offset, _ in reader.items] == list(range(len(reader.items)))
    standing: dict[str, list[str]] = {run.name: [] for run in runs}
    for _, data in reader.items:
        standing[data.rpartition(" ")[0]].append(data)
    return [(run, standing[run.name]) for run in runs]


async def test_everything_published_in_a_block_that_is_cancelled_arrives_once_and_in_order(
    client: Client, unique: Any
) -> None:
    async def operation(run: Run) -> None:
        async with run.stream:
            run.publish(3)
            await asyncio.sleep(0)
            run.publish(1)
            await run.flush()
            run.publish(2)
            await run.send()
            run.publish(1, force_flush=True)

    async with hosting(client, unique("host")) as workflow_id:
        for run, standing in await cancel_everywhere(client, workflow_id, operation):
            assert standing in run.possible(), run


async def test_cancelled_flush_loses_nothing(client: Client, unique: Any) -> None:
    """Outside of a block: what was not sent stays in the buffer for the next flush."""

    async def operation(run: Run) -> None:
        run.publish(3)
        await run.flush()
        run.publish(2)
        await run.flush()

    async def afterwards(run: Run) -> None:
        run.publish(1)
        await run.flush()

    async with hosting(client, unique("host")) as workflow_id:
        for run, standing in await cancel_everywhere(client, workflow_id, operation, afterwards):
            assert run.acknowledged == len(run.published)
            assert standing == run.published


async def test_cancelled_send_is_there_once_or_not_at_all(client: Client, unique: Any) -> None:
    async def operation(run: Run) -> None:
        await run.send()
        await run.send()

    async def afterwards(run: Run) -> None:
        if run.doubtful is None:
            return
        # What had been buffered goes with the next flush.
        await run.stream.flush()

    async with hosting(client, unique("host")) as workflow_id:
        for run, standing in await cancel_everywhere(client, workflow_id, operation, afterwards):
            assert standing in run.possible(), run


async def test_cancelling_one_who_waits_leaves_the_others_alone(
    client: Client, unique: Any
) -> None:
    async def operation(run: Run) -> None:
        run.publish(2)
        other = asyncio.create_task(run.stream.flush())
        try:
            await run.flush()
        finally:
            await other

    async with hosting(client, unique("host")) as workflow_id:
        for run, standing in await cancel_everywhere(client, workflow_id, operation):
            assert standing == run.published, run


async def test_cancelled_get_offset_leaves_nothing_behind(client: Client, unique: Any) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        await WorkflowStreamClient.create(client, workflow_id).topic("t").send("first")

        async def run(cut: Cut) -> bool:
            fresh = await Client.connect(client.service_client.config.target_host)
            stream = WorkflowStreamClient.create(fresh, workflow_id)

            async def operate() -> None:
                assert await stream.get_offset() == 1

            was_cancelled = await cancelled(cut, operate)
            assert feed_of(WorkflowSource(fresh, workflow_id))._users == 0
            assert await stream.get_offset() == 1
            return was_cancelled

        cuts = await everywhere(run)
        assert len([cut for cut in cuts if cut.how == "waiting"]) > 1


async def test_forced_flush_as_the_last_act_of_a_block_does_not_hang(
    client: Client, unique: Any
) -> None:
    async with hosting(client, unique("host")) as workflow_id:
        stream = WorkflowStreamClient.create(client, workflow_id)
        for turns in range(40):
            async with asyncio.timeout(100), stream:
                stream.topic("t").publish(f"{turns} a", force_flush=True)
                for _ in range(turns):
                    await asyncio.sleep(0)
                stream.topic("t").publish(f"{turns} b", force_flush=True)
        await client.get_workflow_handle(workflow_id).signal(Host.close)
        found = [item.data async for item in stream.subscribe()]
        assert found == [f"{turns} {x}" for turns in range(40) for x in "ab"]
